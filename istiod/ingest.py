"""Events -> store -> snapshots: the one task that writes the store.

Owns batching: what arrives while a snapshot is built goes into the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from federation.runtime.latest import Latest
from federation.runtime.ready import Readiness
from istiod.events import Event
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store, Tables


class Ingest:
    """Sources call `emit` from the event loop; `run` turns what they said into `snapshots`."""

    def __init__(self, builder: SnapshotBuilder, sources: Sequence[str], readiness: Readiness) -> None:
        self._builder = builder
        self._store = Store()
        self._waiting = set(sources)
        self._readiness = readiness
        self._queued: list[Event] = []
        self._arrived = asyncio.Event()
        self.snapshots: Latest[Snapshot] = Latest()
        self.changed = 0.0  # monotonic seconds of the newest snapshot
        self.tables = Tables()  # what the newest snapshot was built of
        for source in sources:
            readiness.wait_for(f"source {source}")

    def emit(self, events: Sequence[Event]) -> None:
        """Take events of one batch; they reach the same snapshot together."""
        self._queued.extend(events)
        self._arrived.set()

    @property
    def ledger(self) -> Mapping[str, str]:
        """Virtual addresses given so far, by host."""
        return self._builder.ledger

    async def run(self) -> None:
        """Apply and publish until cancelled. Nothing is published before every source has said what it knows."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            events, self._queued = self._queued, []
            changed = self._store.apply(events)
            tables = self._store.tables()
            for source in self._waiting & tables.synced:
                self._readiness.met(f"source {source}")
            self._waiting -= tables.synced
            if changed and not self._waiting:
                self.tables = tables
                self.snapshots.set(self._builder.build(tables))
                self.changed = time.monotonic()
                await asyncio.sleep(0)


def registry_view(snapshot: Snapshot | None) -> dict[str, Any]:
    """Services and endpoints as plain data, for the debug view."""
    if snapshot is None:
        return {"services": []}
    return {
        "revision": snapshot.revision,
        "services": [
            {
                "host": service.host,
                "namespace": service.namespace,
                "addresses": service.vips,
                "ports": [{"number": p.number, "name": p.name, "protocol": p.protocol.value} for p in service.ports],
                "clusters": service.clusters,
                "external": service.external,
                "endpoints": [
                    {
                        "address": e.address,
                        "cluster": e.cluster,
                        "network": e.network,
                        "locality": str(e.locality),
                        "weight": e.weight,
                        "health": e.health.value,
                        "mtls": e.mtls,
                    }
                    for e in snapshot.endpoints.get(service.key, ())
                ],
            }
            for service in snapshot.services.values()
        ],
    }


def names_view(snapshot: Snapshot | None) -> dict[str, list[str]]:
    """Hosts and the addresses that their names resolve to; members' own addresses for headless services."""
    if snapshot is None:
        return {}
    names: dict[str, list[str]] = {}
    for service in snapshot.services.values():
        addresses = [vip for vip in service.vips if "/" not in vip and not vip.startswith("0.")]
        if not addresses and service.headless:
            addresses = [e.address for e in snapshot.endpoints.get(service.key, ()) if e.address]
        if addresses:
            names.setdefault(service.host, []).extend(a for a in addresses if a not in names.get(service.host, ()))
    return names
