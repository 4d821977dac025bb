"""What Istio's validator says of a VirtualService: hosts, gateways, TLS and TCP routes; HTTP routes: `rules.http`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from federation.model.findings import Severity
from federation.model.names import host_matches, hosts_overlap
from istiod.api.problems import Problem, check_export_to, is_network
from istiod.api.rules import http, shadowing
from istiod.api.rules.destination import check_destination
from istiod.api.rules.values import check_gateways, is_host, is_ip, is_label
from istiod.api.virtualservice import (
    L4MatchAttributes,
    RouteDestination,
    TLSMatchAttributes,
    VirtualService,
)
from istiod.api.workloadentry import check_labels

GENERATED = "outbound_."  # how names of upstreams begin that gateways pass on by SNI


def validate(service: VirtualService) -> Iterator[Problem]:
    """Istio's rules for VirtualService beyond types."""
    yield from _hosts(service)
    yield from check_gateways(service.gateways, "spec.gateways")
    if not (service.http or service.tls or service.tcp):
        yield Problem("spec", "has no http, tls or tcp route", "add one")
    if not service.hosts:
        yield from _delegate(service)
    at_gateway = bool(service.gateways) and "mesh" not in service.gateways
    for index, route in enumerate(service.http):
        yield from http.check_route(route, f"spec.http[{index}]", not service.hosts, at_gateway)
    for index, tls in enumerate(service.tls):
        yield from _layer4(tls.route, f"spec.tls[{index}]")
        if not tls.match:
            yield Problem(f"spec.tls[{index}].match", "is empty", "name at least one SNI host")
        for number, match in enumerate(tls.match):
            yield from _tls_match(service, match, f"spec.tls[{index}].match[{number}]")
    for index, tcp in enumerate(service.tcp):
        yield from _layer4(tcp.route, f"spec.tcp[{index}]")
        for number, tcp_match in enumerate(tcp.match):
            yield from _match(tcp_match, f"spec.tcp[{index}].match[{number}]")
    yield from check_export_to(service.export_to, nobody=False)
    yield from shadowing.check_http(service.http)
    yield from shadowing.check_bytes(service.tls, "tls")
    yield from shadowing.check_bytes(service.tcp, "tcp")


def _hosts(service: VirtualService) -> Iterator[Problem]:
    for index, host in enumerate(service.hosts):
        path = f"spec.hosts[{index}]"
        generated = host.startswith(GENERATED) and service.gateways and service.tls
        if not is_host(host) and not is_ip(host) and not generated:
            yield Problem(path, f"{host[:100]!r} is no host", "use a DNS name, *.suffix, or *")
        if host == "*" and (not service.gateways or "mesh" in service.gateways):
            yield Problem(path, "'*' would take all traffic of sidecars", "name a gateway other than mesh, or a host")
        known = next((other for other in service.hosts[:index] if hosts_overlap(other, host)), None)
        if known == host:
            yield Problem(path, f"{host!r} is listed twice", "list each host once")
        elif known is not None:
            yield Problem(path, f"{host!r} and {known!r} overlap", "keep one of them, or write two VirtualServices")


def _delegate(service: VirtualService) -> Iterator[Problem]:
    for field, given in (("gateways", service.gateways), ("tls", service.tls), ("tcp", service.tcp)):
        if given:
            message = "is given without hosts: a VirtualService that others delegate to has http routes alone"
            yield Problem(f"spec.{field}", message, "remove it, or give hosts")


def _layer4(routes: Sequence[RouteDestination], path: str) -> Iterator[Problem]:
    if not routes:
        yield Problem(f"{path}.route", "is empty", "name a destination")
    for index, weighted in enumerate(routes):
        yield from check_destination(weighted.destination, f"{path}.route[{index}].destination")
    if len(routes) > 1 and not sum(weighted.weight for weighted in routes):
        yield Problem(f"{path}.route", "has only weights of 0", "give at least one destination a weight")


def _tls_match(service: VirtualService, match: TLSMatchAttributes, path: str) -> Iterator[Problem]:
    if not match.sni_hosts:
        yield Problem(f"{path}.sniHosts", "is empty", "name at least one SNI host")
    for index, name in enumerate(match.sni_hosts):
        at = f"{path}.sniHosts[{index}]"
        if is_ip(name):
            message = f"{name!r} is an address, which clients do not send as a server name"
            yield Problem(at, message, "use a DNS name", severity=Severity.WARNING)
        elif not is_host(name) and not (name.startswith(GENERATED) and service.gateways):
            yield Problem(at, f"{name[:100]!r} is no host", "use a DNS name, or *.suffix")
        elif not any(host_matches(host, name) for host in service.hosts):
            yield Problem(at, f"{name!r} is none of the hosts", "list it in spec.hosts as well")
    yield from _match(match, path)


def _match(match: TLSMatchAttributes | L4MatchAttributes, path: str) -> Iterator[Problem]:
    for index, subnet in enumerate(match.destination_subnets):
        if not is_network(subnet):
            at = f"{path}.destinationSubnets[{index}]"
            yield Problem(at, f"{subnet!r} is neither an IP address nor a CIDR", "write 10.0.0.0/8")
    yield from check_labels(match.source_labels, f"{path}.sourceLabels")
    yield from check_gateways(match.gateways, f"{path}.gateways")
    if match.source_namespace and not is_label(match.source_namespace):
        yield Problem(f"{path}.sourceNamespace", f"{match.source_namespace[:80]!r} is no namespace", "name one")
