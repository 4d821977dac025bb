"""What a router listens on: the servers of its Gateways as listeners, with the route configurations that they need.

Input: open ports and the rules that bind to their Gateways. Rules: Gateway reference, `ServerTLSSettings`; TLS servers
of a port are told apart by server name. AUTO_PASSTHROUGH belongs to `istiod.resolve.eastwest`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from istiod.api.gateway import CIPHER_SUITES, GatewayTLSMode, ServerTLSSettings
from istiod.resolve.connection import SERVER_HTTP, gateway_http
from istiod.resolve.defaults import profile
from istiod.resolve.eastwest import passthrough_chain
from istiod.resolve.gateway_routes import gateway_routes, route_name
from istiod.resolve.gateway_servers import GatewayServer, OpenPort
from istiod.resolve.outbound_chains import TcpSettings, server_names, tcp_chains, tls_chains
from istiod.resolve.routes_match import Caller
from istiod.resolve.scope import Scope
from istiod.resolve.sidecar_routes import action_context
from istiod.resolve.specs.listener import ChainMatch, Direction, FilterChainSpec, ListenerSpec
from istiod.resolve.specs.match import MatchKind, StringMatch
from istiod.resolve.specs.route import RouteConfigSpec
from istiod.resolve.specs.tls import DownstreamTls, SecretRef
from istiod.resolve.tls import ROOTS, WORKLOAD_CERTIFICATE, certificate_files, credential, root_file, secret_source
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
    for port in ports:
        chains = list(_chains(snapshot, view, scope, rules, port))
        for name, servers in _shared_routes(port).items():
            routes.setdefault(name, gateway_routes(snapshot, view, scope, rules, name, servers))
        if chains:
            listeners.append(_listener(view, port, chains))
    return GatewayListeners(tuple(listeners), tuple(routes.values()))


def _listener(view: ProxyView, port: OpenPort, chains: Sequence[FilterChainSpec]) -> ListenerSpec:
    address = port.bind or ("0.0.0.0" if view.ipv4 else "::")
    sniffing = any(chain.match.transport_protocol or chain.match.server_names for chain in chains)
    return ListenerSpec(
        name=f"{address}_{port.port}",
        address=address,
        port=port.port,
        direction=Direction.OUTBOUND,
        chains=tuple(chains),
        tls_inspector=sniffing,
        additional_addresses=("::",) if view.ipv4 and view.ipv6 and not port.bind else (),
    )


def _shared_routes(port: OpenPort) -> dict[str, list[GatewayServer]]:
    """Servers by the route configuration behind them: plaintext ones share it, each HTTPS one has its own."""
    shared: dict[str, list[GatewayServer]] = {}
    for server in port.servers:
        if server.is_http:
            shared.setdefault(route_name(server, port.port, port.bind), []).append(server)
    return shared


def _chains(
    snapshot: Snapshot, view: ProxyView, scope: Scope, rules: Sequence[Rules], port: OpenPort
) -> Iterator[FilterChainSpec]:
    taken: set[str] = set()
    for server in port.servers:
        if server.mode is None and server.is_http:
            if "" not in taken:
                yield FilterChainSpec(
                    "", ChainMatch(), gateway_http(snapshot, view, port.port, route_name(server, port.port, port.bind))
                )
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
    tls = server_tls(view, server, http=server.is_http)
    match = ChainMatch(server_names=server_names(names), transport_protocol="tls")
    if server.is_http:
        handler = gateway_http(snapshot, view, port.port, route_name(server, port.port, port.bind))
        yield FilterChainSpec("", match, handler, tls=tls)
        return
    for chain in _routed_bytes(snapshot, view, scope, rules, server):
        yield FilterChainSpec("", match, chain.handler, tls=tls)
        return


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
            for said in chain.match.server_names or ("*",)
            for name in server.accepts("", said, any_namespace=True)
            if name not in taken
        )
        taken.update(names)
        if names:
            match = ChainMatch(server_names=server_names(names), transport_protocol="tls")
            yield FilterChainSpec("", match, chain.handler)


def _routed_bytes(
    snapshot: Snapshot, view: ProxyView, scope: Scope, rules: Sequence[Rules], server: GatewayServer
) -> Iterator[FilterChainSpec]:
    settings = TcpSettings(snapshot, profile(snapshot.mesh.isthmus.defaults).tcp_connect_attempts)
    caller = Caller(view.namespace, view.labels, frozenset({str(server.gateway)}), server.number)
    for rule in rules:
        bound = str(server.gateway) in rule.gateways and any(
            server.accepts(rule.key.namespace, host) for host in rule.hosts
        )
        if not bound:
            continue
        context = action_context(snapshot, view, scope, rule.key.namespace, server.number)
        if server.mode is GatewayTLSMode.PASSTHROUGH:
            yield from tls_chains(settings, (rule,), caller, context, ())
        else:
            yield from tcp_chains(settings, (rule,), caller, context, ())


def server_tls(view: ProxyView, server: GatewayServer, http: bool) -> DownstreamTls | None:
    """The server side of TLS that ends at the gateway."""
    said = server.server.tls
    if said is None or not server.terminates:
        return None
    alpn = SERVER_HTTP if http else ()
    if server.mode is GatewayTLSMode.ISTIO_MUTUAL:
        source = secret_source(view)
        return DownstreamTls(
            (SecretRef(WORKLOAD_CERTIFICATE, source),),
            SecretRef(ROOTS, source),
            require_client_certificate=True,
            alpn=alpn,
        )
    mutual = server.mode in (GatewayTLSMode.MUTUAL, GatewayTLSMode.OPTIONAL_MUTUAL)
    return DownstreamTls(
        certificates=_certificates(view, said),
        roots=_roots(view, said) if mutual else None,
        require_client_certificate=server.mode is GatewayTLSMode.MUTUAL,
        alpn=alpn,
        san_matches=tuple(StringMatch(MatchKind.EXACT, name) for name in said.subject_alt_names) if mutual else (),
        minimum=_VERSIONS.get(said.min_protocol_version, "TLSv1_2"),
        maximum=_VERSIONS.get(said.max_protocol_version, ""),
        certificate_hashes=said.verify_certificate_hash if mutual else (),
        key_hashes=said.verify_certificate_spki if mutual else (),
        cipher_suites=tuple(dict.fromkeys(suite for suite in said.cipher_suites if suite in CIPHER_SUITES)),
    )


_VERSIONS = {f"TLSV1_{minor}": f"TLSv1_{minor}" for minor in range(4)}


def _certificates(view: ProxyView, said: ServerTLSSettings) -> tuple[SecretRef, ...]:
    names = said.credential_names or ((said.credential_name,) if said.credential_name else ())
    if names:
        return tuple(credential(name) for name in names)
    pairs = [(item.server_certificate, item.private_key) for item in said.tls_certificates]
    if said.server_certificate:
        pairs.append((said.server_certificate, said.private_key))
    return tuple(certificate_files(view, certificate, key) for certificate, key in pairs)


def _roots(view: ProxyView, said: ServerTLSSettings) -> SecretRef | None:
    if said.ca_cert_credential_name:
        return credential(said.ca_cert_credential_name)
    if said.credential_name or said.credential_names:
        name = said.credential_name or said.credential_names[0]
        return credential(f"{name}-cacert")
    files = said.ca_certificates or next(
        (item.ca_certificates for item in said.tls_certificates if item.ca_certificates), ""
    )
    return root_file(view, files) if files else None
