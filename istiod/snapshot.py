"""A frozen, indexed picture of everything one control plane knows, shared by all work on one revision.

Input is the store's tables; derived parts are reused from the previous snapshot where their inputs are the same objects.
Nothing here depends on how the tables came to be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.model.findings import Finding
from federation.model.identity import SpiffeId
from federation.model.names import NamespacedName, ServiceKey
from federation.model.service import Service
from federation.model.workload import Endpoint, NetworkGateway
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.events import MESH_KEY
from istiod.registry.build import Registry, RegistryBuilder
from istiod.registry.contribution import Contribution, Place
from istiod.store import Tables


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One revision of the world. Mappings are never changed after construction.

    `services` is sorted as conflicts are settled: oldest first, then by host and namespace. `hosts` lists the services of a
    host (several namespaces may own one). `addresses` maps a workload's address to the services that have it as endpoint.
    `tables` are the raw objects by kind, for the policies that `resolve` looks up. `local` is what this cluster declares.
    """

    revision: int
    mesh: MeshConfig
    services: Mapping[ServiceKey, Service]
    endpoints: Mapping[ServiceKey, tuple[Endpoint, ...]]
    hosts: Mapping[str, tuple[ServiceKey, ...]]
    addresses: Mapping[str, tuple[ServiceKey, ...]]
    gateways: tuple[NetworkGateway, ...]
    tables: Mapping[str, Mapping[NamespacedName, Any]]
    local: Mapping[ServiceKey, Contribution] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    synced: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two snapshots. `config` is anything but endpoints; `endpoints` names services whose endpoints do.

    An endpoint change that shows up elsewhere too (identities in upstreams, inbound ports of a workload) counts as `config`.
    """

    config: bool
    endpoints: frozenset[ServiceKey] = frozenset()
    addresses: bool = False

    def __bool__(self) -> bool:
        return self.config or bool(self.endpoints)


# Tables whose content reaches proxies only through services and endpoints.
_REGISTRY_KINDS = frozenset(
    {
        Kind.SERVICE,
        Kind.ENDPOINT_SLICE,
        Kind.POD,
        Kind.NODE,
        Kind.SERVICE_ENTRY,
        Kind.WORKLOAD_ENTRY,
        Kind.PEER,
        Kind.SERVICE_EXPORT,
    }
)


class SnapshotBuilder:
    """Builds snapshots one after the other, reusing parts. `ledger` are virtual addresses to keep over restarts."""

    def __init__(self, place: Place, ledger: Mapping[str, str] | None = None) -> None:
        self._registry = RegistryBuilder(place, ledger)
        self._revision = 0
        self._previous: Snapshot | None = None

    @property
    def ledger(self) -> Mapping[str, str]:
        """Virtual addresses given so far, by host."""
        return self._registry.ledger

    def build(self, tables: Tables) -> Snapshot:
        """The snapshot of these tables; its revision is one more than the last."""
        self._revision += 1
        registry = self._registry.build(tables.of)
        old = self._previous
        same_services = old is not None and _same(old.services, registry.services)
        same_endpoints = old is not None and _same(old.endpoints, registry.endpoints)
        snapshot = Snapshot(
            revision=self._revision,
            mesh=tables.of(Kind.MESH_CONFIG).get(MESH_KEY) or _DEFAULT_MESH,
            services=old.services if old is not None and same_services else registry.services,
            endpoints=old.endpoints if old is not None and same_endpoints else registry.endpoints,
            hosts=old.hosts if old is not None and same_services else _hosts(registry),
            addresses=_addresses(registry, old),
            gateways=old.gateways if old is not None and old.gateways == registry.gateways else registry.gateways,
            tables=tables.by_kind,
            local=registry.local,
            findings=tuple(sorted({*tables.findings, *registry.findings})),
            synced=tables.synced,
        )
        self._previous = snapshot
        return snapshot


_DEFAULT_MESH = MeshConfig()


def changes(old: Snapshot | None, new: Snapshot) -> Changes:
    """What has to be computed again for proxies that have the old snapshot's configuration."""
    if old is None or old.mesh is not new.mesh or old.services is not new.services or old.gateways is not new.gateways:
        return Changes(config=True, addresses=True)
    kinds = set(old.tables) | set(new.tables)
    if any(kind not in _REGISTRY_KINDS and old.tables.get(kind) is not new.tables.get(kind) for kind in kinds):
        return Changes(config=True, addresses=old.addresses is not new.addresses)
    touched = frozenset(key for key, value in new.endpoints.items() if old.endpoints.get(key) is not value)
    spreads = any(_signature(old.endpoints[key]) != _signature(new.endpoints[key]) for key in touched)
    moved = old.addresses is not new.addresses
    return Changes(config=spreads, endpoints=touched, addresses=moved)


def _signature(endpoints: tuple[Endpoint, ...]) -> frozenset[tuple[SpiffeId | None, bool]]:
    """What upstreams know of their endpoints: the identities they may show, and whether all take mutual TLS."""
    return frozenset((endpoint.identity, endpoint.mtls) for endpoint in endpoints)


def _same(old: Mapping[ServiceKey, Any], new: Mapping[ServiceKey, Any]) -> bool:
    """Equal mappings, in equal order; identical values are not compared further."""
    if len(old) != len(new):
        return False
    return all(a == b and (v is w or v == w) for (a, v), (b, w) in zip(old.items(), new.items(), strict=True))


def _hosts(registry: Registry) -> dict[str, tuple[ServiceKey, ...]]:
    hosts: dict[str, list[ServiceKey]] = defaultdict(list)
    for key in registry.services:
        hosts[key.host].append(key)
    return {host: tuple(keys) for host, keys in hosts.items()}


def _addresses(registry: Registry, old: Snapshot | None) -> Mapping[str, tuple[ServiceKey, ...]]:
    """The index of workload addresses; only services whose endpoints changed are looked at again."""
    before: Mapping[ServiceKey, tuple[Endpoint, ...]] = old.endpoints if old is not None else {}
    touched = [key for key, value in registry.endpoints.items() if before.get(key) is not value]
    touched += [key for key in before if key not in registry.endpoints]
    if old is not None and not touched:
        return old.addresses
    index = dict(old.addresses) if old is not None else {}
    edits: dict[str, set[ServiceKey]] = {}
    for key in touched:
        for endpoint in before.get(key, ()):
            edits.setdefault(endpoint.address, set(index.get(endpoint.address, ()))).discard(key)
        for endpoint in registry.endpoints.get(key, ()):
            edits.setdefault(endpoint.address, set(index.get(endpoint.address, ()))).add(key)
    for address, keys in edits.items():
        if keys and address:
            index[address] = tuple(sorted(keys))
        else:
            index.pop(address, None)
    return index
