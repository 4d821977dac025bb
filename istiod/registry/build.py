"""Tables -> the services and endpoints of this cluster, reusing whatever its inputs leave unchanged.

A cache of pure results: the registry of given tables is the same whether it was built from scratch or step by step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

from federation.model.findings import Finding, Severity
from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.names import ServiceKey
from federation.model.service import Resolution, Service
from federation.model.workload import Endpoint, NetworkGateway
from federation.table import Peer
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig, MeshNetworks
from istiod.api.meta import Object
from istiod.events import MESH_KEY
from istiod.registry.addresses import allocate
from istiod.registry.contribution import Contribution, Place
from istiod.registry.exports import consumers_of
from istiod.registry.kubernetes import SERVICE_NAME_LABEL, convert_service, pod_endpoint
from istiod.registry.merge import Merged, merge
from istiod.registry.peers import convert_peer, peer_gateways
from istiod.registry.serviceentry import convert_entry, workload_endpoint

T = TypeVar("T")
Lookup = Callable[[Kind], Mapping[Any, Any]]
DEFAULT_MESH = MeshConfig()


@dataclass(frozen=True, slots=True)
class Registry:
    """Services, oldest first, and their endpoints; `local` are those that this cluster declares itself, before merging."""

    services: Mapping[ServiceKey, Service]
    endpoints: Mapping[ServiceKey, tuple[Endpoint, ...]]
    local: Mapping[ServiceKey, Contribution]
    gateways: tuple[NetworkGateway, ...]
    findings: tuple[Finding, ...]


class RegistryBuilder:
    """Builds registries for one place. `ledger` are virtual addresses given before; read it back to keep it."""

    def __init__(self, place: Place, ledger: Mapping[str, str] | None = None) -> None:
        self._place = place
        self.ledger: dict[str, str] = dict(ledger or {})
        self._kept: dict[str, dict[tuple[int, ...], tuple[tuple[object, ...], Any]]] = {}
        self._fresh: dict[str, dict[tuple[int, ...], tuple[tuple[object, ...], Any]]] = {}

    def build(self, table: Lookup) -> Registry:
        """The registry of these tables."""
        self._fresh = {}
        mesh = table(Kind.MESH_CONFIG).get(MESH_KEY) or DEFAULT_MESH
        networks: MeshNetworks | None = table(Kind.MESH_NETWORKS).get(MESH_KEY)
        nodes = self._once("nodes", _node_labels, table(Kind.NODE))
        pods = self._once("pods", _pods_by_address, table(Kind.POD))
        groups: dict[ServiceKey, list[Contribution]] = defaultdict(list)
        for contribution in (
            *self._services(table, pods, nodes, mesh),
            *self._entries(table, nodes, mesh),
            *self._peers(table),
        ):
            groups[contribution.service.key].append(contribution)
        merged = [self._once("merge", _merge, *group) for group in groups.values()]
        registry = self._finish(sorted(merged, key=_age), mesh, networks, table)
        self._kept = self._fresh
        return registry

    def _once(self, name: str, function: Callable[..., T], *inputs: object) -> T:
        """`function(*inputs)`, or what it gave for the very same objects in the last build."""
        key = tuple(map(id, inputs))
        fresh = self._fresh.setdefault(name, {})
        entry = fresh.get(key) or self._kept.get(name, {}).get(key)
        if entry is None:
            entry = (inputs, function(*inputs))
        fresh[key] = entry
        result: T = entry[1]
        return result

    def _services(
        self, table: Lookup, pods: Mapping[str, Object[Any]], nodes: Mapping[str, Labels], mesh: MeshConfig
    ) -> Iterable[Contribution]:
        slices = self._once("slices", _slices_by_service, table(Kind.ENDPOINT_SLICE))
        place, exports = self._place, table(Kind.SERVICE_EXPORT)
        for service in table(Kind.SERVICE).values():
            parts = slices.get((service.meta.namespace, service.meta.name), ())
            chosen = [
                pod
                for part in parts
                for e in part.spec.endpoints
                for a in e.addresses
                if (pod := pods.get(a)) is not None
            ]

            def convert(
                service: Object[Any], mesh: MeshConfig, *_: object, parts: Sequence[Object[Any]] = parts
            ) -> Contribution:
                found = convert_service(service, parts, pods, nodes, mesh, place)
                return _exported(found, consumers_of(service.meta, exports), place.cluster)

            export = exports.get(service.meta.key)
            yield self._once("service", convert, service, mesh, nodes, export, *parts, *chosen)

    def _entries(self, table: Lookup, nodes: Mapping[str, Labels], mesh: MeshConfig) -> Iterable[Contribution]:
        place, exports = self._place, table(Kind.SERVICE_EXPORT)

        def workloads(entries: Mapping[Any, Object[Any]], pods: Mapping[Any, Object[Any]], *_: object) -> _Workloads:
            return _Workloads(entries.values(), pods.values(), nodes, mesh, place)

        index = self._once("workloads", workloads, table(Kind.WORKLOAD_ENTRY), table(Kind.POD), nodes, mesh)
        for entry in table(Kind.SERVICE_ENTRY).values():
            selector = entry.spec.workload_selector
            chosen = index.select(entry.meta.namespace, selector.all_labels, self._once) if selector is not None else ()

            def convert(entry: Object[Any], mesh: MeshConfig, _: object, *chosen: Any) -> tuple[Contribution, ...]:
                consumers = consumers_of(entry.meta, exports)
                return tuple(_exported(c, consumers, place.cluster) for c in convert_entry(entry, chosen, mesh, place))

            yield from self._once("entry", convert, entry, mesh, exports.get(entry.meta.key), *chosen)

    def _peers(self, table: Lookup) -> Iterable[Contribution]:
        place = self._place
        for peer in table(Kind.PEER).values():
            yield from self._once("peer", lambda peer: convert_peer(peer, place), peer)

    def _finish(self, merged: list[Merged], mesh: MeshConfig, networks: MeshNetworks | None, table: Lookup) -> Registry:
        missing = [m.service.host for m in merged if needs_address(m.service)]
        if missing and not self.ledger.keys() >= set(missing):
            self.ledger = allocate(missing, self.ledger)
        services: dict[ServiceKey, Service] = {}
        endpoints: dict[ServiceKey, tuple[Endpoint, ...]] = {}
        for item in merged:
            service = item.service
            if needs_address(service):
                service = self._once("vip", _with_vip, service, self._address(service.host))
            services[service.key] = service
            endpoints[service.key] = (
                self._once("network", _networked, item.endpoints, networks) if networks else item.endpoints
            )
        findings = [finding for item in merged for finding in item.findings] + _shared_vips(services.values())
        gateways, gateway_findings = _gateways(networks, table(Kind.PEER).values())
        return Registry(
            services,
            endpoints,
            {item.service.key: item.local for item in merged if item.local is not None},
            gateways,
            tuple(sorted({*findings, *gateway_findings})),
        )

    def _address(self, host: str) -> str:
        return self.ledger[host]


def needs_address(service: Service) -> bool:
    """Whether a service that is called by name has no address a client could dial."""
    if service.vips or service.headless or service.resolution is Resolution.PASSTHROUGH or service.host.startswith("*"):
        return False
    return not service.external or service.resolution is Resolution.ENDPOINTS or bool(service.clusters)


def _exported(contribution: Contribution, consumers: tuple[str, ...] | None, cluster: str) -> Contribution:
    """The contribution with its own cluster among those that offer the service, if it is exported."""
    if consumers is None:
        return contribution
    service = replace(contribution.service, clusters=(cluster,))
    return replace(contribution, service=service, consumers=consumers)


def _with_vip(service: Service, address: str) -> Service:
    return replace(service, vips=(address,))


def _merge(*contributions: Contribution) -> Merged:
    return merge(contributions)


def _age(item: Merged) -> tuple[str, str, str]:
    service = item.service
    return (service.created, service.host, service.namespace)


def _node_labels(nodes: Mapping[Any, Object[Any]]) -> dict[str, Labels]:
    return {node.meta.name: node.meta.labels for node in nodes.values()}


def _pods_by_address(pods: Mapping[Any, Object[Any]]) -> dict[str, Object[Any]]:
    found: dict[str, Object[Any]] = {}
    for pod in pods.values():
        for address in dict.fromkeys((pod.spec.status.pod_ip, *(item.ip for item in pod.spec.status.pod_ips))):
            if address:
                found.setdefault(address, pod)
    return found


def _slices_by_service(slices: Mapping[Any, Object[Any]]) -> dict[tuple[str, str], tuple[Object[Any], ...]]:
    found: dict[tuple[str, str], list[Object[Any]]] = defaultdict(list)
    for key in sorted(slices):
        part = slices[key]
        name = part.meta.labels.get(SERVICE_NAME_LABEL)
        if name:
            found[part.meta.namespace, name].append(part)
    return {key: tuple(parts) for key, parts in found.items()}


class _Workloads:
    """Workloads by namespace and label pair, so that many selectors do not each look at every workload."""

    def __init__(
        self,
        entries: Iterable[Object[Any]],
        pods: Iterable[Object[Any]],
        nodes: Mapping[str, Labels],
        mesh: MeshConfig,
        place: Place,
    ) -> None:
        self._nodes, self._mesh, self._place = nodes, mesh, place
        self._pairs: dict[tuple[str, str, str], list[tuple[Object[Any], Labels]]] = defaultdict(list)
        for item in (*sorted(entries, key=_by_key), *sorted(pods, key=_by_key)):
            labels = item.meta.labels.merged(item.spec.labels) if item.kind == Kind.WORKLOAD_ENTRY else item.meta.labels
            if item.kind == Kind.POD and not item.spec.status.pod_ip:
                continue
            for key, value in labels.items():
                self._pairs[item.meta.namespace, key, value].append((item, labels))

    def select(
        self, namespace: str, selector: Mapping[str, str], once: Callable[..., Endpoint]
    ) -> tuple[Endpoint, ...]:
        """The workloads of a namespace that carry all these labels, as endpoints; none for an empty selector."""
        lists = [self._pairs.get((namespace, key, value), []) for key, value in selector.items()]
        if not lists:
            return ()
        shortest = min(lists, key=len)
        return tuple(
            once("workload", self._endpoint, item) for item, labels in shortest if labels.selected_by(selector)
        )

    def _endpoint(self, item: Object[Any]) -> Endpoint:
        if item.kind == Kind.POD:
            return pod_endpoint(item, self._nodes, self._mesh, self._place)
        return workload_endpoint(item.spec, item.meta.namespace, self._mesh, self._place, item.meta)


def _by_key(item: Object[Any]) -> tuple[str, str]:
    return (item.meta.namespace, item.meta.name)


def _networked(endpoints: tuple[Endpoint, ...], networks: MeshNetworks) -> tuple[Endpoint, ...]:
    """Endpoints whose network only their address tells (`fromCidr`)."""
    ranges = [
        (ip_network(item.from_cidr, strict=False), name)
        for name, network in networks.networks.items()
        for item in network.endpoints
        if item.from_cidr
    ]
    if not ranges:
        return endpoints
    return tuple(_in_range(endpoint, ranges) for endpoint in endpoints)


def _in_range(endpoint: Endpoint, ranges: list[tuple[Any, str]]) -> Endpoint:
    if endpoint.network:
        return endpoint
    try:
        address = ip_address(endpoint.address)
    except ValueError:
        return endpoint
    fitting = [(network.prefixlen, name) for network, name in ranges if address in network]
    return replace(endpoint, network=max(fitting)[1]) if fitting else endpoint


def _gateways(networks: MeshNetworks | None, peers: Iterable[Peer]) -> tuple[tuple[NetworkGateway, ...], list[Finding]]:
    gateways = [gateway for peer in peers for gateway in peer_gateways(peer)]
    findings = []
    for name, network in networks.networks.items() if networks else ():
        for index, said in enumerate(network.gateways):
            if said.address:
                gateways.append(NetworkGateway(name, "", said.address, said.port, Locality.parse(said.locality)))
            else:
                path = f"networks.{name}.gateways[{index}].registryServiceName"
                message = f"{said.registry_service_name!r} is not looked up by this version"
                findings.append(
                    Finding(Severity.ERROR, "GatewayWithoutAddress", "MeshNetworks", path, message, "give address")
                )
    return tuple(sorted(gateways)), findings


def _shared_vips(services: Iterable[Service]) -> list[Finding]:
    owners: dict[tuple[str, int], Service] = {}
    findings = []
    for service in services:
        for vip in service.vips:
            for port in service.ports:
                known = owners.setdefault((vip, port.number), service)
                if known is not service and known.host != service.host and vip != "0.0.0.0":  # noqa: S104
                    findings.append(_duplicate_vip(service, known, vip, port.number))
    return findings


def _duplicate_vip(service: Service, known: Service, vip: str, port: int) -> Finding:
    return Finding(
        Severity.WARNING,
        "DuplicateAddress",
        f"Service {service.namespace}/{service.name}",
        "addresses",
        f"{vip}:{port} is also an address of {known.host}",
        "give every service its own address, or ports that differ",
    )
