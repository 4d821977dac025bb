"""Which namespaces a control plane looks at: `MeshConfig.discoverySelectors`, applied to its tables.

Pure: tables in, tables out; what is left out is as if it did not exist. Input: the labels of Namespace objects. Secrets
are kept, as gateways may be told of theirs wherever they run. Rules: MeshConfig reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.events import MESH_KEY
from istiod.memo import memo
from istiod.store import Table, Tables

_KEPT = frozenset({Kind.NAMESPACE, Kind.SECRET, Kind.MESH_CONFIG, Kind.MESH_NETWORKS, Kind.PEER, Kind.KEY_SETS})


def discovered(tables: Tables) -> Tables:
    """The tables with objects of selected namespaces only; all of them where nothing is said.

    Labels are those of Namespace objects: where there are none at all, as with files, nothing is selected by them.
    """
    mesh: MeshConfig | None = tables.of(Kind.MESH_CONFIG).get(MESH_KEY)
    if mesh is None or not mesh.discovery_selectors or not tables.of(Kind.NAMESPACE):
        return tables
    chosen = _chosen(tables.of(Kind.NAMESPACE), mesh)
    kept = {kind: table if kind in _KEPT else _within(table, chosen) for kind, table in tables.by_kind.items()}
    if chosen:
        return replace(tables, by_kind=kept)
    message, fix = "select no namespace, so no service and no policy is seen", "label the namespaces of the mesh"
    finding = Finding(Severity.ERROR, "NothingDiscovered", "MeshConfig", "discoverySelectors", message, fix)
    return replace(tables, by_kind=kept, findings=tuple(sorted((*tables.findings, finding))))


@memo(size=4)
def _chosen(namespaces: Table, mesh: MeshConfig) -> frozenset[str]:
    """The namespaces that some selector fits."""
    return frozenset(
        key.name
        for key, item in namespaces.items()
        if any(selector.selects(_labels(item)) for selector in mesh.discovery_selectors)
    )


def _labels(item: Any) -> Mapping[str, str]:
    labels: Mapping[str, str] = item.meta.labels
    return labels


@memo(size=64)
def _within(table: Table, namespaces: frozenset[str]) -> dict[NamespacedName, Any]:
    return {key: item for key, item in table.items() if not key.namespace or key.namespace in namespaces}
