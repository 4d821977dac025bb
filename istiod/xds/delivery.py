"""One new configuration on its way to all proxies of a class: what it is, what changed, and response bodies made once.

Immutable but for the bodies it remembers; shared by every session of the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from istiod.encode.resource import Configuration, Resource

NOTHING: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Delivery:
    """`changed` and `removed` are names by type URL, against the configuration delivered before to the same class."""

    configuration: Configuration
    changed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    removed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    revision: int = 0
    _bodies: dict[tuple[str, bool, frozenset[str]], bytes] = field(default_factory=dict)

    def body(self, type_url: str, names: Set[str], resources: Mapping[str, Resource], delta: bool) -> bytes:
        """The joined resources of these names; joined once when it is exactly what changed, as for most sessions."""
        changed = self.changed.get(type_url, NOTHING)
        if names is not changed and (len(names) != len(changed) or names != changed):
            return join(names, resources, delta)
        key = (type_url, delta, changed)
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = join(changed, resources, delta)
        return body


def join(names: Set[str], resources: Mapping[str, Resource], delta: bool) -> bytes:
    """The framed bytes of these resources, in the order of their names."""
    if delta:
        return b"".join(resources[name].delta for name in sorted(names))
    return b"".join(resources[name].sotw for name in sorted(names))
