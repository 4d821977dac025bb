"""One new configuration on its way to all proxies of a class: what it is, what changed, and response bodies made once.

Immutable but for what it remembers of itself; shared by every session of the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from istiod.encode.resource import Configuration, Resource

NOTHING: frozenset[str] = frozenset()
KEPT_COMPARISONS = 16
KEPT_BODIES = 16  # what changed comes first, for both variants; clients that come back later ask for all kinds of sets


@dataclass(frozen=True, slots=True)
class _Compared:
    """A comparison that was made. It holds what was compared, so that no other object can have its identity."""

    names: frozenset[str]
    known: Mapping[str, str]
    result: frozenset[str]


@dataclass(slots=True, eq=False)
class Delivery:
    """`changed` and `removed` are names by type URL, against the configuration delivered before to the same class."""

    configuration: Configuration
    changed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    removed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    revision: int = 0
    _bodies: dict[tuple[str, bool, frozenset[str]], bytes] = field(default_factory=dict)
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    _compared: dict[tuple[str, int, int], _Compared] = field(default_factory=dict)

    def names(self, type_url: str) -> frozenset[str]:
        """The names of all resources of a type, as one object for every session."""
        names = self._names.get(type_url)
        if names is None:
            names = self._names[type_url] = frozenset(self.configuration.get(type_url, ()))
        return names

    def differing(self, type_url: str, names: frozenset[str], known: Mapping[str, str]) -> frozenset[str]:
        """Those of these names that are absent here or of another version than a client knows.

        Proxies of a class that come back know the same: compared once where names and versions are shared objects.
        """
        key = (type_url, id(names), id(known))
        entry = self._compared.get(key)
        if entry is not None:
            return entry.result
        resources = self.configuration.get(type_url, {})
        result = frozenset(name for name in names if (r := resources.get(name)) is None or known.get(name) != r.version)
        if len(self._compared) < KEPT_COMPARISONS:
            self._compared[key] = _Compared(names, known, result)
        return result

    def body(self, type_url: str, names: frozenset[str], delta: bool) -> bytes:
        """The joined resources of these names, which must be there; joined once for all sessions that say the same."""
        key = (type_url, delta, names)
        body = self._bodies.get(key)
        if body is None:
            body = join(names, self.configuration[type_url], delta) if names else b""
            if len(self._bodies) < KEPT_BODIES:
                self._bodies[key] = body
        return body


def join(names: Set[str], resources: Mapping[str, Resource], delta: bool) -> bytes:
    """The framed bytes of these resources, in the order of their names."""
    if delta:
        return b"".join([resources[name].delta for name in sorted(names)])
    return b"".join([resources[name].sotw for name in sorted(names)])
