"""What goes wrong between clusters without a word: services that differ, networks without a gateway, workloads that no
gateway can lead to.

Reads what other clusters export (`Peer` objects) beside this cluster's own services. Rules: docs/architecture.md, and
Istio's multi-network endpoint filter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from federation.model.findings import Finding
from federation.model.names import ServiceKey
from federation.model.service import Service
from federation.table import Peer
from istiod.analyze import codes
from istiod.analyze.lookup import named
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshNetworks
from istiod.events import MESH_KEY
from istiod.resolve.objects import table_of
from istiod.snapshot import Snapshot


def services(snapshot: Snapshot) -> Iterator[Finding]:
    """Services of which clusters declare different ports, where this cluster has one of its own."""
    foreign = _foreign(snapshot)
    for key, contribution in snapshot.local.items():
        own = _ports(contribution.service)
        for cluster, service in foreign.get(key, ()):
            theirs = _ports(service)
            if theirs != own:
                message = f"cluster {cluster} has the ports {_text(theirs)}, this one {_text(own)}"
                yield codes.SERVICE_DIFFERS.at(f"Service {key.namespace}/{contribution.service.name}", "ports", message)


def _foreign(snapshot: Snapshot) -> dict[ServiceKey, list[tuple[str, Service]]]:
    found: dict[ServiceKey, list[tuple[str, Service]]] = defaultdict(list)
    peers: Iterable[Peer] = table_of(snapshot, Kind.PEER).values()
    for peer in sorted(peers, key=lambda peer: peer.cluster):
        for exported in peer.services.values():
            found[exported.service.key].append((peer.cluster, exported.service))
    return found


def _ports(service: Service) -> tuple[tuple[int, str], ...]:
    return tuple(sorted((port.number, port.name) for port in service.ports))


def _text(ports: Iterable[tuple[int, str]]) -> str:
    return named((f"{number}/{name}" for number, name in ports), 8) or "none"


def networks(snapshot: Snapshot) -> Iterator[Finding]:
    """Networks with workloads to which no gateway leads, and which is not that of this cluster's own workloads."""
    own = {endpoint.network for contribution in snapshot.local.values() for endpoint in contribution.endpoints}
    led = {gateway.network for gateway in snapshot.gateways}
    hidden: dict[str, set[ServiceKey]] = defaultdict(set)
    for key, endpoints in snapshot.endpoints.items():
        for endpoint in endpoints:
            if (
                endpoint.network
                and endpoint.network not in led
                and (endpoint.network not in own or not endpoint.address)
            ):
                hidden[endpoint.network].add(key)
    for network, keys in sorted(hidden.items()):
        message = f"has workloads of {named(sorted(keys))}, and no gateway leads to it"
        yield codes.NETWORK_WITHOUT_GATEWAY.at(f"Network {network}", "", message)


def exports(snapshot: Snapshot) -> Iterator[Finding]:
    """Exported services with workloads that take no mutual TLS."""
    for key, contribution in sorted(snapshot.local.items()):
        if contribution.consumers is None:
            continue
        plain = [endpoint.workload or endpoint.address for endpoint in contribution.endpoints if not endpoint.mtls]
        if plain:
            message = f"{named(plain)} of {len(contribution.endpoints)} workloads have no sidecar"
            subject = f"Service {key.namespace}/{contribution.service.name}"
            yield codes.EXPORT_WITHOUT_MTLS.at(subject, "endpoints", message)


def registries(snapshot: Snapshot) -> Iterator[Finding]:
    """Clusters that MeshNetworks names and nobody knows. Nothing is said in a mesh of one cluster."""
    peers = {peer.cluster for peer in table_of(snapshot, Kind.PEER).values()}
    mesh: MeshNetworks | None = table_of(snapshot, Kind.MESH_NETWORKS).get(MESH_KEY)
    if mesh is None or not peers:
        return
    known = peers | {e.cluster for c in snapshot.local.values() for e in c.endpoints} | {"Kubernetes"}
    for name, network in mesh.networks.items():
        for index, endpoints in enumerate(network.endpoints):
            if endpoints.from_registry and endpoints.from_registry not in known:
                path = f"networks.{name}.endpoints[{index}].fromRegistry"
                message = f"{endpoints.from_registry!r} is none of {named(sorted(known), 8)}"
                yield codes.REGISTRY_NOT_FOUND.at("MeshNetworks", path, message)
