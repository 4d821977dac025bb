"""What a cluster writes of itself: the plan that brings its prefix of the store to the wanted records, and the loop
behind it.

The plan is pure. The loop owns the etcd writes, the completeness marker and the heartbeat; what to publish comes to
it as a value (`Exports`), so it knows no Kubernetes object and no proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from federation.keys import CompleteKey, EndpointsKey, EntryKey, HeartbeatKey, Layout, ServiceRecordKey
from federation.model.workload import Endpoint
from federation.records import ExportedService, encode_endpoints, encode_service, group_endpoints
from federation.schema import records_pb2 as pb

MAX_GROUPS_PER_SLICE = 1_000
MAX_BYTES_PER_SLICE = 500_000
MAX_ADDRESSES_PER_GROUP = 1_000


@dataclass(frozen=True, slots=True)
class Export:
    """One exported service and its endpoints in this cluster."""

    exported: ExportedService
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Exports:
    """Everything a cluster exports. `shared_networks` are networks that peers live in too: these get addresses."""

    cluster: str
    exports: tuple[Export, ...] = ()
    shared_networks: frozenset[str] = field(default_factory=frozenset)


def desired_records(layout: Layout, exports: Exports) -> dict[str, bytes]:
    """The records of a cluster's exports by key; equal exports give equal bytes."""
    records: dict[str, bytes] = {}
    for export in exports.exports:
        service = export.exported.service
        names = (exports.cluster, service.namespace, service.name)
        key = EntryKey(*names) if export.exported.entry else ServiceRecordKey(*names)
        records[layout.format(key)] = encode_service(export.exported)
        addresses = service.external or any(e.network in exports.shared_networks for e in export.endpoints)
        groups = group_endpoints(export.endpoints, addresses)
        for number, part in enumerate(_slices(groups)):
            records[layout.format(EndpointsKey(*names, str(number)))] = encode_endpoints(part)
    return records


def _slices(groups: Sequence[pb.EndpointGroup]) -> Iterator[list[pb.EndpointGroup]]:
    """The groups in records that the store takes, however many addresses a service has."""
    part: list[pb.EndpointGroup] = []
    size = 0
    for group in (piece for whole in groups for piece in _pieces(whole)):
        weight = group.ByteSize()
        if part and (len(part) >= MAX_GROUPS_PER_SLICE or size + weight > MAX_BYTES_PER_SLICE):
            yield part
            part, size = [], 0
        part.append(group)
        size += weight
    if part:
        yield part


def _pieces(group: pb.EndpointGroup) -> Iterator[pb.EndpointGroup]:
    """A group with very many addresses as several, of the same weight in all."""
    if len(group.addresses) <= MAX_ADDRESSES_PER_GROUP:
        yield group
        return
    for start in range(0, len(group.addresses), MAX_ADDRESSES_PER_GROUP):
        piece = pb.EndpointGroup()
        piece.CopyFrom(group)
        del piece.addresses[:]
        piece.addresses.extend(group.addresses[start : start + MAX_ADDRESSES_PER_GROUP])
        piece.weight = sum(address.weight or 1 for address in piece.addresses)
        yield piece


@dataclass(frozen=True, slots=True)
class PublishPlan:
    """What to write and what to delete; nothing else of the prefix is touched."""

    puts: tuple[tuple[str, bytes], ...]
    deletes: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes)


def plan_publish(
    layout: Layout, cluster: str, desired: Mapping[str, bytes], published: Mapping[str, bytes]
) -> PublishPlan:
    """The difference between wanted and present records; heartbeat, marker, gateways and views are never its
    business.
    """
    ours = tuple(layout.owned_by(cluster) + part for part in ("services/", "endpoints/", "entries/"))
    puts = tuple((key, value) for key, value in sorted(desired.items()) if published.get(key) != value)
    deletes = tuple(key for key in sorted(published) if key.startswith(ours) and key not in desired)
    return PublishPlan(puts, deletes)


def complete_record(layout: Layout, cluster: str, generation: int, epoch: int, exports: Exports) -> tuple[str, bytes]:
    """The end-of-snapshot marker."""
    endpoints = sum(len(export.endpoints) for export in exports.exports)
    record = pb.Complete(epoch=epoch, generation=generation, services=len(exports.exports), endpoints=endpoints)
    return layout.format(CompleteKey(cluster)), record.SerializeToString(deterministic=True)


def heartbeat_record(
    layout: Layout, cluster: str, generation: int, now_ms: int, version: str, instance: str
) -> tuple[str, bytes]:
    """The sign of life; `generation` only ever grows."""
    record = pb.Heartbeat(generation=generation, sent_unix_ms=now_ms, istiod_version=version, instance=instance)
    return layout.format(HeartbeatKey(cluster)), record.SerializeToString(deterministic=True)


def next_generation(last: int, now_ms: int) -> int:
    """A heartbeat generation above every earlier one, across restarts and store restores, unless clocks ran
    backwards.
    """
    return max(last + 1, now_ms)
