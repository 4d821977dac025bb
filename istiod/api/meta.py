"""Object metadata and the envelope that every parsed object travels in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from federation.model.labels import NO_LABELS, Labels
from federation.model.names import NamespacedName

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Meta:
    """What every object has. `created` is RFC 3339 text or ""; it settles conflicts, oldest first."""

    name: str
    namespace: str
    labels: Labels = NO_LABELS
    annotations: Labels = NO_LABELS
    created: str = ""

    @property
    def key(self) -> NamespacedName:
        """Namespace and name."""
        return NamespacedName(self.namespace, self.name)

    @property
    def age_order(self) -> tuple[str, str, str]:
        """Sort key of conflicts: the older, then the name, then the namespace."""
        return (self.created, self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class Object(Generic[S]):
    """One valid object: its kind, metadata and typed spec."""

    kind: str
    meta: Meta
    spec: S

    def __str__(self) -> str:
        return f"{self.kind} {self.meta.namespace}/{self.meta.name}"

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True, slots=True)
class Invalid:
    """A security object that could not be used: what it selects (all, if that was unreadable) must fail closed."""

    kind: str
    meta: Meta
    selector: Labels = NO_LABELS


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """An object of a kind that this version knows by name only."""

    kind: str
    meta: Meta


AnyObject = Object[Any] | Invalid | Unbuilt
