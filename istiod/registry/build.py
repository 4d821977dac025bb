"""Tables -> the services and endpoints of this cluster, reusing whatever a change does not reach.

The registry of given tables (and ledger) is the same whether it was built from scratch or step by step; equal values of
consecutive registries are the same objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from federation.model.findings import Finding
from federation.model.names import NamespacedName, ServiceKey, host_matches
from federation.model.service import Origin, Resolution, Service
from federation.model.workload import NETWORK_LABEL, Endpoint, NetworkGateway
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig, MeshNetworks, ServiceSettings
from istiod.events import MESH_KEY
from istiod.registry.addresses import allocate
from istiod.registry.conflicts import no_vip, shared_vips
from istiod.registry.contribution import Contribution, Place
from istiod.registry.merge import Merged, merge
from istiod.registry.networks import mesh_gateways, network_rules
from istiod.registry.peers import peer_gateways
from istiod.registry.sources import Contributions, Lookup, Source, Sources

K = TypeVar("K")
V = TypeVar("V")
NO_ALLOCATION_LABEL = "networking.istio.io/enable-autoallocate-ip"


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """Services, oldest first, and their endpoints; `local` are those that this cluster declares, before merging."""

    services: Mapping[ServiceKey, Service] = field(default_factory=dict)
    endpoints: Mapping[ServiceKey, tuple[Endpoint, ...]] = field(default_factory=dict)
    local: Mapping[ServiceKey, Contribution] = field(default_factory=dict)
    gateways: tuple[NetworkGateway, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Settings:
    """What of the mesh's settings every service depends on: a change of it starts over."""

    trust_domain: str
    export_to: tuple[str, ...]
    service_settings: tuple[ServiceSettings, ...]
    networks: MeshNetworks | None
    network: str


class RegistryBuilder:
    """Builds registries for one place. `ledger` are virtual addresses given before; read it back to keep it."""

    def __init__(self, place: Place, ledger: Mapping[str, str] | None = None) -> None:
        self._place = place
        self.ledger: dict[str, str] = dict(ledger or {})
        self._settings: _Settings | None = None
        self._last = Registry()
        self._vip_findings: list[Finding] = []

    def build(self, table: Lookup) -> Registry:
        """The registry of these tables."""
        mesh: MeshConfig = table(Kind.MESH_CONFIG).get(MESH_KEY) or DEFAULT_MESH
        touched = self._start(mesh, table) | self._regroup(self._sources.update(table))
        for key in touched:
            group = self._groups.get(key)
            _put(self._merged, key, merge(list(group.values())) if group else None)
            _put(self._findings, key, (self._merged[key].findings or None) if group else None)
        self._last = self._next(touched, table)
        return self._last

    def _start(self, mesh: MeshConfig, table: Lookup) -> set[ServiceKey]:
        """Start over if settings changed that every service depends on; returns the services in question."""
        networks: MeshNetworks | None = table(Kind.MESH_NETWORKS).get(MESH_KEY)
        system = table(Kind.NAMESPACE).get(NamespacedName("", mesh.root_namespace))
        network = (system.meta.labels.get(NETWORK_LABEL) if system is not None else None) or self._place.network
        exports = mesh.default_service_export_to
        settings = _Settings(mesh.trust_domain, exports, mesh.service_settings, networks, network)
        if settings == self._settings:
            return set()
        self._settings = settings
        self._sources = Sources(mesh, replace(self._place, network=network))
        self._local_hosts = cluster_local_hosts(mesh.service_settings, self._place.domain)
        self._rules, self._rule_findings = network_rules(networks)
        self._given: dict[Source, Contributions] = {}
        self._groups: dict[ServiceKey, dict[Source, Contribution]] = {}
        self._merged: dict[ServiceKey, Merged] = {}
        self._findings: dict[ServiceKey, tuple[Finding, ...]] = {}
        return set(self._last.services)

    def _regroup(self, changed: Mapping[Source, Contributions]) -> set[ServiceKey]:
        """File changed contributions under their services; returns the services that may differ."""
        touched: set[ServiceKey] = set()
        for source, contributions in changed.items():
            for old in self._given.pop(source, ()):
                touched.add(old.service.key)
                group = self._groups[old.service.key]
                group.pop(source, None)
                if not group:
                    del self._groups[old.service.key]
            if contributions:
                self._given[source] = contributions
            for new in contributions:
                touched.add(new.service.key)
                self._groups.setdefault(new.service.key, {})[source] = new
        return touched

    def _next(self, touched: set[ServiceKey], table: Lookup) -> Registry:
        last = self._last
        services = self._services(touched)
        moved = {
            key: value
            for key in touched
            if key in services and (value := self._placed(key)) is not last.endpoints.get(key)
        }
        endpoints, local = last.endpoints, dict(last.local)
        if services is not last.services:
            endpoints = {key: moved[key] if key in moved else last.endpoints[key] for key in services}
            self._vip_findings = shared_vips(services.values()) + no_vip(
                [s for s in services.values() if needs_address(s)]
            )
        elif moved:
            endpoints = {**last.endpoints, **moved}
        for key in touched:
            _put(local, key, self._merged[key].local if key in self._merged else None)
        gateways, gateway_findings = self._gateways(table)
        findings = {f for found in self._findings.values() for f in found}
        findings.update(self._vip_findings, self._rule_findings, gateway_findings)
        return Registry(
            services,
            endpoints,
            local,
            last.gateways if gateways == last.gateways else gateways,
            tuple(sorted(findings)),
        )

    def _services(self, touched: set[ServiceKey]) -> Mapping[ServiceKey, Service]:
        """The services as they are now, in order; the last mapping itself if nothing changed."""
        last = self._last.services
        self._allocate(self._merged[key].service for key in touched & self._merged.keys())
        now = {key: self._finished(self._merged[key]) if key in self._merged else None for key in touched}
        changed = {key: service for key, service in now.items() if service != last.get(key)}
        if not changed:
            return last
        services = dict(last)
        for key, service in changed.items():
            _put(services, key, service)
        return dict(sorted(services.items(), key=lambda item: age_order(item[1])))

    def _allocate(self, services: Iterable[Service]) -> None:
        missing = {service.host for service in services if needs_address(service)} - self.ledger.keys()
        if missing:
            self.ledger = allocate(missing, self.ledger)

    def _finished(self, merged: Merged) -> Service:
        """A merged service with what only this cluster can say: a virtual address, and whether it stays local."""
        service = merged.service
        if needs_address(service) and service.host in self.ledger:
            service = replace(service, vips=(self.ledger[service.host],), auto_vip=merged.local is not None)
        return replace(service, cluster_local=True) if self._stays_local(service.host) else service

    def _stays_local(self, host: str) -> bool:
        """Whether the most specific pattern of the mesh's service settings says so."""
        fitting = [pattern for pattern in self._local_hosts if host_matches(pattern, host)]
        return self._local_hosts[max(fitting, key=_exactness)] if fitting else False

    def _placed(self, key: ServiceKey) -> tuple[Endpoint, ...]:
        """The endpoints of a service with their networks; those of the last registry if they are equal."""
        last = self._last.endpoints.get(key)
        fresh = self._rules.apply(self._merged[key].endpoints)
        return last if last == fresh and last is not None else fresh

    def _gateways(self, table: Lookup) -> tuple[tuple[NetworkGateway, ...], list[Finding]]:
        assert self._settings is not None
        named = {host: _external_ips(host, table) for host in _named_services(self._settings.networks)}
        gateways, findings = mesh_gateways(self._settings.networks, named)
        gateways += [gateway for peer in table(Kind.PEER).values() for gateway in peer_gateways(peer)]
        return tuple(sorted(set(gateways))), findings


DEFAULT_MESH = MeshConfig()


def age_order(service: Service) -> tuple[str, str, str]:
    """Istio's order of conflicts among services: the oldest first, then by host and namespace."""
    return (service.created, service.key.host, service.key.namespace)


def cluster_local_hosts(settings: Iterable[ServiceSettings], domain: str) -> dict[str, bool]:
    """Host patterns and whether their services stay inside each cluster: Istio's defaults, then the user's word."""
    hosts = {f"*.kube-system.svc.{domain}": True, f"kubernetes.default.svc.{domain}": True}
    for said in settings:
        local = said.settings.get("clusterLocal")
        if local is not None:
            hosts.update(dict.fromkeys(said.hosts, local))
    return hosts


def _exactness(pattern: str) -> tuple[bool, int]:
    return (not pattern.startswith("*"), len(pattern))


def needs_address(service: Service) -> bool:
    """Whether a service gets a virtual address of our own: clients find it by name, and it has none that they can dial.

    That is so for services that exist only in other clusters, and for ServiceEntries inside the mesh that give no
    address. Hosts outside the mesh keep the addresses that DNS gives them.
    """
    if service.vips or service.headless or service.host.startswith("*"):
        return False
    if service.external or service.resolution in (Resolution.PASSTHROUGH, Resolution.DYNAMIC_DNS):
        return False
    return service.origin is not Origin.KUBERNETES and service.labels.get(NO_ALLOCATION_LABEL) != "false"


def _put(mapping: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def _named_services(networks: MeshNetworks | None) -> set[str]:
    """The services that MeshNetworks names as gateways."""
    gateways = [gateway for network in networks.networks.values() for gateway in network.gateways] if networks else []
    return {gateway.registry_service_name for gateway in gateways if gateway.registry_service_name}


def _external_ips(host: str, table: Lookup) -> tuple[str, ...]:
    name, _, rest = host.partition(".")
    service = table(Kind.SERVICE).get(NamespacedName(rest.partition(".")[0], name))
    ips: tuple[str, ...] = service.spec.external_ips if service is not None else ()
    return ips
