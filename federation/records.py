"""Converts between what the mesh's clusters mean (`federation.model`) and the records they leave in etcd.

Pure. Reading never raises on what another cluster wrote: it gives a value or a `Finding` that names key and reason.
Records of a newer major schema are refused, unknown fields of ours ignored, sizes bounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from federation.keys import EndpointsKey, EntryKey, GatewayKey, Key, Layout, ServiceRecordKey
from federation.model.findings import Finding, Severity
from federation.model.identity import SpiffeId
from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, NetworkGateway
from federation.schema import records_pb2 as pb

SCHEMA = 1
READY, UNREADY, DRAINING = "ready", "unready", "draining"  # states of a gateway
MAX_RECORD_BYTES = 1_400_000  # etcd takes 1.5 MiB a request
MAX_PORTS = 1_000
MAX_GROUPS = 10_000
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class ExportedService:
    """A service that its cluster lets others use. `consumers` empty = every cluster."""

    service: Service
    identities: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    entry: bool = False  # declared by a ServiceEntry

    def admits(self, cluster: str) -> bool:
        """Whether that cluster may use it."""
        return not self.consumers or cluster in self.consumers


@dataclass(frozen=True, slots=True)
class GatewayRecord:
    """A gateway as announced, with its state: ready ones get traffic, unready ones only where no other is left, and
    draining ones none.
    """

    gateway: NetworkGateway
    id: str
    state: str = READY


def encode_service(exported: ExportedService) -> bytes:
    """The record of an exported service or entry; equal values give equal bytes."""
    service = exported.service
    record = pb.Service(
        schema=SCHEMA,
        name=service.name,
        namespace=service.namespace,
        host=service.host,
        ports=[pb.Port(number=p.number, name=p.name, protocol=p.protocol.value) for p in service.ports],
        identities=exported.identities,
        consumers=exported.consumers,
        created=service.created,
        headless=service.headless,
        external=service.external,
        resolution=service.resolution.value,
        labels=dict(service.labels),
        traffic_distribution=service.traffic_distribution,
        vips=service.vips if service.external else (),
    )
    return record.SerializeToString(deterministic=True)


def decode_service(key: ServiceRecordKey | EntryKey, value: bytes) -> ExportedService | Finding:
    """Read a service or entry of a peer."""
    record = _parse(pb.Service, key, value)
    if isinstance(record, Finding):
        return record
    if (record.namespace, record.name) != (key.namespace, key.name) or not record.host:
        return _refused(key, f"it says {record.namespace}/{record.name} with host {record.host[:300]!r}")
    if _HOST.fullmatch(record.host.removeprefix("*.")) is None:
        return _refused(key, f"{record.host[:300]!r} is no host")
    try:
        for vip in record.vips:
            ip_network(vip, strict=False)
    except ValueError as wrong:
        return _refused(key, f"virtual address {wrong}")
    if not record.ports or len(record.ports) > MAX_PORTS:
        return _refused(key, f"{len(record.ports)} ports")
    ports = []
    for port in record.ports:
        try:
            ports.append(ServicePort(_port_number(port.number), port.name, Protocol(port.protocol)))
        except ValueError as wrong:
            return _refused(key, f"port {port.name!r}: {wrong}")
    try:
        resolution = Resolution(record.resolution or Resolution.ENDPOINTS)
    except ValueError:
        return _refused(key, f"unknown resolution {record.resolution!r}")
    service = Service(
        key=ServiceKey(record.host, record.namespace),
        name=record.name,
        ports=tuple(ports),
        resolution=resolution,
        origin=Origin.FEDERATION,
        vips=tuple(record.vips) if record.external else (),
        external=record.external,
        created=record.created,
        labels=Labels(dict(record.labels)),
        headless=record.headless,
        traffic_distribution=record.traffic_distribution,
        subject_alt_names=tuple(record.identities),
        clusters=(key.cluster,),
    )
    return ExportedService(service, tuple(record.identities), tuple(record.consumers), isinstance(key, EntryKey))


def group_endpoints(endpoints: Sequence[Endpoint], addresses: bool) -> list[pb.EndpointGroup]:
    """Endpoints that a client behind a gateway cannot tell apart, as one group each, in a fixed order.

    `addresses` keeps each address too, for clients that reach it themselves.
    """
    groups: dict[tuple[object, ...], pb.EndpointGroup] = {}
    for endpoint in sorted(endpoints, key=lambda e: (_look(e), e.address, e.workload, e.weight)):
        key = _look(endpoint)
        group = groups.get(key)
        if group is None:
            place = endpoint.locality
            group = groups[key] = pb.EndpointGroup(
                ports=dict(endpoint.ports),
                locality=pb.Locality(region=place.region, zone=place.zone, subzone=place.subzone),
                labels=dict(endpoint.labels),
                network=endpoint.network,
                identity=str(endpoint.identity or ""),
                mtls=endpoint.mtls,
            )
        group.weight += endpoint.weight or 1
        if addresses and endpoint.address:
            group.addresses.add(address=endpoint.address, weight=endpoint.weight, workload=endpoint.workload)
    return list(groups.values())


def _look(endpoint: Endpoint) -> tuple[object, ...]:
    """What tells an endpoint from others of its service; in an order that does not depend on who came first."""
    return (
        endpoint.locality,
        tuple(endpoint.labels.items()),
        tuple(sorted(endpoint.ports)),
        endpoint.network,
        str(endpoint.identity or ""),
        endpoint.mtls,
    )


def encode_endpoints(groups: Sequence[pb.EndpointGroup], stamp_unix_us: int = 0) -> bytes:
    """The record of all groups of one slice of a service."""
    return pb.Endpoints(schema=SCHEMA, groups=groups, stamp_unix_us=stamp_unix_us).SerializeToString(deterministic=True)


def decode_endpoints(key: EndpointsKey, value: bytes) -> tuple[Endpoint, ...] | Finding:
    """Read a peer's endpoints: one per address where addresses were given, else one without an address per group."""
    record = _parse(pb.Endpoints, key, value)
    if isinstance(record, Finding):
        return record
    if len(record.groups) > MAX_GROUPS:
        return _refused(key, f"{len(record.groups)} endpoint groups")
    endpoints: list[Endpoint] = []
    for group in record.groups:
        try:
            endpoints += _endpoints_of(key, group)
        except ValueError as wrong:
            return _refused(key, str(wrong))
    return tuple(endpoints)


def _endpoints_of(key: EndpointsKey, group: pb.EndpointGroup) -> list[Endpoint]:
    place = group.locality
    whole = Endpoint(
        address="",
        ports=tuple(sorted((name, _port_number(number)) for name, number in group.ports.items())),
        labels=Labels(dict(group.labels)),
        locality=Locality(place.region, place.zone, place.subzone),
        network=group.network,
        cluster=key.cluster,
        namespace=key.namespace,
        identity=SpiffeId.parse(group.identity) if group.identity else None,
        weight=group.weight or 1,
        mtls=group.mtls,
    )
    if not group.addresses:
        return [whole]
    for a in group.addresses:
        _check_address(a.address)
    return [replace(whole, address=a.address, weight=a.weight or 1, workload=a.workload) for a in group.addresses]


def encode_gateway(record: GatewayRecord) -> bytes:
    """The record of one gateway."""
    gateway, place = record.gateway, record.gateway.locality
    return pb.Gateway(
        schema=SCHEMA,
        id=record.id,
        address=gateway.address,
        port=gateway.port,
        locality=pb.Locality(region=place.region, zone=place.zone, subzone=place.subzone),
        network=gateway.network,
        weight=gateway.weight,
        state=record.state,
    ).SerializeToString(deterministic=True)


def decode_gateway(key: GatewayKey, value: bytes) -> GatewayRecord | Finding:
    """Read a peer's gateway."""
    record = _parse(pb.Gateway, key, value)
    if isinstance(record, Finding):
        return record
    if not record.address or not record.network:
        return _refused(key, "a gateway without address or network")
    try:
        ip_address(record.address)  # Envoy takes nothing else from a control plane; nobody resolves names for it yet
        port = _port_number(record.port)
    except ValueError as wrong:
        return _refused(key, str(wrong))
    place = Locality(record.locality.region, record.locality.zone, record.locality.subzone)
    gateway = NetworkGateway(record.network, key.cluster, record.address, port, place, record.weight or 1)
    return GatewayRecord(gateway, record.id or key.id, record.state or READY)


def decode_plain(kind: type[M], key: Key, value: bytes) -> M | Finding:
    """Read a record that has no model of its own (cluster registration, heartbeat, completeness, view)."""
    return _parse(kind, key, value)


def _parse(kind: type[M], key: Key, value: bytes) -> M | Finding:
    if len(value) > MAX_RECORD_BYTES:
        return _refused(key, f"{len(value)} bytes are more than a record may have")
    try:
        record = kind.FromString(value)
    except DecodeError as wrong:
        return _refused(key, f"not a {kind.DESCRIPTOR.name} record: {wrong}")
    schema = getattr(record, "schema", SCHEMA)
    if schema > SCHEMA:
        return _refused(key, f"schema {schema} is newer than {SCHEMA}, the newest that this version reads", "upgrade")
    if schema == 0:
        return _refused(key, f"not a {kind.DESCRIPTOR.name} record: no schema")
    return record


def _port_number(number: int) -> int:
    if not 0 < number < 65536:
        raise ValueError(f"port {number} is not between 1 and 65535")
    return number


def _check_address(address: str) -> None:
    """Raise ValueError for what no proxy elsewhere can dial; a socket of this name there would be another one."""
    if _HOST.fullmatch(address) is None:
        try:
            ip_address(address)
        except ValueError:
            raise ValueError(f"address {address[:300]!r} is neither an IP address nor a host") from None


def _refused(key: Key, reason: str, kind: str = "") -> Finding:
    code = "RecordFromTheFuture" if kind else "BadRecord"
    fix = (
        "upgrade this cluster's istiod"
        if kind
        else f"look at cluster {getattr(key, 'cluster', '?')}: it wrote the record"
    )
    return Finding(Severity.ERROR, code, f"etcd {Layout('*').format(key)}", "", reason, fix)
