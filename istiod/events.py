"""What sources say: whole objects come and go. Pure values.

Consumers assume only convergence, never order or completeness of events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from federation.model.findings import Finding
from federation.model.names import NamespacedName
from istiod.api.kinds import Kind

MESH_KEY = NamespacedName("", "mesh")


@dataclass(frozen=True, slots=True)
class Upsert:
    """An object as it is now."""

    kind: Kind
    key: NamespacedName
    value: Any


@dataclass(frozen=True, slots=True)
class Delete:
    """An object that is gone."""

    kind: Kind
    key: NamespacedName


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of one source (a file, the federation); replaces what it said before."""

    source: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """A source has said everything that it knew at its start."""

    source: str


Event = Upsert | Delete | Findings | Synced
