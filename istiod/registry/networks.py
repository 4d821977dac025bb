"""MeshNetworks: which network an address belongs to, and the gateways that lead into one. Pure.

Rules: Istio's MeshNetworks reference; the longest fitting `fromCidr` wins, `fromRegistry` names a whole cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from federation.model.findings import Finding, Severity
from federation.model.locality import Locality
from federation.model.workload import Endpoint, NetworkGateway, is_address
from istiod.api import meshconfig as api


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """What MeshNetworks says of endpoints that do not name their network themselves."""

    ranges: tuple[tuple[IPv4Network | IPv6Network, str], ...] = ()
    registries: tuple[tuple[str, str], ...] = ()

    def apply(self, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """These endpoints with their networks filled in; the same tuple if nothing is to be said."""
        if not self.ranges and not self.registries:
            return endpoints
        filled = tuple(self._place(endpoint) for endpoint in endpoints)
        return filled if any(new is not old for new, old in zip(filled, endpoints, strict=True)) else endpoints

    def _place(self, endpoint: Endpoint) -> Endpoint:
        network = "" if endpoint.network else self._of(endpoint)
        return replace(endpoint, network=network) if network else endpoint

    def _of(self, endpoint: Endpoint) -> str:
        try:
            address = ip_address(endpoint.address)
        except ValueError:
            address = None
        fitting = [(r.prefixlen, name) for r, name in self.ranges if address is not None and address in r]
        return max(fitting)[1] if fitting else dict(self.registries).get(endpoint.cluster, "")


def network_rules(networks: api.MeshNetworks | None) -> tuple[NetworkRules, list[Finding]]:
    """The rules of a MeshNetworks, and a finding for each range that is none."""
    ranges, registries, findings = [], [], []
    for name, index, item in _entries(networks):
        if item.from_registry:
            registries.append((item.from_registry, name))
        if item.from_cidr:
            try:
                ranges.append((ip_network(item.from_cidr, strict=False), name))
            except ValueError:
                path = f"networks.{name}.endpoints[{index}].fromCidr"
                findings.append(_wrong("InvalidRange", path, f"{item.from_cidr!r} is no CIDR", "write a.b.c.d/n"))
    return NetworkRules(tuple(ranges), tuple(registries)), findings


def _entries(networks: api.MeshNetworks | None) -> Iterable[tuple[str, int, api.NetworkEndpoints]]:
    for name, network in networks.networks.items() if networks else ():
        for index, item in enumerate(network.endpoints):
            yield name, index, item


def mesh_gateways(
    networks: api.MeshNetworks | None, external_addresses: Mapping[str, tuple[str, ...]]
) -> tuple[list[NetworkGateway], list[Finding]]:
    """The gateways that MeshNetworks names. `external_addresses` are those of services by host, seen from outside."""
    gateways: list[NetworkGateway] = []
    findings: list[Finding] = []
    for name, network in networks.networks.items() if networks else ():
        for index, said in enumerate(network.gateways):
            service = said.registry_service_name or ""
            addresses = (said.address,) if said.address else external_addresses.get(service, ())
            place = Locality.parse(said.locality)
            gateways += [NetworkGateway(name, "", a, said.port, place) for a in addresses if is_address(a)]
            for address in (a for a in addresses if not is_address(a)):
                path = f"networks.{name}.gateways[{index}].address"
                message = f"{address!r} is a name: gateways' names are not resolved yet"
                findings.append(_wrong("GatewayIsAName", path, message, "give IP addresses"))
            if not addresses:
                path = f"networks.{name}.gateways[{index}]"
                message = f"{service!r} is no service with external addresses" if service else "has no address"
                findings.append(
                    _wrong("GatewayWithoutAddress", path, message, "give address, or the service's externalIPs")
                )
    return gateways, findings


def _wrong(code: str, path: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, code, "MeshNetworks", path, message, fix)
