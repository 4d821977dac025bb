"""The one mutable model of a control plane: a table per kind, written by one task, handed out as frozen copies.

Copies only tables that changed; an unchanged table is the same object in every snapshot, so what was derived of it can
be kept by identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.model.findings import Finding
from federation.model.names import NamespacedName
from istiod.api.kinds import Kind
from istiod.events import Delete, Event, Findings, Synced, Upsert

Table = Mapping[NamespacedName, Any]


@dataclass(frozen=True, slots=True)
class Tables:
    """All tables at one moment. Findings are those of the sources, sorted."""

    by_kind: Mapping[str, Table] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    synced: frozenset[str] = frozenset()

    def of(self, kind: Kind) -> Table:
        """The table of a kind; empty if nothing of it was ever seen."""
        return self.by_kind.get(kind, _EMPTY)


_EMPTY: Table = {}


class Store:
    """Takes events, gives tables."""

    def __init__(self) -> None:
        self._rows: dict[Kind, dict[NamespacedName, Any]] = {}
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._synced: set[str] = set()
        self._dirty: set[Kind] = set()
        self._changed = True
        self._tables = Tables()

    def apply(self, events: Iterable[Event]) -> bool:
        """Take events in their order; returns whether anything differs from before."""
        for event in events:
            match event:
                case Upsert(kind, key, value):
                    rows = self._rows.setdefault(kind, {})
                    if rows.get(key) != value:
                        rows[key] = value
                        self._dirty.add(kind)
                case Delete(kind, key):
                    if self._rows.get(kind, {}).pop(key, None) is not None:
                        self._dirty.add(kind)
                case Findings(source, findings):
                    if self._findings.get(source, ()) != findings:
                        self._findings[source] = findings
                        self._changed = True
                case Synced(source):
                    self._changed |= source not in self._synced
                    self._synced.add(source)
        return self._changed or bool(self._dirty)

    def tables(self) -> Tables:
        """The tables as they are now; never changed afterwards."""
        if self._changed or self._dirty:
            fresh = {kind.value: dict(self._rows[kind]) for kind in self._dirty}
            findings = tuple(sorted(finding for group in self._findings.values() for finding in group))
            self._tables = Tables({**self._tables.by_kind, **fresh}, findings, frozenset(self._synced))
            self._dirty.clear()
            self._changed = False
        return self._tables
