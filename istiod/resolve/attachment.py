"""Which policies are for a class of proxies: those of the root namespace, then those of its own. Pure look-up.

Rules: Istio's policy attachment. A policy without selector and references is for its whole namespace, in the root
namespace for the mesh; references are for the gateways of the Gateway API (and for waypoints, which are not built).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from istiod.api.attachment import Attached, PolicyTargetReference
from istiod.api.meta import Invalid, Object
from istiod.memo import memo
from istiod.resolve.objects import Table, table_of, valid_objects
from istiod.snapshot import Snapshot
from istiod.view.classes import GATEWAY_LABEL
from istiod.view.proxy import ProxyView

S = TypeVar("S", bound=Attached)


def policies_for(snapshot: Snapshot, kind: str, spec: type[S], view: ProxyView) -> tuple[Object[S], ...]:
    """The valid policies of a kind that are for a view: the root namespace's first, each oldest first."""
    by_namespace = _by_namespace(table_of(snapshot, kind), spec)
    root = snapshot.mesh.root_namespace
    namespaces = (root,) if view.namespace == root else (root, view.namespace)
    return tuple(
        item
        for namespace in namespaces
        for item in by_namespace.get(namespace, ())
        if is_for(item.spec, item.meta.namespace, view)
    )


def broken_for(snapshot: Snapshot, kind: str, view: ProxyView) -> tuple[Invalid, ...]:
    """The invalid security policies of a kind that may have been for a view, which must fail closed."""
    root = snapshot.mesh.root_namespace
    found = (item for item in table_of(snapshot, kind).values() if isinstance(item, Invalid))
    return tuple(
        sorted(
            (
                item
                for item in found
                if item.meta.namespace in (root, view.namespace) and view.labels.selected_by(item.selector)
            ),
            key=lambda item: item.meta.age_order,
        )
    )


def is_for(policy: Attached, namespace: str, view: ProxyView) -> bool:
    """Whether a policy of a namespace that counts for the view is for the view's workloads."""
    references = policy.target_refs or ((policy.target_ref,) if policy.target_ref is not None else ())
    if references:
        return namespace == view.namespace and _refers_to(references, view.labels)
    return policy.selector is None or view.labels.selected_by(policy.selector.all_labels)


def _refers_to(references: Iterable[PolicyTargetReference], labels: Mapping[str, str]) -> bool:
    name = labels.get(GATEWAY_LABEL)
    return name is not None and any(
        reference.kind == "Gateway" and reference.group == "gateway.networking.k8s.io" and reference.name == name
        for reference in references
    )


@memo(size=16)
def _by_namespace(table: Table, spec: type[Any]) -> dict[str, list[Object[Any]]]:
    found: dict[str, list[Object[Any]]] = {}
    for item in valid_objects(table, spec):
        found.setdefault(item.meta.namespace, []).append(item)
    return found
