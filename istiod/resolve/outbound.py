"""What a sidecar catches of its application's calls: `virtualOutbound` and a listener per address and port.

Input: the scope of the view. Rules: Istio's listener names (`0.0.0.0_<port>`, `<vip>_<port>`) and conflicts: HTTP
ports share one listener, TCP beside HTTP makes it detect the protocol, of two claims on the same connections the older
wins, and what cannot share a listener at all is the older's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_network

from federation.model.findings import Finding, Severity
from federation.model.service import Protocol, Service, ServicePort
from federation.model.sni import OutboundName
from istiod.resolve.connection import (
    CAPTURE_PORTS,
    LOOKED_UP,
    STATIC_PORTS,
    dns_cache,
    guard_chain,
    outbound_http,
    plain_http,
    tcp_proxy,
)
from istiod.resolve.headers import counts_attempts
from istiod.resolve.outbound_chains import default_chain, server_names, tcp_chains, tcp_settings, tls_chains
from istiod.resolve.routes import fallback_host
from istiod.resolve.scope import EgressScope, Scope
from istiod.resolve.sidecar_routes import action_context, mesh_caller
from istiod.resolve.specs.listener import MATCH_ALL, ChainMatch, Direction, FilterChainSpec, ListenerSpec
from istiod.resolve.specs.route import RouteConfigSpec
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

CAPTURE_PORT = 15001
RESERVED_PORTS = CAPTURE_PORTS | STATIC_PORTS
_KEPT_APART = frozenset({Protocol.MONGO, Protocol.MYSQL})


@dataclass(slots=True)
class _Draft:
    """A listener in the making: at most one HTTP chain, and chains for bytes by what they match. `protocol` is that of
    the port that it was begun for.
    """

    address: str
    port: int
    protocol: Protocol
    captured: bool = True
    route: str = ""
    grpc_web: bool = False
    chains: dict[ChainMatch, FilterChainSpec] = field(default_factory=dict)
    owners: dict[ChainMatch, Service] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteName:
    """A route configuration that listeners name: for all hosts of a port, or one host of a detected protocol."""

    name: str
    port: int
    host: str
    listener: EgressScope


@dataclass(frozen=True, slots=True)
class Outbound:
    """Listeners, the route configurations that they need, and conflicts that were found on the way."""

    listeners: tuple[ListenerSpec, ...]
    routes: tuple[RouteName, ...]
    findings: tuple[Finding, ...]


def outbound(snapshot: Snapshot, view: ProxyView, scope: Scope) -> Outbound:
    """Everything a sidecar listens on for its application."""
    build = _Build(snapshot, view, scope)
    for listener in sorted(scope.listeners, key=lambda egress: not egress.named):
        build.add_listener(listener)
    listeners = [build.finish(draft) for _, draft in sorted(build.drafts.items())]
    listeners.append(_virtual_outbound(snapshot, view, scope))
    return Outbound(tuple(listeners), tuple(build.routes.values()), tuple(build.findings))


def _virtual_outbound(snapshot: Snapshot, view: ProxyView, scope: Scope) -> ListenerSpec:
    requests = _unknown_hosts(snapshot, view, scope)
    return ListenerSpec(
        name="virtualOutbound",
        address="0.0.0.0" if view.ipv4 else "::",
        port=CAPTURE_PORT,
        direction=Direction.OUTBOUND,
        chains=(
            guard_chain(snapshot, "virtualOutbound-blackhole", CAPTURE_PORT),
            *requests,
            FilterChainSpec("virtualOutbound-catchall-tcp", MATCH_ALL, tcp_proxy(snapshot, scope.strangers)),
        ),
        use_original_dst=True,
        http_inspector=bool(requests),
        filters_timeout=(snapshot.mesh.protocol_detection_timeout or 0.0) if requests else None,
        continue_on_filters_timeout=bool(requests),
        additional_addresses=("::",) if view.ipv4 and view.ipv6 else (),
    )


def _unknown_hosts(snapshot: Snapshot, view: ProxyView, scope: Scope) -> tuple[FilterChainSpec, ...]:
    """The chain of requests on ports that no service has, where hosts that nobody declared are looked up."""
    if scope.unknown_hosts != LOOKED_UP:
        return ()
    host = replace(fallback_host(LOOKED_UP), include_attempt_count=counts_attempts(snapshot, view))
    routes = RouteConfigSpec(host.name, (host,))
    handler = outbound_http(snapshot, view, "virtualOutbound", CAPTURE_PORT, routes)
    handler = replace(handler, dns_cache=dns_cache(snapshot.mesh, view))
    match = ChainMatch(application_protocols=plain_http(view))
    return (FilterChainSpec("virtualOutbound-catchall-tcp-http", match, handler),)


@dataclass(slots=True)
class _Build:
    snapshot: Snapshot
    view: ProxyView
    scope: Scope
    drafts: dict[tuple[str, int], _Draft] = field(default_factory=dict)
    routes: dict[str, RouteName] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    locked: set[tuple[str, int]] = field(default_factory=set)

    def add_listener(self, egress: EgressScope) -> None:
        """All service ports of one egress listener; a listener that names its port keeps others away from it."""
        if not egress.named:
            for service in egress.services:
                for port in service.ports:
                    if port.protocol is not Protocol.UDP:
                        self._add_port(egress, service, port, port.number, port.protocol)
            return
        if egress.protocol.is_http:
            if any(egress.proxies or egress.service_port(service, egress.port) for service in egress.services):
                self._http(egress, self._wildcard(egress), egress.port, egress.protocol, "", False)
        else:
            for service in egress.services:
                found = egress.service_port(service, egress.port)
                if found is not None:
                    protocol = found.protocol if egress.protocol is Protocol.AUTO else egress.protocol
                    self._add_port(egress, service, found, egress.port, protocol)
        self.locked.update(key for key in self.drafts if key[1] == egress.port)

    def _wildcard(self, egress: EgressScope) -> str:
        return egress.bind or ("0.0.0.0" if self.view.ipv4 else "::")

    def _add_port(
        self, egress: EgressScope, service: Service, port: ServicePort, number: int, protocol: Protocol
    ) -> None:
        wildcard = self._wildcard(egress)
        if number in RESERVED_PORTS and (protocol.is_http or wildcard in self._addresses(egress, service)):
            self.findings.append(_reserved(service, port))
            return
        if protocol.is_http:
            if not self._taken(service, port, wildcard, number, protocol):
                self._http(egress, wildcard, number, protocol, "", port.protocol is Protocol.GRPC_WEB)
            return
        for address in self._addresses(egress, service):
            single = _is_single(address)
            bind = address if single else wildcard
            if self._taken(service, port, bind, number, protocol):
                continue
            if protocol is Protocol.AUTO:
                self._http(egress, bind, number, protocol, "" if bind == wildcard else service.host, False)
            self._bytes(egress, service, port, number, protocol, bind, () if single else (address,))

    def _addresses(self, egress: EgressScope, service: Service) -> Iterator[str]:
        """Where connections to bytes of a service arrive: its addresses, its members', else anywhere."""
        if egress.bind:
            yield egress.bind
            return
        if service.vips and (self.view.dns_capture or not service.auto_vip):
            yield from (vip for vip in service.vips if _usable(vip, self.view))
        elif service.dialed_by_member:
            members = {endpoint.address for endpoint in self.snapshot.endpoints.get(service.key, ())}
            yield from sorted(address for address in members if _usable(address, self.view))
        else:
            yield self._wildcard(egress)

    def _taken(self, service: Service, port: ServicePort, address: str, number: int, protocol: Protocol) -> bool:
        """Whether a listener cannot be shared: MongoDB and MySQL are kept apart from all that has to be recognised, and
        an undeclared protocol from HTTP of older services, or another undeclared one.
        """
        draft = self.drafts.get((address, number))
        if draft is None or (address, number) in self.locked:
            return False
        apart = draft.protocol is not protocol and not _KEPT_APART.isdisjoint((draft.protocol, protocol))
        detected = protocol is Protocol.AUTO and bool(draft.route) and service not in draft.owners.values()
        if apart or detected:
            self.findings.append(_conflict(service, port, next(iter(draft.owners.values()), None), draft))
        return apart or detected

    def _draft(self, egress: EgressScope, address: str, number: int, protocol: Protocol) -> _Draft | None:
        key = (address, number)
        if key in self.locked and not egress.named:
            return None
        if number in RESERVED_PORTS and address == self._wildcard(egress):
            return None
        return self.drafts.setdefault(key, _Draft(address, number, protocol, captured=egress.captured))

    def _http(
        self, egress: EgressScope, address: str, number: int, protocol: Protocol, host: str, grpc_web: bool
    ) -> None:
        draft = self._draft(egress, address, number, protocol)
        if draft is None:
            return
        name = f"{host}:{number}" if host else str(number) if number else address
        draft.route = draft.route or name
        draft.grpc_web = draft.grpc_web or grpc_web
        # Hosts of a port are those of the listener that names it, wherever the connection was caught.
        naming = next(
            (other for other in self.scope.listeners if other.named and number and other.port == number), egress
        )
        self.routes.setdefault(draft.route, RouteName(draft.route, number, host, naming))

    def _bytes(
        self,
        egress: EgressScope,
        service: Service,
        port: ServicePort,
        number: int,
        protocol: Protocol,
        address: str,
        destinations: tuple[str, ...],
    ) -> None:
        draft = self._draft(egress, address, number, protocol)
        if draft is None:
            return
        wildcard = address == self._wildcard(egress)
        for chain in self._chains(egress, service, port, number, protocol, destinations, wildcard):
            owner = draft.owners.setdefault(chain.match, service)
            if draft.chains.setdefault(chain.match, chain) != chain and owner is not service:
                self.findings.append(_conflict(service, port, owner, draft))

    def _chains(
        self,
        egress: EgressScope,
        service: Service,
        port: ServicePort,
        number: int,
        protocol: Protocol,
        destinations: tuple[str, ...],
        wildcard: bool,
    ) -> list[FilterChainSpec]:
        rules = egress.rules.of_bytes(service.host)
        settings = tcp_settings(self.snapshot, self.view, self.scope)
        caller = mesh_caller(self.view, number)
        contexts = partial(action_context, self.snapshot, self.view, self.scope, port=number)
        find = tls_chains if protocol.is_tls else tcp_chains
        chains = list(find(settings, rules, caller, contexts, destinations))
        whole = ChainMatch(destinations=destinations)
        if not chains or not (protocol.is_tls or any(chain.match == whole for chain in chains)):
            own = _own_match(service, protocol, destinations, wildcard)
            chains.append(default_chain(settings, _target(service, port), own, contexts(service.namespace)))
        return chains

    def finish(self, draft: _Draft) -> ListenerSpec:
        """The listener: HTTP where it is recognised, then bytes, then whatever the mesh does with strangers."""
        chains = list(draft.chains.values())
        rest = None if MATCH_ALL in draft.chains else self._strangers()
        if draft.route:
            if MATCH_ALL in draft.chains:  # Envoy does not look back from "raw_buffer" to a chain of any transport
                rest = draft.chains[MATCH_ALL]
                chains.remove(rest)
            match = ChainMatch(transport_protocol="raw_buffer", application_protocols=plain_http(self.view))
            handler = outbound_http(self.snapshot, self.view, draft.address, draft.port, draft.route, draft.grpc_web)
            if self.scope.looks_up:
                handler = replace(handler, dns_cache=dns_cache(self.snapshot.mesh, self.view))
            chains.insert(0, FilterChainSpec("", match, handler))
        complete = MATCH_ALL in draft.chains
        return ListenerSpec(
            name=f"{draft.address}_{draft.port}",
            address=draft.address,
            port=draft.port,
            direction=Direction.OUTBOUND,
            chains=tuple(chains),
            default_chain=rest,
            bind_to_port=not draft.captured,
            additional_addresses=("::",) if draft.address == "0.0.0.0" and self.view.ipv6 and draft.captured else (),
            tls_inspector=any(chain.match.transport_protocol == "tls" for chain in chains),
            http_inspector=bool(draft.route),
            filters_timeout=(self.snapshot.mesh.protocol_detection_timeout or 0.0)
            if draft.route or not complete
            else None,
            continue_on_filters_timeout=bool(draft.route) or not complete,
        )

    def _strangers(self) -> FilterChainSpec:
        return FilterChainSpec("PassthroughFilterChain", MATCH_ALL, tcp_proxy(self.snapshot, self.scope.strangers))


def _target(service: Service, port: ServicePort) -> OutboundName:
    return OutboundName(port.number, "", service.host)


def _own_match(service: Service, protocol: Protocol, destinations: tuple[str, ...], wildcard: bool) -> ChainMatch:
    """Which connections are for this service: all at its address; on a shared listener TLS is told apart by server
    name.
    """
    if protocol.is_tls and wildcard:
        names = server_names((service.host,))
        return ChainMatch(destinations=destinations, server_names=names, transport_protocol="tls" if names else "")
    return ChainMatch(destinations=destinations)


def _usable(address: str, view: ProxyView) -> bool:
    try:
        network = ip_network(address, strict=False)
    except ValueError:
        return False
    return view.ipv4 if network.version == 4 else view.ipv6


def _is_single(address: str) -> bool:
    """Whether only one service can stand behind this address: a path of a unix socket is one."""
    return address.startswith("unix://") or ip_network(address, strict=False).num_addresses == 1


def _reserved(service: Service, port: ServicePort) -> Finding:
    return Finding(
        Severity.WARNING,
        "ReservedPort",
        f"Service {service.key}",
        f"spec.ports[{port.name}]",
        f"every proxy listens on port {port.number} itself, so calls of it are not routed",
        "use another port",
    )


def _conflict(service: Service, port: ServicePort, owner: Service | None, draft: _Draft) -> Finding:
    older = f"the older {owner.host} gets" if owner is not None else "HTTP of older services has"
    return Finding(
        Severity.WARNING,
        "ListenerConflict",
        f"Service {service.key}",
        f"spec.ports[{port.name}]",
        f"{service.host}:{port.number} claims the connections on {draft.address}_{draft.port} that {older}",
        "give the service an address of its own or another port",
    )
