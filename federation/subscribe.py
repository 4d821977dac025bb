"""Follows the peers: lists and watches the mesh's prefix, keeps the disk snapshot, and publishes what is served as
a value.

A thin shell around `federation.table`, which decides. Losing the store changes nothing but the age shown; on every
return the prefix is listed again and compared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from federation.etcd import Compacted, Etcd, StoreReplaced, Watched
from federation.keys import Layout
from federation.model.errors import Denied, Unavailable
from federation.model.findings import Finding
from federation.runtime.latest import Latest
from federation.schema import records_pb2 as pb
from federation.snapshot_file import SavedFederation, load, save
from federation.table import Peer, Raw, Table

log = structlog.get_logger("federation")

SAVE_PAUSE_SECONDS = 0.2  # between two writes of the disk snapshot, each at once after a change
SAVE_UNCHANGED_SECONDS = 5.0  # so old may its time be while nothing but signs of life comes
RECONNECT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class FederationState:
    """What this cluster knows of the others. Times are local monotonic seconds; `confirmed` is when the store last
    spoke.

    `source` is where the records come from: "none" (nothing known yet), "disk" (with `saved_unix`), "store".
    """

    peers: Mapping[str, Peer] = field(default_factory=dict)
    source: str = "none"
    connected: bool = False
    confirmed: float = 0.0
    saved_unix: float = 0.0
    store_id: str = ""
    revision: int = 0
    changed: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


class Subscriber:
    """Owns the table of one process. `state` is its output; `run` its loop."""

    def __init__(self, layout: Layout, cluster: str, etcd: Etcd, state_dir: Path | None) -> None:
        self._layout = layout
        self._etcd = etcd
        self._table = Table(layout, cluster)
        self._file = state_dir / "federation.snapshot" if state_dir else None
        self._file_findings: tuple[Finding, ...] = ()
        self._unsaved = asyncio.Event()
        self._saved = float("-inf")  # monotonic seconds
        self._state = FederationState()
        self.state: Latest[FederationState] = Latest()

    def restore(self) -> None:
        """Serve the disk snapshot, if there is one, before anything else is asked."""
        if self._file is None:
            return
        saved = load(self._file, self._layout.mesh)
        if isinstance(saved, Finding):
            self._file_findings = (saved,)
            log.warning("snapshot_unreadable", finding=str(saved))
        elif saved is not None:
            changed = self._table.restore(saved.peers)
            self._publish("disk", False, changed, saved.saved_unix, saved.store_id, 0)
            log.info(
                "federation_from_disk", peers=sorted(changed), age_seconds=round(time.time() - saved.saved_unix, 1)
            )

    async def run(self) -> None:
        """List, watch, list again after every interruption, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._save_changes(), name="federation-disk")
            while True:
                try:
                    await self._follow()
                except (Compacted, StoreReplaced) as error:
                    log.warning("store_listed_again", reason=str(error))
                    continue
                except (Unavailable, Denied) as error:
                    self._disconnected(str(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self) -> None:
        listing = await self._etcd.list_prefix(self._layout.base)
        records = {kv.key: Raw(kv.value, kv.mod_revision) for kv in listing.kvs}
        changed = self._table.relist(records, time.monotonic())
        store_id = _store_id(records.get(self._layout.meta), listing.cluster_id)
        self._publish("store", True, changed, 0.0, store_id, listing.revision)
        async for batch in self._etcd.watch(self._layout.base, listing.revision + 1):
            if isinstance(batch, Watched):
                self._take(batch, store_id)
            else:
                self._disconnected(batch.reason)

    def _take(self, batch: Watched, store_id: str) -> None:
        puts: dict[str, Raw] = {}
        deletes: dict[str, None] = {}
        for event in batch.events:
            key = event.kv.key
            if event.deleted:
                puts.pop(key, None)
                deletes[key] = None
            else:
                deletes.pop(key, None)
                puts[key] = Raw(event.kv.value, event.kv.mod_revision)
        changed = self._table.apply(puts, deletes, time.monotonic())
        self._publish("store", True, changed, 0.0, store_id, batch.revision)

    def _publish(
        self, source: str, connected: bool, changed: frozenset[str], saved: float, store_id: str, revision: int
    ) -> None:
        self._state = FederationState(
            peers=self._table.peers,
            source=source,
            connected=connected,
            confirmed=time.monotonic() if connected else self._state.confirmed,
            saved_unix=saved,
            store_id=store_id,
            revision=revision,
            changed=changed,
            findings=self._file_findings + self._table.findings,
        )
        self.state.set(self._state)
        if connected and (changed or time.monotonic() - self._saved > SAVE_UNCHANGED_SECONDS):
            self._unsaved.set()

    def _disconnected(self, why: str) -> None:
        if self._state.connected:
            log.warning("store_lost", error=why)
        state = self._state
        self._state = FederationState(
            state.peers, state.source, False, state.confirmed, state.saved_unix, state.store_id, state.revision,
            frozenset(), state.findings,
        )  # fmt: skip
        self.state.set(self._state)

    async def _save_changes(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            self._saved = time.monotonic()
            if self._file is not None:
                peers = {cluster: peer.raw for cluster, peer in self._table.peers.items()}
                saved = SavedFederation(self._layout.mesh, self._state.store_id, time.time(), peers)
                try:
                    await asyncio.to_thread(save, self._file, saved)
                except OSError as error:
                    log.warning("snapshot_not_saved", file=str(self._file), error=str(error))
            await asyncio.sleep(SAVE_PAUSE_SECONDS)


def _store_id(meta: Raw | None, cluster_id: int) -> str:
    try:
        record = pb.StoreMeta.FromString(meta.value if meta is not None else b"")
    except DecodeError:
        record = pb.StoreMeta()
    return f"{record.store_id}/{record.epoch}" if record.store_id else f"{cluster_id:x}"
