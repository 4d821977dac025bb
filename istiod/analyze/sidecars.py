"""Sidecars against the workloads that they select, the services that they import, and one another.

Rules: Istio's analyzers of Sidecars; the oldest of several counts (`istiod.view.visibility`).
"""

from __future__ import annotations

from collections.abc import Iterator

from federation.model.findings import Finding
from istiod.analyze import codes
from istiod.analyze.lookup import by_namespace, hosts_of, labels_text, selected, workloads
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.sidecar import Sidecar
from istiod.resolve.objects import table_of, valid_objects
from istiod.snapshot import Snapshot
from istiod.view.visibility import egress_admits, visible_services, visible_virtual_services

Item = Object[Sidecar]


def _sidecars(snapshot: Snapshot) -> list[Item]:
    return valid_objects(table_of(snapshot, Kind.SIDECAR), Sidecar)


def _labels(item: Item) -> dict[str, str]:
    return item.spec.workload_selector.all_labels if item.spec.workload_selector is not None else {}


def selectors(snapshot: Snapshot) -> Iterator[Finding]:
    """Sidecars that no workload is selected by, or that select in the root namespace as if for the mesh."""
    known = workloads(snapshot)
    for item in _sidecars(snapshot):
        labels = _labels(item)
        there = any(selected(snapshot, labels, item.meta.namespace)) if labels else True
        if known and not there:
            message = f"no workload has the labels {labels_text(labels)}"
            yield codes.SELECTOR_MATCHES_NOTHING.at(item, "spec.workloadSelector.labels", message)
        if labels and item.meta.namespace == snapshot.mesh.root_namespace and not (known and there):
            message = f"is for workloads of {item.meta.namespace} alone"
            yield codes.SELECTOR_IN_ROOT_NAMESPACE.at(item, "spec.workloadSelector", message)


def conflicts(snapshot: Snapshot) -> Iterator[Finding]:
    """Several Sidecars without a selector in a namespace, and several for one workload."""
    for namespace, items in sorted(by_namespace(_sidecars(snapshot)).items()):
        whole = [item for item in items if not _labels(item)]
        for item in whole[1:]:
            yield codes.SEVERAL_DEFAULT_SIDECARS.at(item, "spec.workloadSelector", f"{whole[0]} counts")
        selecting = [item for item in items if _labels(item)]
        for number, item in enumerate(selecting):
            rival = next((other for other in selecting[:number] if _share(snapshot, namespace, other, item)), None)
            if rival is not None:
                message = f"{rival} selects some of the same workloads"
                yield codes.SIDECAR_CONFLICT.at(item, "spec.workloadSelector.labels", message)


def _share(snapshot: Snapshot, namespace: str, one: Item, other: Item) -> bool:
    """Whether both select one workload that is known, or have equal selectors."""
    mine, theirs = _labels(one), _labels(other)
    if mine == theirs:
        return True
    clash = any(theirs.get(key, value) != value for key, value in mine.items())
    return not clash and any(selected(snapshot, {**mine, **theirs}, namespace))


def imports(snapshot: Snapshot) -> Iterator[Finding]:
    """Imported hosts that nothing has: neither a service nor a VirtualService that the namespace sees."""
    if not snapshot.services:
        return
    for item in _sidecars(snapshot):
        namespace = item.meta.namespace
        for index, listener in enumerate(item.spec.egress):
            for number, host in enumerate(listener.hosts):
                owner, _, name = host.partition("/")
                if not owner.startswith("~") and name != "*" and not _admits_any(snapshot, namespace, host):
                    message = f"{host!r} is no host that {namespace} sees"
                    path = f"spec.egress[{index}].hosts[{number}]"
                    yield codes.EGRESS_MATCHES_NOTHING.at(item, path, message)


def _admits_any(snapshot: Snapshot, namespace: str, host: str) -> bool:
    patterns = (host,)
    if any(egress_admits(patterns, namespace, s.namespace, s.host) for s in visible_services(snapshot, namespace)):
        return True
    name = host.partition("/")[2]
    if hosts_of(snapshot, namespace).get(name) is not None and host.startswith("*/"):
        return True
    return any(
        egress_admits(patterns, namespace, item.meta.namespace, own, rule=True)
        for item in visible_virtual_services(snapshot, namespace)
        for own in item.spec.hosts
    )
