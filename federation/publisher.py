"""The loop that keeps a cluster's prefix of the store as it should be, and its heartbeat.

A thin shell around `federation.publish`. On every (re)connect the prefix is listed and compared, so that a store
that was
restored or replaced is repaired; every write is made only while our own last heartbeat is in the store, which shows
both that and a second publisher. Losing the store stops nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from federation.etcd import Compare, Delete, Etcd, Put
from federation.keys import HeartbeatKey, Layout
from federation.model.errors import Conflict, Denied, InvalidInput, Unavailable
from federation.publish import (
    Exports,
    PublishPlan,
    complete_record,
    desired_records,
    heartbeat_record,
    next_generation,
    plan_publish,
)
from federation.records import decode_plain
from federation.runtime.latest import Latest
from federation.schema import records_pb2 as pb

log = structlog.get_logger("federation")

HEARTBEAT_SECONDS = 1.0
RETRY_SECONDS = 0.5
OPERATIONS_PER_TXN = 100
BYTES_PER_TXN = 1_000_000


@dataclass(slots=True)
class PublishedState:
    """How publishing goes, for status. `last_beat` is local monotonic seconds of the last heartbeat written, 0
    before.
    """

    connected: bool = False
    error: str = ""
    generation: int = 0
    last_beat: float = 0.0
    records: int = 0


class Publisher:
    """Publishes `exports` of one cluster. One instance per cluster may run."""

    def __init__(
        self, layout: Layout, cluster: str, etcd: Etcd, exports: Latest[Exports], version: str, instance: str
    ) -> None:
        self._layout = layout
        self._cluster = cluster
        self._etcd = etcd
        self._exports = exports
        self._version = version
        self._instance = instance
        self._published: dict[str, bytes] = {}
        self._beat_revision = 0
        self._beat_due = 0.0
        self.state = PublishedState()

    async def run(self) -> None:
        """Publish until cancelled."""
        await self._exports.wait()
        while True:
            try:
                await self._publish()
            except (Unavailable, Denied, Conflict, InvalidInput) as error:
                if self.state.connected or self.state.error != str(error):
                    log.warning("publish_interrupted", error=str(error))
                self.state.connected, self.state.error = False, str(error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _publish(self) -> None:
        await self._read_back()
        seen, exports = await self._exports.wait()
        await self._bring_about(exports, always=True)
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(self._beat_due):
                    seen, exports = await self._exports.wait(seen)
            except TimeoutError:
                pass
            else:
                await self._bring_about(exports)
            if loop.time() >= self._beat_due:
                await self._write((), exports, last=True)

    async def _read_back(self) -> None:
        listing = await self._etcd.list_prefix(self._layout.owned_by(self._cluster))
        self._published = {kv.key: kv.value for kv in listing.kvs}
        beat_key = self._layout.format(HeartbeatKey(self._cluster))
        beat = next((kv for kv in listing.kvs if kv.key == beat_key), None)
        self._beat_revision = beat.mod_revision if beat is not None else 0
        last = decode_plain(pb.Heartbeat, HeartbeatKey(self._cluster), beat.value) if beat is not None else None
        if isinstance(last, pb.Heartbeat):
            self.state.generation = max(self.state.generation, last.generation)

    async def _bring_about(self, exports: Exports, always: bool = False) -> None:
        desired = desired_records(self._layout, exports)
        plan = plan_publish(self._layout, self._cluster, desired, self._published)
        batches = _batches(plan) or ([[]] if always else [])
        for number, operations in enumerate(batches, 1):
            await self._write(operations, exports, last=number == len(batches))
            for operation in operations:
                if isinstance(operation, Put):
                    self._published[operation.key] = operation.value
                else:
                    self._published.pop(operation.key, None)
        if plan:
            log.info("published", puts=len(plan.puts), deletes=len(plan.deletes))
        self.state.records = len(desired)

    async def _write(self, operations: Sequence[Put | Delete], exports: Exports, last: bool) -> None:
        """One transaction, only while the heartbeat in the store is our last one. The `last` of a plan brings the next.

        So what we believe to be in the store is there: were it set back, or did another publish, the heartbeat would be
        another too. And readers see a new generation only when all of it is there.
        """
        now_ms = int(time.time() * 1000)
        generation = next_generation(self.state.generation, now_ms)
        key, value = heartbeat_record(self._layout, self._cluster, generation, now_ms, self._version, self._instance)
        then = list(operations)
        if last and (operations or not self.state.connected):
            then.append(Put(*complete_record(self._layout, self._cluster, generation, 0, exports)))
        if last:
            then.append(Put(key, value))
        result = await self._etcd.txn([Compare(key, "mod_revision", "==", self._beat_revision)], then)
        if not result.succeeded:
            raise Conflict(f"etcd key {key} has changed: another publishes for this cluster, or the store was set back")
        if last:
            self._beat_revision = result.revision
            self._beat_due = asyncio.get_running_loop().time() + HEARTBEAT_SECONDS
            self.state = PublishedState(True, "", generation, time.monotonic(), self.state.records)


def _batches(plan: PublishPlan) -> list[list[Put | Delete]]:
    """The plan in transactions that etcd takes: bounded in operations and bytes, puts before deletes."""
    batches: list[list[Put | Delete]] = []
    size = 0
    operations: list[Put | Delete] = [Put(key, value) for key, value in plan.puts]
    operations += [Delete(key) for key in plan.deletes]
    for operation in operations:
        weight = len(operation.value) if isinstance(operation, Put) else 0
        if not batches or len(batches[-1]) >= OPERATIONS_PER_TXN or size + weight > BYTES_PER_TXN:
            batches.append([])
            size = 0
        batches[-1].append(operation)
        size += weight
    return batches
