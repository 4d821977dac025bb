"""Reads the raw tables of a snapshot: which valid objects of a kind there are, oldest first.

The only place that knows how objects travel in tables; everyone else gets typed specs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from federation.model.names import NamespacedName
from istiod.api.meta import Invalid, Object
from istiod.snapshot import Snapshot

S = TypeVar("S")
Table = Mapping[NamespacedName, Any]
NO_TABLE: Table = {}

_PATHS = {
    "VirtualService": "/apis/networking.istio.io/v1/namespaces/{}/virtual-service/{}",
    "DestinationRule": "/apis/networking.istio.io/v1/namespaces/{}/destination-rule/{}",
}


def table_of(snapshot: Snapshot, kind: str) -> Table:
    """The table of a kind, the same object as long as nothing in it changed; empty if there is none."""
    return snapshot.tables.get(kind, NO_TABLE)


def valid_objects(table: Table, spec: type[S]) -> list[Object[S]]:
    """The valid objects of a table, oldest first, then by name and namespace: Istio's order of conflicts."""
    found = [item for item in table.values() if isinstance(item, Object) and isinstance(item.spec, spec)]
    return sorted(found, key=lambda item: item.meta.age_order)


def invalid_objects(table: Table) -> Iterator[Invalid]:
    """Security objects that could not be read and must fail closed."""
    return (item for item in table.values() if isinstance(item, Invalid))


def config_path(kind: str, key: NamespacedName) -> str:
    """The path-like name that Istio's telemetry gives to an object."""
    return _PATHS[kind].format(key.namespace, key.name)
