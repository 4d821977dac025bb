"""The other clusters as a source: what the federation serves of each peer -> events.

Pure; the loop is `federation.subscribe`.
"""

from __future__ import annotations

from collections.abc import Iterator

from federation.model.names import NamespacedName
from federation.subscribe import FederationState
from federation.table import served_differs
from istiod.api.kinds import Kind
from istiod.events import Delete, Event, Findings, Synced, Upsert

SOURCE = "federation"


def events_between(old: FederationState | None, new: FederationState) -> Iterator[Event]:
    """What changed for the store. A state that came from disk counts as synced, as does one from the store."""
    before = old.peers if old is not None else {}
    for cluster, peer in new.peers.items():
        known = before.get(cluster)
        if known is None or served_differs(known, peer):
            yield Upsert(Kind.PEER, NamespacedName("", cluster), peer)
    for cluster in before:
        if cluster not in new.peers:
            yield Delete(Kind.PEER, NamespacedName("", cluster))
    if old is None or old.findings != new.findings:
        yield Findings(SOURCE, new.findings)
    if new.source != "none" and (old is None or old.source == "none"):
        yield Synced(SOURCE)
