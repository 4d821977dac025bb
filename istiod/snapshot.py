"""A frozen, indexed picture of everything one control plane knows, shared by all work on one revision.

Input is the store's tables; derived parts are reused from the previous snapshot where their inputs are the same.
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
from federation.model.service import Resolution, Service
from federation.model.workload import Endpoint, NetworkGateway
from federation.table import Peer
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.discovery import discovered
from istiod.events import MESH_KEY
from istiod.gatewayapi.translate import NOTHING, Translation, Translator, with_derived
from istiod.registry.build import DEFAULT_MESH, Registry, RegistryBuilder
from istiod.registry.contribution import Contribution, Place
from istiod.registry.difference import changed_keys
from istiod.store import Tables


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One revision of the world. Mappings are never changed after construction.

    `services` is sorted as conflicts are settled: oldest first, then by host and namespace. `hosts` lists the services
    of a host (several namespaces may own one). `addresses` maps a workload's address to the services that have it as
    endpoint. `tables` are the objects by kind, for the policies that `resolve` looks up: raw ones, and those derived of
    the Gateway API, whose statuses are in `gateway_api`. `local` is what this cluster declares. `peer_domains` are the
    trust domains of the mesh's other clusters, sorted.
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
    peer_domains: tuple[str, ...] = ()
    gateway_api: Translation = NOTHING


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two snapshots: `config` what may matter to every proxy, `objects` edited objects by kind
    (`istiod.resolve.reach` tells to whom they matter), `endpoints` the services whose endpoints differ.

    An endpoint change that shows up in upstreams too counts as `config`: identities, mutual TLS, or endpoints that
    stand in the upstream itself (DNS, original destination). Whether a proxy's own ports changed,
    `view.classes.view_of` tells.
    """

    config: bool
    endpoints: frozenset[ServiceKey] = frozenset()
    objects: Mapping[str, frozenset[NamespacedName]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.config or bool(self.endpoints) or bool(self.objects)


# Tables whose content reaches proxies only through services and endpoints.
_REGISTRY_KINDS = frozenset(
    {
        Kind.SERVICE,
        Kind.ENDPOINT_SLICE,
        Kind.POD,
        Kind.NODE,
        Kind.NAMESPACE,
        Kind.SERVICE_ENTRY,
        Kind.WORKLOAD_ENTRY,
        Kind.PEER,
        Kind.SERVICE_EXPORT,
        # those that reach proxies through what is derived of them (`istiod.gatewayapi`)
        Kind.GATEWAY_CLASS,
        Kind.KUBERNETES_GATEWAY,
        Kind.HTTP_ROUTE,
        Kind.GRPC_ROUTE,
        Kind.TLS_ROUTE,
        Kind.TCP_ROUTE,
        Kind.REFERENCE_GRANT,
        Kind.BACKEND_TLS_POLICY,
        Kind.CONFIG_MAP,
    }
)


class SnapshotBuilder:
    """Builds snapshots one after the other, reusing parts. `ledger` are virtual addresses to keep over restarts."""

    def __init__(self, place: Place, ledger: Mapping[str, str] | None = None) -> None:
        self._registry = RegistryBuilder(place, ledger)
        self._translator = Translator(place.domain)
        self._revision = 0
        self._previous: Snapshot | None = None

    @property
    def ledger(self) -> Mapping[str, str]:
        """Virtual addresses given so far, by host."""
        return self._registry.ledger

    def build(self, tables: Tables) -> Snapshot:
        """The snapshot of these tables; its revision is one more than the last."""
        self._revision += 1
        tables = discovered(tables)
        registry = self._registry.build(tables.of)
        translation = self._translator.translate(tables.by_kind, registry.services)
        old = self._previous
        snapshot = Snapshot(
            revision=self._revision,
            mesh=tables.of(Kind.MESH_CONFIG).get(MESH_KEY) or DEFAULT_MESH,
            services=registry.services,
            endpoints=registry.endpoints,
            hosts=old.hosts if old is not None and old.services is registry.services else _hosts(registry),
            addresses=_addresses(registry, old),
            gateways=registry.gateways,
            tables=with_derived(tables.by_kind, translation.derived),
            local=registry.local,
            findings=tuple(sorted({*tables.findings, *registry.findings, *translation.findings})),
            synced=tables.synced,
            peer_domains=_peer_domains(tables.of(Kind.PEER), old),
            gateway_api=translation,
        )
        self._previous = snapshot
        return snapshot


def changes(old: Snapshot | None, new: Snapshot) -> Changes:
    """What has to be computed again for proxies that have the old snapshot's configuration."""
    if old is None or old.mesh is not new.mesh or old.services is not new.services or old.gateways is not new.gateways:
        return Changes(config=True)
    if old.peer_domains != new.peer_domains:
        return Changes(config=True)
    objects = {
        kind: frozenset(changed_keys(old.tables.get(kind, {}), new.tables.get(kind, {})))
        for kind in changed_keys(old.tables, new.tables)
        if kind not in _REGISTRY_KINDS
    }
    touched = frozenset(changed_keys(old.endpoints, new.endpoints))
    return Changes(any(_reaches_upstream(key, old, new) for key in touched), touched, objects)


def _reaches_upstream(key: ServiceKey, old: Snapshot, new: Snapshot) -> bool:
    """Whether a change of endpoints shows in upstreams too: where they hold the endpoints, or the identities differ."""
    if new.services[key].resolution is not Resolution.ENDPOINTS:
        return True
    return _signature(old.endpoints[key]) != _signature(new.endpoints[key])


def _signature(endpoints: tuple[Endpoint, ...]) -> frozenset[tuple[SpiffeId | None, bool]]:
    """What upstreams know of their endpoints: the identities they may show, and whether they take mutual TLS."""
    return frozenset((endpoint.identity, endpoint.mtls) for endpoint in endpoints)


def _peer_domains(peers: Mapping[Any, Peer], old: Snapshot | None) -> tuple[str, ...]:
    found = tuple(sorted({peer.trust_domain for peer in peers.values() if peer.trust_domain}))
    return old.peer_domains if old is not None and old.peer_domains == found else found


def _hosts(registry: Registry) -> dict[str, tuple[ServiceKey, ...]]:
    hosts: dict[str, list[ServiceKey]] = defaultdict(list)
    for key in registry.services:
        hosts[key.host].append(key)
    return {host: tuple(keys) for host, keys in hosts.items()}


def _addresses(registry: Registry, old: Snapshot | None) -> Mapping[str, tuple[ServiceKey, ...]]:
    """The index of workload addresses; only services whose endpoints changed are looked at again."""
    before: Mapping[ServiceKey, tuple[Endpoint, ...]] = old.endpoints if old is not None else {}
    touched = changed_keys(before, registry.endpoints)
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
        if keys and address:  # groups behind gateways have no address
            index[address] = tuple(sorted(keys))
        else:
            index.pop(address, None)
    return index
