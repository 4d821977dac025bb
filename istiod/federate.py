"""Ties one control plane to the federation: peers into the store, exports out of snapshots, virtual addresses onto
disk.

Owns three small loops and no decision; those are in `federation.table`, `istiod.export` and
`istiod.registry.addresses`.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import structlog

from federation.etcd import Etcd
from federation.keys import HeartbeatKey, Layout
from federation.publish import Exports
from federation.publisher import Publisher
from federation.records import decode_plain
from federation.runtime.atomic import write_atomic
from federation.runtime.latest import Latest
from federation.runtime.supervise import Service
from federation.schema import records_pb2 as pb
from federation.subscribe import FederationState, Subscriber
from federation.table import Peer
from istiod.export import exports_of
from istiod.ingest import Ingest
from istiod.settings import Settings
from istiod.snapshot import SnapshotBuilder
from istiod.sources.federation import events_between

log = structlog.get_logger("federation")
LEDGER_FILE = "addresses.json"


class Federation:
    """What `istiod.main` runs when a shared store is configured."""

    def __init__(self, settings: Settings, etcd: Etcd, ingest: Ingest, version: str) -> None:
        layout = Layout(settings.mesh)
        self._layout = layout
        self._settings = settings
        self._ingest = ingest
        self._exports: Latest[Exports] = Latest()
        self.subscriber = Subscriber(layout, settings.cluster, etcd, settings.state)
        instance = uuid.uuid4().hex[:12]
        self.publisher = Publisher(layout, settings.cluster, etcd, self._exports, version, instance)

    def services(self) -> list[Service]:
        """The loops to supervise. The disk snapshot is served before any of them runs."""
        self.subscriber.restore()
        return [
            Service("federation-subscribe", self.subscriber.run),
            Service("federation-import", self._import),
            Service("federation-export", self._export),
            Service("federation-publish", self.publisher.run),
        ]

    async def _import(self) -> None:
        old: FederationState | None = None
        async for state in self.subscriber.state.changes():
            events = list(events_between(old, state))
            if events:
                self._ingest.emit(events)
            old = state

    async def _export(self) -> None:
        last: Exports | None = None
        async for snapshot in self._ingest.snapshots.changes():
            exports = exports_of(snapshot, self._settings.cluster, self._settings.network)
            if exports != last:
                last = exports
                self._exports.set(exports)

    def view(self) -> dict[str, Any]:
        """The state of the federation as this cluster sees it, for status. Ages are seconds."""
        state = self.subscriber.state.peek() or FederationState()
        now = time.monotonic()
        age = time.time() - state.saved_unix if state.source == "disk" else now - state.confirmed
        published = self.publisher.state
        return {
            "mesh": self._settings.mesh,
            "cluster": self._settings.cluster,
            "store": {
                "connected": state.connected,
                "source": state.source,
                "id": state.store_id,
                "revision": state.revision,
                "ageSeconds": None if state.source == "none" else 0.0 if state.connected else round(age, 1),
            },
            "published": {
                "connected": published.connected,
                "error": published.error,
                "records": published.records,
                "heartbeatAgeSeconds": round(now - published.last_beat, 1) if published.last_beat else None,
            },
            "peers": [self._peer(peer, now, state.saved_unix) for peer in state.peers.values()],
        }

    def _peer(self, peer: Peer, now: float, saved_unix: float) -> dict[str, Any]:
        return {
            **_described(peer),
            "heartbeatAgeSeconds": _heartbeat_age(peer, now, saved_unix),
            "heartbeatSentAgeSeconds": _sent_age(self._layout, peer),
        }


def _heartbeat_age(peer: Peer, now: float, saved_unix: float) -> float | None:
    """Seconds since a newer heartbeat arrived here (or since it was written to disk); None if there never was one."""
    if not peer.generation:
        return None
    if peer.heartbeat_seen:
        return round(now - peer.heartbeat_seen, 1)
    return round(time.time() - saved_unix, 1) if saved_unix else None


def _sent_age(layout: Layout, peer: Peer) -> float | None:
    """Seconds since the newest heartbeat was sent, by the peer's clock against ours."""
    raw = peer.raw.get(layout.format(HeartbeatKey(peer.cluster)))
    beat = decode_plain(pb.Heartbeat, HeartbeatKey(peer.cluster), raw.value) if raw is not None else None
    return round(time.time() - beat.sent_unix_ms / 1000, 1) if isinstance(beat, pb.Heartbeat) else None


def _described(peer: Peer) -> dict[str, Any]:
    return {
        "cluster": peer.cluster,
        "network": peer.network,
        "region": peer.region,
        "state": peer.state or "member",
        "held": peer.held,
        "services": len(peer.services),
        "endpoints": sum(endpoint.weight for group in peer.endpoints.values() for endpoint in group),
        "gateways": [
            {
                "id": r.id,
                "address": f"{r.gateway.address}:{r.gateway.port}",
                "state": r.state,
                "weight": r.gateway.weight,
            }
            for r in peer.gateways.values()
        ],
        "istiodVersion": peer.istiod_version,
    }


def load_ledger(state: Path | None) -> dict[str, str]:
    """Virtual addresses given before; empty, with a log line, if the file cannot be read."""
    path = state / LEDGER_FILE if state else None
    if path is None or not path.exists():
        return {}
    try:
        data = json.loads(path.read_text())
        return {str(host): str(address) for host, address in data.items()}
    except (OSError, ValueError, AttributeError) as wrong:
        path.replace(path.with_suffix(".bad"))
        log.warning("ledger_unreadable", file=str(path), error=str(wrong))
        return {}


async def keep_ledger(state: Path, builder: SnapshotBuilder, ingest: Ingest) -> None:
    """Write the ledger whenever an address was given."""
    saved: dict[str, str] | None = None
    async for _ in ingest.snapshots.changes():
        ledger = dict(builder.ledger)
        if ledger and ledger != saved:
            write_atomic(state / LEDGER_FILE, json.dumps(ledger, indent=1, sort_keys=True).encode())
            saved = ledger
