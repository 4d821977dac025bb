"""What this cluster serves of its peers, kept apart from what the store happens to hold right now.

Pure state machine: fed with listings and watch events, it never lets silence or an older store remove anything. A
peer's
records count only while its heartbeat in the store is at least as new as the newest one seen; a store restored from an
older backup therefore changes nothing until the peer has published again. Only a tombstone drops a peer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from federation.keys import (
    ClusterKey,
    CompleteKey,
    EndpointsKey,
    EntryKey,
    GatewayKey,
    HeartbeatKey,
    Key,
    Layout,
    ServiceRecordKey,
    ViewKey,
)
from federation.model.findings import Finding, Severity
from federation.model.workload import Endpoint
from federation.records import (
    DRAINING,
    UNREADY,
    ExportedService,
    GatewayRecord,
    decode_endpoints,
    decode_gateway,
    decode_plain,
    decode_service,
)
from federation.schema import records_pb2 as pb

LEFT = "left"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Raw:
    """A stored record with the revision that wrote it."""

    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Peer:
    """What is served of one cluster. Mappings are never changed after construction.

    `heartbeat_seen` is local monotonic time (s) when the newest heartbeat generation arrived, 0 if from disk.
    `held` says why the store's present records of this peer do not count; "" when they do.
    """

    cluster: str
    network: str = ""
    region: str = ""
    trust_domain: str = ""
    state: str = ""
    services: Mapping[ServiceRecordKey | EntryKey, ExportedService] = field(default_factory=dict)
    endpoints: Mapping[EndpointsKey, tuple[Endpoint, ...]] = field(default_factory=dict)
    gateways: Mapping[GatewayKey, GatewayRecord] = field(default_factory=dict)
    views: Mapping[str, pb.PeerView] = field(default_factory=dict)
    generation: int = 0
    complete_generation: int = 0
    istiod_version: str = ""
    heartbeat_seen: float = 0.0
    held: str = ""
    raw: Mapping[str, Raw] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


class _Decoded(Generic[T]):
    """Reuses decoded values of records whose bytes did not change."""

    def __init__(self) -> None:
        self._cache: dict[str, tuple[bytes, T]] = {}

    def get(self, text: str, value: bytes) -> T | None:
        known = self._cache.get(text)
        return known[1] if known is not None and known[0] == value else None

    def put(self, text: str, value: bytes, decoded: T) -> T:
        self._cache[text] = (value, decoded)
        return decoded

    def keep_only(self, texts: Iterable[str]) -> None:
        for text in set(self._cache).difference(texts):
            del self._cache[text]


class Table:
    """The records of all clusters of one mesh but our own."""

    def __init__(self, layout: Layout, own_cluster: str) -> None:
        self._layout = layout
        self._own = own_cluster
        self._stored: dict[str, dict[str, Raw]] = {}
        self._served: dict[str, Peer] = {}
        self._decoded: _Decoded[object] = _Decoded()
        self._bad_keys: dict[str, Finding] = {}

    @property
    def peers(self) -> Mapping[str, Peer]:
        """What is served, by cluster."""
        return dict(self._served)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything wrong in the store, and every peer whose records do not count now."""
        found = list(self._bad_keys.values())
        for peer in self._served.values():
            found += peer.findings
            if peer.held:
                found.append(_held(peer))
        return tuple(sorted(found))

    def relist(self, listing: Mapping[str, Raw], now: float) -> frozenset[str]:
        """Take a complete listing of the mesh's prefix; returns the clusters whose served records changed."""
        fresh: dict[str, dict[str, Raw]] = {}
        self._bad_keys.clear()
        for text, raw in listing.items():
            cluster = self._cluster_of(text)
            if cluster:
                fresh.setdefault(cluster, {})[text] = raw
        touched = set(fresh) | set(self._stored) | set(self._served)
        self._stored = fresh
        return self._settle(touched, now)

    def apply(self, puts: Mapping[str, Raw], deletes: Iterable[str], now: float) -> frozenset[str]:
        """Take one batch of watch events (for one key the newest only); returns the clusters whose served records
        changed.
        """
        touched: set[str] = set()
        beats: set[str] = set()
        for text in deletes:
            cluster = self._cluster_of(text)
            self._bad_keys.pop(text, None)
            if cluster and self._stored.get(cluster, {}).pop(text, None) is not None:
                touched.add(cluster)
        for text, raw in puts.items():
            cluster = self._cluster_of(text)
            if cluster:
                self._stored.setdefault(cluster, {})[text] = raw
                (beats if text == self._layout.format(HeartbeatKey(cluster)) else touched).add(cluster)
        slow = {cluster for cluster in beats - touched if not self._beat(cluster, now)}
        return self._settle(touched | slow, now)

    def _beat(self, cluster: str, now: float) -> bool:
        """A heartbeat alone, the commonest event: nothing is decoded again. False if more than that has to be looked
        at.
        """
        known = self._served.get(cluster)
        generation = self._generation(cluster, self._stored[cluster])
        if known is None or known.held or generation <= known.generation:
            return False
        self._served[cluster] = replace(
            known, generation=generation, heartbeat_seen=now, raw=dict(self._stored[cluster])
        )
        return True

    def restore(self, served: Mapping[str, Mapping[str, Raw]]) -> frozenset[str]:
        """Serve what a disk snapshot holds, before the store was heard. Its age is counted by the caller."""
        for cluster, records in served.items():
            self._served[cluster] = self._build(cluster, dict(records), None, 0.0)
        return frozenset(served)

    def _cluster_of(self, text: str) -> str:
        try:
            key = self._layout.parse(text)
        except ValueError as wrong:
            if text.startswith((self._layout.clusters, self._layout.exports)):
                self._bad_keys[text] = Finding(
                    Severity.ERROR, "BadKey", f"etcd {text[:200]}", "", str(wrong), "delete the key"
                )
            return ""
        return "" if key.cluster == self._own else key.cluster

    def _settle(self, clusters: Iterable[str], now: float) -> frozenset[str]:
        changed = set()
        for cluster in clusters:
            known = self._served.get(cluster)
            peer = self._next(cluster, known, now)
            if peer is None:
                if self._served.pop(cluster, None) is not None:
                    changed.add(cluster)
            elif peer is not known:
                self._served[cluster] = peer
                if known is None or served_differs(known, peer):
                    changed.add(cluster)
        return frozenset(changed)

    def _next(self, cluster: str, known: Peer | None, now: float) -> Peer | None:
        records = self._stored.get(cluster, {})
        registration = self._registration(cluster, records)
        if registration is not None and registration.state == LEFT:
            return None
        if known is None:
            return self._build(cluster, dict(records), None, now) if records else None
        generation = self._generation(cluster, records)
        emptied = not records and bool(known.services or known.endpoints or known.gateways)
        if generation < known.generation or emptied:
            why = (
                "the store holds an older heartbeat than was seen before"
                if records
                else "the store holds nothing of it"
            )
            return known if known.held == why else replace(known, held=why)
        return self._build(cluster, dict(records), known, now)

    def _registration(self, cluster: str, records: Mapping[str, Raw]) -> pb.Cluster | None:
        key = ClusterKey(cluster)
        raw = records.get(self._layout.format(key))
        record = decode_plain(pb.Cluster, key, raw.value) if raw else None
        return record if isinstance(record, pb.Cluster) else None

    def _generation(self, cluster: str, records: Mapping[str, Raw]) -> int:
        key = HeartbeatKey(cluster)
        raw = records.get(self._layout.format(key))
        record = decode_plain(pb.Heartbeat, key, raw.value) if raw else None
        return record.generation if isinstance(record, pb.Heartbeat) else 0

    def _build(self, cluster: str, records: dict[str, Raw], known: Peer | None, now: float) -> Peer:
        parts = _Parts()
        for text, raw in sorted(records.items()):
            parts.add(self._layout.parse(text), self._decode(text, raw))
        gateways = _with_last_gateway(parts.gateways, known)
        generation = parts.generation
        seen = now if known is None or generation > known.generation else known.heartbeat_seen
        return Peer(
            cluster=cluster,
            network=parts.registration.network if parts.registration else known.network if known else "",
            region=parts.registration.region if parts.registration else known.region if known else "",
            trust_domain=parts.registration.trust_domain if parts.registration else known.trust_domain if known else "",
            state=parts.registration.state if parts.registration else known.state if known else "",
            services=parts.services,
            endpoints=parts.endpoints,
            gateways=gateways,
            views=parts.views,
            generation=generation,
            complete_generation=parts.complete,
            istiod_version=parts.version,
            heartbeat_seen=seen,
            raw=records,
            findings=tuple(parts.findings),
        )

    def _decode(self, text: str, raw: Raw) -> object:
        known = self._decoded.get(text, raw.value)
        return (
            known
            if known is not None
            else self._decoded.put(text, raw.value, _decode(self._layout.parse(text), raw.value))
        )


class _Parts:
    """Collects the decoded records of one cluster."""

    def __init__(self) -> None:
        self.services: dict[ServiceRecordKey | EntryKey, ExportedService] = {}
        self.endpoints: dict[EndpointsKey, tuple[Endpoint, ...]] = {}
        self.gateways: dict[GatewayKey, GatewayRecord] = {}
        self.views: dict[str, pb.PeerView] = {}
        self.findings: list[Finding] = []
        self.registration: pb.Cluster | None = None
        self.generation = 0
        self.complete = 0
        self.version = ""

    def add(self, key: Key, value: object) -> None:
        match key, value:
            case _, Finding():
                self.findings.append(value)
            case ((ServiceRecordKey() | EntryKey()), ExportedService()):
                self.services[key] = value
            case EndpointsKey(), tuple():
                self.endpoints[key] = value
            case GatewayKey(), GatewayRecord():
                self.gateways[key] = value
            case ClusterKey(), pb.Cluster():
                self.registration = value
            case HeartbeatKey(), pb.Heartbeat():
                self.generation, self.version = value.generation, value.istiod_version
            case CompleteKey(), pb.Complete():
                self.complete = value.generation
            case ViewKey(), pb.PeerView():
                self.views[key.peer] = value


def _decode(key: Key, value: bytes) -> object:
    match key:
        case ServiceRecordKey() | EntryKey():
            return decode_service(key, value)
        case EndpointsKey():
            return decode_endpoints(key, value)
        case GatewayKey():
            return decode_gateway(key, value)
        case ClusterKey():
            return decode_plain(pb.Cluster, key, value)
        case HeartbeatKey():
            return decode_plain(pb.Heartbeat, key, value)
        case CompleteKey():
            return decode_plain(pb.Complete, key, value)
        case ViewKey():
            return decode_plain(pb.PeerView, key, value)


def _with_last_gateway(
    gateways: dict[GatewayKey, GatewayRecord], known: Peer | None
) -> dict[GatewayKey, GatewayRecord]:
    """A lease that ran out never takes the last way into a network: those that did not drain stay until one is
    announced, but nobody says any more that they are ready.
    """
    if gateways or known is None:
        return gateways
    return {key: replace(record, state=UNREADY) for key, record in known.gateways.items() if record.state != DRAINING}


def served_differs(one: Peer, other: Peer) -> bool:
    """Whether two states of a peer mean different services, endpoints or gateways; signs of life do not count."""
    return (one.services, one.endpoints, one.gateways, one.network, one.trust_domain) != (
        other.services,
        other.endpoints,
        other.gateways,
        other.network,
        other.trust_domain,
    )


def _held(peer: Peer) -> Finding:
    return Finding(
        Severity.WARNING,
        "StoreOlderThanSeen",
        f"Cluster {peer.cluster}",
        "",
        f"{peer.held}; its last known services and endpoints stay in use",
        "the store was restored or replaced; nothing is to be done if the cluster's istiod runs, it publishes again",
    )
