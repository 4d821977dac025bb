"""What one client knows and wants of one resource type on one stream. Sans-IO state, no decisions about order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from istiod.encode.resource import Resource

NOTHING: frozenset[str] = frozenset()
_INTERNED: WeakValueDictionary[int, frozenset[str]] = WeakValueDictionary()


def interned(names: frozenset[str]) -> frozenset[str]:
    """Equal name sets of many clients as one object: a thousand proxies of a class subscribe to the same names."""
    known = _INTERNED.get(hash(names))
    if known is names or (known is not None and known == names):
        return known
    _INTERNED[hash(names)] = names
    return names


class SharedVersions:
    """What returning clients say they have: of a thousand proxies of a class the same, so one object for all of them.

    What is compared with it is then compared once (`Delivery.differing`). Keeps the last few, whatever clients send.
    """

    KEPT = 32

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Mapping[str, str]] = {}

    def share(self, type_url: str, versions: dict[str, str]) -> Mapping[str, str] | None:
        """The kept equal of these versions of one type; None if there are none."""
        if not versions:
            return None
        key = (type_url, len(versions))
        known = self._kept.pop(key, None)
        shared = known if known == versions else versions
        self._kept[key] = shared
        if len(self._kept) > self.KEPT:
            del self._kept[next(iter(self._kept))]
        return shared


@dataclass(slots=True)
class Subscription:
    """`names` are subscribed to one by one, `wildcard` to everything; `legacy` means by a request without names.

    To be sent are: `awaited`, names that the client waits for, with their content or the word that there is none;
    `changed`, names whose content is another one; `removed`, names whose absence may be told when the order allows it;
    and an answer even if it is empty when one is `owed`. `held` has what is in `changed` or `removed` as the client has
    it, None for what it never had; only answers that are always complete need it.
    `initial` are versions a reconnecting client says it has, until the first answer. `nonces` are those of responses
    that were not acknowledged yet. `refused` is the client's complaint about the last answer that it did not take
    whole, `complaint` the one about the answer under way.
    """

    wildcard: bool = False
    legacy: bool = False
    names: frozenset[str] = NOTHING
    awaited: frozenset[str] = NOTHING
    changed: frozenset[str] = NOTHING
    removed: frozenset[str] = NOTHING
    held: Mapping[str, Resource | None] = field(default_factory=dict)
    owed: bool = False
    initial: Mapping[str, str] | None = None
    nonces: tuple[str, ...] = ()
    last_nonce: str = ""
    complaint: str = ""
    sent: int = 0
    acked: int = 0
    sent_revision: int = 0
    acked_revision: int = 0
    nacks: int = 0
    refused: str = ""

    def wants(self, name: str) -> bool:
        """Whether the client is to be told about a resource."""
        return self.wildcard or name in self.names

    def wanted(self, names: frozenset[str]) -> frozenset[str]:
        """Those of these names that the client is to be told about; the same object if it is all of them."""
        return names if self.wildcard or names <= self.names else names & self.names

    def unsubscribe(self, names: frozenset[str]) -> None:
        """Forget these names, and whatever was to be said of something that the client no longer wants."""
        self.names = interned(self.names - names)
        if not self.wildcard:
            self.awaited &= self.names
            self.changed &= self.names
            self.removed &= self.names

    def mark_changed(self, names: frozenset[str]) -> None:
        """These are to be sent, if the client wants them."""
        wanted = self.wanted(names)
        if wanted:
            self.changed = self.changed | wanted if self.changed else wanted
            self.removed = self.removed - wanted if self.removed else self.removed

    def mark_removed(self, names: frozenset[str]) -> None:
        """These are gone; the client is to be told if it wanted them."""
        gone = self.wanted(names)
        self.changed = self.changed - gone if self.changed else self.changed
        self.removed = self.removed | gone if self.removed else gone

    def sent_as(self, nonce: str, revision: int) -> None:
        """One more response is on its way."""
        if not self.nonces:
            self.complaint = ""
        self.nonces += (nonce,)
        self.last_nonce = nonce
        self.sent += 1
        self.sent_revision = revision

    def acknowledge(self, nonce: str, error: str) -> None:
        """The client took (or refused, if there is an error) one response. An answer is taken if all its parts are."""
        if nonce not in self.nonces:
            return
        self.nonces = tuple(other for other in self.nonces if other != nonce)
        if error:
            self.nacks += 1
            self.refused = self.complaint = error
        if not self.nonces and not self.complaint:
            self.acked, self.acked_revision, self.refused = self.sent, self.sent_revision, ""

    @property
    def waiting(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self.awaited or self.changed or self.removed or self.owed)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent or acknowledged."""
        return not self.nonces and not self.waiting
