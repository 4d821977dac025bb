"""What a router listens on: the servers of its Gateways as listeners, with the route configurations that they need.

Input: open ports and the rules that bind to their Gateways. Rules: Gateway reference, `ServerTLSSettings`; TLS servers
of a port are told apart by server name. AUTO_PASSTHROUGH belongs to `istiod.resolve.eastwest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from federation.model.service import Protocol
from istiod.api.gateway import GatewayTLSMode
from istiod.resolve.authz import guard_of
from istiod.resolve.connection import dns_cache, gateway_http
from istiod.resolve.connection_settings import buffer_limit
from istiod.resolve.eastwest import passthrough_chain
from istiod.resolve.gateway_routes import gateway_routes, route_name
from istiod.resolve.gateway_servers import GatewayServer, OpenPort
from istiod.resolve.headers import topology
from istiod.resolve.outbound_chains import server_names, tcp_chains, tcp_settings, tls_chains
from istiod.resolve.routes_match import Caller
from istiod.resolve.scope import Scope
from istiod.resolve.server_tls import ending_tls
from istiod.resolve.sidecar_routes import action_context
from istiod.resolve.specs.listener import ChainMatch, Direction, FilterChainSpec, HttpConnection, ListenerSpec
from istiod.resolve.specs.route import RouteConfigSpec
from istiod.resolve.virtual_services import Rules
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView


@dataclass(frozen=True, slots=True)
class GatewayListeners:
    """Listeners of a router and the route configurations that they name."""

    listeners: tuple[ListenerSpec, ...]
    routes: tuple[RouteConfigSpec, ...]


def gateway_listeners(
    snapshot: Snapshot, view: ProxyView, scope: Scope, rules: Sequence[Rules], ports: Sequence[OpenPort]
) -> GatewayListeners:
    """One listener per open port. A port on which nothing could be served is not opened."""
    listeners = []
    routes: dict[str, RouteConfigSpec] = {}
    guard = guard_of(snapshot, view)
    for port in ports:
        chains = [guard.over(chain) for chain in _first_of_each(_chains(snapshot, view, scope, rules, port))]
        for name, servers in _shared_routes(port).items():
            routes.setdefault(name, gateway_routes(snapshot, view, scope, rules, name, servers))
        if chains:
            listeners.append(_listener(snapshot, view, port, chains))
    return GatewayListeners(tuple(listeners), tuple(routes.values()))


def _listener(snapshot: Snapshot, view: ProxyView, port: OpenPort, chains: Sequence[FilterChainSpec]) -> ListenerSpec:
    address = port.bind or ("0.0.0.0" if view.ipv4 else "::")
    sniffing = any(chain.match.transport_protocol or chain.match.server_names for chain in chains)
    return ListenerSpec(
        name=f"{address}_{port.port}",
        address=address,
        port=port.port,
        direction=Direction.OUTBOUND,
        chains=tuple(chains),
        tls_inspector=sniffing,
        proxy_protocol_filter=topology(snapshot, view).proxy_protocol is not None,
        buffer_limit=buffer_limit(snapshot, view),
        additional_addresses=("::",) if view.ipv4 and view.ipv6 and not port.bind else (),
    )


def _shared_routes(port: OpenPort) -> dict[str, list[GatewayServer]]:
    """Servers by the route configuration behind them: plaintext ones share it, each HTTPS one has its own."""
    shared: dict[str, list[GatewayServer]] = {}
    for server in port.servers:
        if server.is_http:
            shared.setdefault(route_name(server, port.port, port.bind), []).append(server)
    return shared


def _first_of_each(chains: Iterable[FilterChainSpec]) -> Iterable[FilterChainSpec]:
    """The chains that Envoy would take: of those for the same connections, as of two TCP servers, the first."""
    found: dict[ChainMatch, FilterChainSpec] = {}
    for chain in chains:
        found.setdefault(chain.match, chain)
    return found.values()


def _chains(
    snapshot: Snapshot, view: ProxyView, scope: Scope, rules: Sequence[Rules], port: OpenPort
) -> Iterator[FilterChainSpec]:
    taken: set[str] = set()
    for server in port.servers:
        if server.mode is None and server.is_http:
            if "" not in taken:
                yield FilterChainSpec("", ChainMatch(), _http(snapshot, view, scope, port, server))
            taken.add("")
            continue
        if server.mode is GatewayTLSMode.AUTO_PASSTHROUGH:
            chain = passthrough_chain(snapshot, view, scope, server)
            if chain is not None:
                yield chain
            continue
        if server.mode is GatewayTLSMode.PASSTHROUGH or not server.terminates:
            yield from _byte_chains(snapshot, view, scope, rules, server, taken)
            continue
        names = tuple(name for name in server.names if name not in taken)
        taken.update(names)
        if names:
            yield from _terminated(snapshot, view, scope, rules, port, server, names)


def _terminated(
    snapshot: Snapshot,
    view: ProxyView,
    scope: Scope,
    rules: Sequence[Rules],
    port: OpenPort,
    server: GatewayServer,
    names: tuple[str, ...],
) -> Iterator[FilterChainSpec]:
    said = server.server.tls
    tls = ending_tls(snapshot.mesh, view, said, http=server.is_http) if said is not None else None
    match = ChainMatch(server_names=server_names(names), transport_protocol="tls")
    if server.is_http:
        yield FilterChainSpec("", match, _http(snapshot, view, scope, port, server), tls=tls)
        return
    for chain in _routed_bytes(snapshot, view, scope, rules, server):
        yield replace(chain, match=match, tls=tls)


def _http(snapshot: Snapshot, view: ProxyView, scope: Scope, port: OpenPort, server: GatewayServer) -> HttpConnection:
    connection = gateway_http(snapshot, view, port.port, route_name(server, port.port, port.bind))
    connection = replace(connection, grpc_web=server.protocol is Protocol.GRPC_WEB)
    return replace(connection, dns_cache=dns_cache(snapshot.mesh, view)) if scope.dynamic else connection


def _byte_chains(
    snapshot: Snapshot, view: ProxyView, scope: Scope, rules: Sequence[Rules], server: GatewayServer, taken: set[str]
) -> Iterator[FilterChainSpec]:
    """TLS that is passed on by server name, within the server's hosts, or plain TCP."""
    for chain in _routed_bytes(snapshot, view, scope, rules, server):
        if server.mode is None:
            yield chain
            continue
        names = tuple(
            name
            for name in server.accepts("", chain.match.server_names or ("*",), any_namespace=True)
            if name not in taken
        )
        taken.update(names)
        if names:
            match = ChainMatch(server_names=server_names(names), transport_protocol="tls")
            yield replace(chain, match=match)


def _routed_bytes(
    snapshot: Snapshot, view: ProxyView, scope: Scope, rules: Sequence[Rules], server: GatewayServer
) -> Iterator[FilterChainSpec]:
    settings = replace(tcp_settings(snapshot, view, scope), named=server.mode is not None)
    caller = Caller(view.namespace, view.labels, frozenset({str(server.gateway)}), server.number)
    bound = [
        rule
        for rule in rules
        if str(server.gateway) in rule.gateways and server.accepts(rule.key.namespace, rule.hosts)
    ]
    contexts = partial(action_context, snapshot, view, scope, port=server.number)
    if server.mode is GatewayTLSMode.PASSTHROUGH:
        yield from tls_chains(settings, bound, caller, contexts, ())
        return
    for chain in tcp_chains(settings, bound, caller, contexts, ()):
        yield replace(chain, match=ChainMatch())
        return
