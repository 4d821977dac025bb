"""What one client knows and wants of one resource type on one stream. Sans-IO state, no decisions about order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class _NameSets:
    """Equal name sets of many clients are one object: a thousand proxies of a class subscribe to the same names."""

    def __init__(self, size: int) -> None:
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._size = size

    def intern(self, names: frozenset[str]) -> frozenset[str]:
        if len(self._sets) >= self._size:
            self._sets.clear()
        return self._sets.setdefault(names, names)


NAMES = _NameSets(4_096)


@dataclass(slots=True)
class Subscription:
    """`names` are subscribed to one by one, `wildcard` to everything; `changed`/`removed` wait to be sent.

    `initial` are versions a reconnecting client says it has, until the first answer. `nonce` is that of the
    response that was not acknowledged yet, "" if there is none. `refused` is the client's last complaint.
    """

    wildcard: bool = False
    names: frozenset[str] = frozenset()
    changed: set[str] | frozenset[str] = frozenset()
    removed: set[str] | frozenset[str] = frozenset()
    initial: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    last_nonce: str = ""
    sent: int = 0
    acked: int = 0
    sent_revision: int = 0
    acked_revision: int = 0
    nacks: int = 0
    refused: str = ""
    full: bool = False  # state of the world: an answer is owed even if nothing changed

    def wants(self, name: str) -> bool:
        """Whether the client is to be told about a resource."""
        return self.wildcard or name in self.names

    def add(self, names: frozenset[str]) -> None:
        """Subscribe to more names."""
        self.names = NAMES.intern(self.names | names)

    def drop(self, names: frozenset[str]) -> None:
        """Unsubscribe from names."""
        self.names = NAMES.intern(self.names - names)
        self.changed = self.changed - names
        self.removed = self.removed - names

    def mark_changed(self, names: frozenset[str]) -> None:
        """These are to be sent, if the client wants them."""
        wanted = names if self.wildcard or names <= self.names else names & self.names
        if wanted:
            self.changed = self.changed | wanted if self.changed else wanted
            self.removed = self.removed - wanted if self.removed else self.removed

    def mark_removed(self, names: frozenset[str]) -> None:
        """These are gone; the client is to be told if it wanted them."""
        wanted = names if self.wildcard or names <= self.names else names & self.names
        if wanted:
            self.removed = self.removed | wanted if self.removed else wanted
            self.changed = self.changed - wanted if self.changed else self.changed

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent or acknowledged."""
        return not (self.nonce or self.changed or self.full)
