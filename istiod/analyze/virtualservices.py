"""VirtualServices against everything they refer to: hosts, subsets, ports, Gateways, delegates, and one another.

Reads services as namespaces see them. Whether routes of one VirtualService hide each other is told by the object alone
(`istiod.api.shadowing`). Rules: Istio's analyzers of VirtualServices, and the VirtualService reference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from federation.model.findings import Finding
from federation.model.names import NamespacedName, host_matches, hosts_overlap
from federation.model.service import Protocol
from istiod.analyze import codes
from istiod.analyze.lookup import every_host, full_host, hosts_of, labels_text, named, namespaces, sees
from istiod.api.destinationrule import DestinationRule
from istiod.api.gateway import Gateway, GatewayTLSMode, Server
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.virtualservice import Destination, VirtualService
from istiod.resolve.objects import table_of, valid_objects
from istiod.resolve.routes_match import MESH, qualified_gateways
from istiod.snapshot import Snapshot

Vs = Object[VirtualService]


@dataclass(frozen=True, slots=True)
class Target:
    """A destination of a VirtualService, and the path where it stands."""

    path: str
    destination: Destination
    mirrored: bool = False


def virtual_services(snapshot: Snapshot) -> list[Vs]:
    """All valid VirtualServices, oldest first."""
    return valid_objects(table_of(snapshot, Kind.VIRTUAL_SERVICE), VirtualService)


def targets(spec: VirtualService) -> Iterator[Target]:
    """Every destination of a VirtualService."""
    for index, http in enumerate(spec.http):
        for number, weighted in enumerate(http.route):
            yield Target(f"spec.http[{index}].route[{number}].destination", weighted.destination)
        if http.mirror is not None:
            yield Target(f"spec.http[{index}].mirror", http.mirror, mirrored=True)
        for number, mirror in enumerate(http.mirrors):
            yield Target(f"spec.http[{index}].mirrors[{number}].destination", mirror.destination, mirrored=True)
    for index, tls in enumerate(spec.tls):
        for number, target in enumerate(tls.route):
            yield Target(f"spec.tls[{index}].route[{number}].destination", target.destination)
    for index, tcp in enumerate(spec.tcp):
        for number, target in enumerate(tcp.route):
            yield Target(f"spec.tcp[{index}].route[{number}].destination", target.destination)


def bound_gateways(item: Vs) -> frozenset[str]:
    """What a VirtualService is bound to: `namespace/name` of Gateways, and `mesh`."""
    return qualified_gateways(item.spec.gateways or (MESH,), item.meta.namespace)


def destinations(snapshot: Snapshot) -> Iterator[Finding]:
    """Destinations whose host, port or subset is not there. Without any service only the subsets of rules are known."""
    rules = _Rules(snapshot)
    if not snapshot.services:
        for item in virtual_services(snapshot):
            for target in targets(item.spec):
                host = full_host(snapshot, target.destination.host, item.meta.namespace)
                if any(rules.of(host)):
                    yield from _subset(snapshot, item, target, rules, host)
        return
    for item in virtual_services(snapshot):
        at_gateway = bool(item.spec.hosts) and MESH not in bound_gateways(item)
        for target in targets(item.spec):
            yield from _destination(snapshot, item, target, rules, at_gateway)


class _Rules:
    """DestinationRules by full host, those of wildcards apart."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._exact: dict[str, list[Object[DestinationRule]]] = defaultdict(list)
        self._wild: list[tuple[str, Object[DestinationRule]]] = []
        for rule in valid_objects(table_of(snapshot, Kind.DESTINATION_RULE), DestinationRule):
            host = full_host(snapshot, rule.spec.host, rule.meta.namespace)
            self._exact[host].append(rule)
            if host.startswith("*"):
                self._wild.append((host, rule))

    def of(self, host: str) -> Iterator[Object[DestinationRule]]:
        """The rules for a host."""
        yield from self._exact.get(host, ())
        yield from (rule for pattern, rule in self._wild if pattern != host and host_matches(pattern, host))


def _destination(snapshot: Snapshot, item: Vs, target: Target, rules: _Rules, at_gateway: bool) -> Iterator[Finding]:
    said, namespace = target.destination, item.meta.namespace
    host = full_host(snapshot, said.host, namespace)
    service = hosts_of(snapshot, namespace).get(host)
    if service is None:
        hidden = every_host(snapshot).get(host)
        if hidden is None:
            yield codes.HOST_NOT_FOUND.at(item, f"{target.path}.host", f"{said.host!r} is the host of no service")
        else:
            message = f"{said.host!r} of namespace {hidden.namespace} is not exported to {namespace}"
            yield codes.HOST_NOT_VISIBLE.at(item, f"{target.path}.host", message)
        return
    numbers = [port.number for port in service.ports if port.protocol is not Protocol.UDP]
    if said.port is not None and numbers and said.port.number not in numbers:
        message = f"{said.host} has no port {said.port.number}, only {named(numbers, 8)}"
        yield codes.PORT_NOT_FOUND.at(item, f"{target.path}.port.number", message)
    elif said.port is None and at_gateway and len(numbers) > 1:
        message = f"{said.host} has the ports {named(numbers, 8)}"
        yield codes.PORT_REQUIRED.at(item, target.path, message)
    yield from _subset(snapshot, item, target, rules, service.host)


def _subset(snapshot: Snapshot, item: Vs, target: Target, rules: _Rules, host: str) -> Iterator[Finding]:
    """A subset that no DestinationRule for the host has, of those that the VirtualService's namespace sees."""
    said = target.destination
    fitting = [rule for rule in rules.of(host) if sees(snapshot, rule, item.meta.namespace)]
    known = [subset.name for rule in fitting for subset in rule.spec.subsets]
    if not said.subset or said.subset in known:
        return
    where = f"has the subsets {named(known, 8)}" if known else "has no subsets"
    message = f"{said.host} {where}, and not {said.subset!r}"
    yield codes.SUBSET_NOT_FOUND.at(item, f"{target.path}.subset", message)


def gateways(snapshot: Snapshot) -> Iterator[Finding]:
    """References to Gateways that are not there, and hosts and routes that the Gateway does not serve."""
    table = table_of(snapshot, Kind.GATEWAY)
    for item in virtual_services(snapshot):
        if not item.spec.hosts:
            continue
        for index, name in enumerate(item.spec.gateways):
            (full,) = qualified_gateways((name,), item.meta.namespace)
            if full == MESH:
                continue
            namespace, _, short = full.partition("/")
            gateway = table.get(NamespacedName(namespace, short))
            path = f"spec.gateways[{index}]"
            if gateway is None:
                yield codes.GATEWAY_NOT_FOUND.at(item, path, f"{name!r}: there is no Gateway {full}")
            elif isinstance(gateway, Object):
                yield from _bound(snapshot, item, path, gateway)


def _bound(snapshot: Snapshot, item: Vs, path: str, gateway: Object[Gateway]) -> Iterator[Finding]:
    serving = [server for server in gateway.spec.servers if _serves(snapshot, server, gateway, item)]
    if not serving:
        message = f"{gateway} serves none of {named(item.spec.hosts)}"
        yield codes.HOST_NOT_IN_GATEWAY.at(item, path, message)
        return
    through = [s for s in serving if s.tls is not None and s.tls.mode is GatewayTLSMode.PASSTHROUGH and _is_tls(s)]
    if item.spec.http and not item.spec.tls and len(through) == len(serving):
        message = f"{gateway} passes TLS through, so the http routes see no requests"
        yield codes.ROUTE_NOT_FOR_SERVER.at(item, path, message)


def _is_tls(server: Server) -> bool:
    return server.port.protocol.upper() in ("HTTPS", "TLS")


def _serves(snapshot: Snapshot, server: Server, gateway: Object[Gateway], item: Vs) -> bool:
    for said in server.hosts:
        namespace, slash, host = said.partition("/")
        if not slash:
            namespace, host = "*", said
        namespace = gateway.meta.namespace if namespace == "." else namespace
        name = full_host(snapshot, host, gateway.meta.namespace)
        if namespace in ("*", item.meta.namespace) and any(
            hosts_overlap(name, full_host(snapshot, own, item.meta.namespace)) for own in item.spec.hosts
        ):
            return True
    return False


def delegates(snapshot: Snapshot) -> Iterator[Finding]:
    """References to delegates that are not there, or that are no delegates."""
    table = table_of(snapshot, Kind.VIRTUAL_SERVICE)
    for item in virtual_services(snapshot):
        for index, route in enumerate(item.spec.http):
            if route.delegate is None:
                continue
            key = NamespacedName(route.delegate.namespace or item.meta.namespace, route.delegate.name)
            found = table.get(key)
            path = f"spec.http[{index}].delegate"
            if not isinstance(found, Object):
                yield codes.DELEGATE_NOT_FOUND.at(item, path, f"there is no VirtualService {key}")
            elif found.spec.hosts:
                yield codes.DELEGATE_NOT_FOUND.at(item, path, f"VirtualService {key} has hosts, so it is no delegate")
            elif not sees(snapshot, found, item.meta.namespace):
                message = f"VirtualService {key} is not exported to {item.meta.namespace}"
                yield codes.DELEGATE_NOT_FOUND.at(item, path, message, "export it to the namespace")


def hosts(snapshot: Snapshot) -> Iterator[Finding]:
    """Hosts of VirtualServices for sidecars that no service has."""
    if not snapshot.services:
        return
    for item in virtual_services(snapshot):
        if MESH not in bound_gateways(item) or len(item.spec.gateways) > 1:
            continue  # with a Gateway beside the mesh, the host is one of outside clients
        for index, host in enumerate(item.spec.hosts):
            full = full_host(snapshot, host, item.meta.namespace)
            if not hosts_of(snapshot, item.meta.namespace).covered_by(full) and not _is_ip(host):
                yield codes.HOST_MATCHES_NOTHING.at(item, f"spec.hosts[{index}]", f"{host!r} is the host of no service")


def _is_ip(host: str) -> bool:
    return host.replace(".", "").isdigit() or ":" in host


def conflicts(snapshot: Snapshot) -> Iterator[Finding]:
    """VirtualServices for sidecars that share a host in some namespace that sees both."""
    owners: dict[str, list[Vs]] = defaultdict(list)
    for item in virtual_services(snapshot):
        if item.spec.hosts and MESH in bound_gateways(item):
            for host in item.spec.hosts:
                owners[full_host(snapshot, host, item.meta.namespace)].append(item)
    for host, items in sorted(owners.items()):
        for number, item in enumerate(items):
            older = next((other for other in items[:number] if _meet(snapshot, other, item)), None)
            if older is not None and older is not item:
                message = f"{host} is also a host of {older}, which counts"
                yield codes.VIRTUAL_SERVICE_CONFLICT.at(item, "spec.hosts", message)


def _meet(snapshot: Snapshot, one: Vs, other: Vs) -> bool:
    """Whether some namespace sees both."""
    candidates = {one.meta.namespace, other.meta.namespace, *one.spec.export_to, *other.spec.export_to}
    candidates |= namespaces(snapshot)
    return any(
        sees(snapshot, one, namespace) and sees(snapshot, other, namespace)
        for namespace in candidates - {".", "*", "~"}
    )


def route_names(snapshot: Snapshot) -> Iterator[Finding]:
    """Routes of one VirtualService with the same name."""
    for item in virtual_services(snapshot):
        seen: dict[str, int] = {}
        for index, route in enumerate(item.spec.http):
            if route.name and route.name in seen:
                message = f"{route.name!r} is also the name of spec.http[{seen[route.name]}]"
                yield codes.DUPLICATE_ROUTE_NAME.at(item, f"spec.http[{index}].name", message)
            seen.setdefault(route.name, index)


def http_ports(snapshot: Snapshot) -> Iterator[Finding]:
    """HTTP routes of sidecars for a service that speaks no HTTP."""
    for item in virtual_services(snapshot):
        if not item.spec.http or MESH not in bound_gateways(item):
            continue
        for index, host in enumerate(item.spec.hosts):
            full = full_host(snapshot, host, item.meta.namespace)
            service = hosts_of(snapshot, item.meta.namespace).get(full)
            if service is not None and service.ports and not any(_may_be_http(p.protocol) for p in service.ports):
                said = named((f"{port.name or port.number}: {port.protocol}" for port in service.ports), 8)
                yield codes.ROUTE_WITHOUT_HTTP.at(item, f"spec.hosts[{index}]", f"the ports of {host} are {said}")


def _may_be_http(protocol: Protocol) -> bool:
    return protocol.is_http or protocol is Protocol.AUTO


def subsets_at_gateways(snapshot: Snapshot) -> Iterator[Finding]:
    """A gateway's routes to a whole service whose subsets are chosen by a VirtualService for sidecars alone."""
    inside = _hosts_with_subsets(snapshot, virtual_services(snapshot))
    for item in virtual_services(snapshot):
        if MESH in bound_gateways(item) or not item.spec.hosts:
            continue
        for target in targets(item.spec):
            host = full_host(snapshot, target.destination.host, item.meta.namespace)
            if host in inside and not target.destination.subset and not target.mirrored:
                message = f"all of {target.destination.host}, whose subsets {inside[host]} chooses for sidecars alone"
                yield codes.SUBSET_NOT_AT_GATEWAY.at(item, target.path, message)


def _hosts_with_subsets(snapshot: Snapshot, items: Iterable[Vs]) -> dict[str, Vs]:
    found: dict[str, Vs] = {}
    for item in items:
        if bound_gateways(item) == {MESH}:
            own = {full_host(snapshot, host, item.meta.namespace) for host in item.spec.hosts}
            for target in targets(item.spec):
                host = full_host(snapshot, target.destination.host, item.meta.namespace)
                if target.destination.subset and host in own:
                    found.setdefault(host, item)
    return found


def claims(snapshot: Snapshot) -> Iterator[Finding]:
    """Routes by claims of tokens at a gateway whose workloads read no tokens."""
    table = table_of(snapshot, Kind.REQUEST_AUTHENTICATION)
    gateway_table = table_of(snapshot, Kind.GATEWAY)
    for item in virtual_services(snapshot):
        matches = [
            (f"spec.http[{index}].match[{number}].{field}[{name}]", name)
            for index, route in enumerate(item.spec.http)
            for number, match in enumerate(route.match)
            for field, names in (("headers", match.headers), ("withoutHeaders", match.without_headers))
            for name in names
            if name.startswith("@request.auth.claims")
        ]
        if not matches:
            continue
        for full in sorted(bound_gateways(item) - {MESH}):
            namespace, _, short = full.partition("/")
            gateway = gateway_table.get(NamespacedName(namespace, short))
            if isinstance(gateway, Object) and not any(
                _authenticates(snapshot, policy, gateway) for policy in table.values()
            ):
                path, name = matches[0]
                labels = labels_text(gateway.spec.selector)
                message = f"{name!r} is matched at {gateway}, and no RequestAuthentication is for {labels}"
                yield codes.CLAIM_WITHOUT_AUTHENTICATION.at(item, path, message)


def _authenticates(snapshot: Snapshot, policy: object, gateway: Object[Gateway]) -> bool:
    if not isinstance(policy, Object):
        return True  # one that is not valid fails closed: it is there
    selector = policy.spec.selector.all_labels if policy.spec.selector is not None else {}
    chosen = gateway.spec.selector
    return all(chosen.get(key, value) == value for key, value in selector.items())
