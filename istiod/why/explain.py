"""What happens to one request at one proxy: the entry of the package.

Input: a snapshot, the proxy's view, the request. Everything is computed anew out of the view's specs, so the answer is
about what this snapshot means, which a proxy that is behind may not have yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from federation.model.names import host_matches
from federation.model.service import Protocol, Service
from istiod.resolve.config import resolve_view
from istiod.resolve.connection import BLACK_HOLE, PASSTHROUGH
from istiod.resolve.domains import service_domains
from istiod.resolve.eastwest import with_implied_server
from istiod.resolve.gateway_servers import open_ports
from istiod.resolve.objects import table_of
from istiod.resolve.peerauth import MtlsMode
from istiod.resolve.scope import redirected, scope_of
from istiod.resolve.specs.listener import Direction, FilterChainSpec, HttpConnection, ListenerSpec, TcpProxy
from istiod.resolve.tls import ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.why.answer import Answer, Cause
from istiod.why.causes import (
    of_config,
    of_mutual_tls,
    of_patches,
    of_servers,
    of_service,
    of_sidecar,
    of_strangers,
)
from istiod.why.conditions import Facts
from istiod.why.connections import Connection, dialled_listener, find_chain, outbound_listener
from istiod.why.matching import text_matches
from istiod.why.request import SPIFFE, Request, is_address
from istiod.why.requests import Context, follow_request, guard
from istiod.why.trail import Ended, Trail
from istiod.why.upstreams import Upstreams

VIRTUAL_INBOUND = "virtualInbound"


def explain(
    snapshot: Snapshot, view: ProxyView, proxy: str, request: Request, now: float, own_address: str = ""
) -> Answer:
    """Follow a request through a proxy of this view. `proxy` names it in the answer, `own_address` is the workload's;
    `now` in Unix seconds.
    """
    config = resolve_view(snapshot, view)
    context = Context(snapshot, view, config, Upstreams(snapshot, config), now)
    trail = Trail(request)
    try:
        if view.type is ProxyType.ROUTER:
            _at_router(trail, context)
        elif request.inbound:
            _inbound(trail, context, own_address)
        else:
            _outbound(trail, context)
    except Ended as ended:
        return trail.answer(proxy, ended)
    return trail.answer(proxy, None)


def _at_router(trail: Trail, context: Context) -> None:
    """At a gateway: whoever asks dials one of its ports."""
    snapshot, view, request = context.snapshot, context.view, trail.request
    connection = _connection(request, "", request.port)
    listener = dialled_listener(context.config.listeners, connection)
    ports = with_implied_server(view, open_ports(table_of(snapshot, "Gateway"), view))
    if listener is None:
        known = ", ".join(str(port.port) for port in ports) or "none"
        raise trail.end("listener", f"nothing listens on port {request.port} (open ports: {known})")
    host = request.authority.partition(":")[0] if request.is_http else request.server_name
    _met(trail, listener, "", of_servers(snapshot, ports, listener.port, host.lower()))
    _follow_chain(trail, context, listener, connection, "")


def _inbound(trail: Trail, context: Context, own_address: str) -> None:
    """At the sidecar of the workload that is called."""
    snapshot, view, request = context.snapshot, context.view, trail.request
    port = _workload_port(trail, view, request.port)
    ours = [listener for listener in context.config.listeners if listener.direction is Direction.INBOUND]
    made = _mesh_connection(view, request, own_address, port) if request.principal else None
    connection = made or _connection(request, own_address, port)
    opened = dialled_listener((listener for listener in ours if listener.name != VIRTUAL_INBOUND), connection)
    listener = opened or next((listener for listener in ours if listener.name == VIRTUAL_INBOUND), None)
    if listener is None:
        raise trail.end("listener", f"nothing is captured, and nothing listens on port {port}")
    targets = [target for target in view.targets if target.target_port == port]
    causes = [
        cause
        for target in targets
        if (service := snapshot.services.get(target.service)) is not None
        for cause in of_service(service, target.port.number)
    ]
    said = "" if causes else f"no service lists port {port} of this workload"
    _met(trail, listener, said, (*of_sidecar(snapshot, view, port, ingress=True), *causes))
    mode, policies = of_mutual_tls(snapshot, view, port)
    word = "mutual TLS" if request.principal else "TLS" if request.speaks_tls else "plaintext"
    strange = mode is MtlsMode.STRICT and not request.principal
    insists = "; say who calls with --source-principal" if strange else ""
    trail.add("mutual TLS", f"{mode.value}; the caller comes with {word}{insists}", policies)
    _follow_chain(trail, context, listener, connection, own_address)


def _workload_port(trail: Trail, view: ProxyView, port: int) -> int:
    """The workload's port that is meant: its own number, or that of a service of it."""
    if any(target.target_port == port for target in view.targets):
        return port
    found = next((target for target in view.targets if target.port.number == port), None)
    if found is None:
        return port
    trail.add("port", f"port {port} of {found.service.host} is the workload's port {found.target_port}")
    return found.target_port


def _outbound(trail: Trail, context: Context) -> None:
    """At the sidecar of the workload that calls."""
    snapshot, view, request = context.snapshot, context.view, trail.request
    service = _service(snapshot, view, request.host)
    address = request.host if is_address(request.host) else _address(snapshot, view, service)
    connection = _connection(request, address, request.port)
    captured = redirected(view) and not address.startswith("127.")
    listener = outbound_listener(context.config.listeners, connection) if captured else _dialled(context, connection)
    said = "" if captured else "which the application dials itself"
    if view.type is ProxyType.GRPC and service is not None:
        name = f"{service.host}:{request.port}"
        listener = next((made for made in context.config.listeners if made.name == name), None)
        said = "which gRPC itself follows"
    if listener is None:
        raise trail.end("listener", f"calls to {address or request.host} are not captured, and nothing listens there")
    sidecar = of_sidecar(snapshot, view, listener.port)
    _met(trail, listener, said, (*sidecar, *(of_service(service, request.port) if service is not None else ())))
    if service is None and not is_address(request.host):
        hidden = [key for host, keys in snapshot.hosts.items() if host == request.host for key in keys]
        why = "its exportTo or the Sidecar hides it" if hidden else "no service has this host"
        trail.add("service", f"{request.host} is not known to this proxy: {why}", sidecar if hidden else ())
    _follow_chain(trail, context, listener, connection, address)


def _dialled(context: Context, connection: Connection) -> ListenerSpec | None:
    ours = (listener for listener in context.config.listeners if listener.direction is not Direction.INBOUND)
    return dialled_listener((listener for listener in ours if not listener.use_original_dst), connection)


def _service(snapshot: Snapshot, view: ProxyView, host: str) -> Service | None:
    """The service that the proxy knows by a name or an address."""
    services = scope_of(snapshot, view).services
    name = host.lower().rstrip(".")
    for service in services:
        if name in service.vips or name in service_domains(service, view.dns_domain):
            return service
    wild = [service for service in services if service.host.startswith("*") and host_matches(service.host, name)]
    member = [
        s for s in services if s.headless and any(_is_member(d, name) for d in service_domains(s, view.dns_domain))
    ]
    return next(iter((*member, *sorted(wild, key=lambda service: -len(service.host)))), None)


def _is_member(domain: str, name: str) -> bool:
    return domain.startswith("*.") and host_matches(domain, name)


def _address(snapshot: Snapshot, view: ProxyView, service: Service | None) -> str:
    """The address that the name of a service stands for; "" where that is nobody's here."""
    if service is None:
        return ""
    members = (endpoint.address for endpoint in snapshot.endpoints.get(service.key, ())) if service.headless else ()
    return next(_usable((*service.vips, *members), view), "")


def _usable(addresses: tuple[str, ...], view: ProxyView) -> Iterator[str]:
    for text in addresses:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            continue
        first = network.network_address
        if not first.is_unspecified and (view.ipv4 if network.version == 4 else view.ipv6):
            yield str(first)


def _connection(request: Request, address: str, port: int) -> Connection:
    """A connection of somebody who is no sidecar calling another."""
    if request.speaks_tls or request.principal:
        offered = ("h2", "http/1.1") if request.is_http else ()
        return Connection(address, port, request.source, True, request.server_name, offered)
    return Connection(address, port, request.source, protocols=("http/1.1",) if request.is_http else ())


def _mesh_connection(view: ProxyView, request: Request, address: str, port: int) -> Connection:
    """Mutual TLS of a sidecar, which offers what the port is declared to speak (`istiod.resolve.tls.mesh_alpn`)."""
    declared = next((target.port.protocol for target in view.targets if target.target_port == port), Protocol.AUTO)
    offered = ALPN_HTTP2 if declared.is_http2 else ALPN_HTTP1 if declared.is_http else ALPN_TCP
    return Connection(address, port, request.source, True, "", offered)


def _met(trail: Trail, listener: ListenerSpec, said: str, causes: tuple[Cause, ...]) -> None:
    trail.listener = listener.name
    where = f" ({listener.address}:{listener.port})" if listener.port else ""
    trail.add("listener", f"{listener.name}{where}" + (f", {said}" if said else ""), causes)
    if listener.patches:
        said = "patches may change this listener; what they do is not followed here"
        trail.add("patches", said, of_patches(listener.patches))


def _follow_chain(trail: Trail, context: Context, listener: ListenerSpec, connection: Connection, address: str) -> None:
    """The filter chain, what it checks, and its handler."""
    request = trail.request
    chain = find_chain(listener, connection)
    if chain is None:
        raise trail.end("chain", "no filter chain takes such a connection, so it is closed")
    trail.chain = chain.name
    causes = of_config(context.snapshot, chain.config, chain.origin)
    trail.add("chain", _named(chain), causes)
    _handshake(trail, chain, connection, listener)
    facts = Facts(request, address, connection.port, connection.server_name)
    guard(trail, chain.authorization, facts, before_tokens=True, denied=None)
    guard(trail, chain.authorization, facts, before_tokens=False, denied=None)
    match chain.handler:
        case HttpConnection() as http:
            if not request.is_http:
                raise trail.end("protocol", "the chain speaks HTTP, and what comes is not", status=400)
            scheme = "https" if chain.tls is not None else "http"
            seen = request if request.scheme == scheme else _schemed(request, scheme)
            follow_request(trail, context, http, replace(facts, request=seen))
        case TcpProxy() as tcp:
            if chain.sni_cluster:
                context.upstreams.follow(trail, [(connection.server_name, 1)], None)
                return
            if tcp.tunnel is not None:
                trail.add("tunnel", f"bytes travel inside an HTTP request for {tcp.tunnel.target}")
            if any(name in (PASSTHROUGH, BLACK_HOLE) for name, _ in tcp.clusters):
                trail.add(
                    "strangers", "nothing known takes such a connection", of_strangers(context.snapshot, context.view)
                )
            context.upstreams.follow(trail, tcp.clusters, None)


def _schemed(request: Request, scheme: str) -> Request:
    """The same request with the scheme that the proxy sees; the authority stays."""
    headers = request.headers
    if not any(name == "host" for name, _ in headers):
        headers = (*headers, ("host", request.authority))
    return replace(request, scheme=scheme, headers=headers)


def _named(chain: FilterChainSpec) -> str:
    match = chain.match
    words = [
        f"port {match.destination_port}" if match.destination_port else "",
        f"address {', '.join(match.destinations[:4])}" if match.destinations else "",
        f"source {', '.join(match.sources[:4])}" if match.sources else "",
        f"server name {', '.join(match.server_names[:4])}" if match.server_names else "",
        match.transport_protocol,
        f"protocol {', '.join(match.application_protocols)}" if match.application_protocols else "",
    ]
    by = "; ".join(word for word in words if word) or "everything"
    handler = "HTTP" if isinstance(chain.handler, HttpConnection) else "bytes"
    return f"{chain.name or '(no name)'} for {by}: {'TLS ends here, ' if chain.tls is not None else ''}{handler}"


def _handshake(trail: Trail, chain: FilterChainSpec, connection: Connection, listener: ListenerSpec) -> None:
    """What TLS asks of the client."""
    if chain.tls is None:
        if trail.request.speaks_tls and isinstance(chain.handler, HttpConnection):
            raise trail.end("TLS", "the chain expects HTTP in plaintext, and the client begins with TLS")
        return
    if not connection.tls:
        raise trail.end("TLS", "the chain expects TLS, and the client speaks plaintext")
    if chain.tls.require_client_certificate and not trail.request.principal:
        word = "mutual TLS" if listener.direction is Direction.INBOUND else "a client certificate"
        raise trail.end("TLS", f"{word} is required; say who calls with --source-principal")
    allowed, name = chain.tls.san_matches, trail.request.principal
    forms = (name, name.removeprefix(SPIFFE))
    if name and allowed and not any(text_matches(match, form) for match in allowed for form in forms):
        raise trail.end("TLS", f"a certificate of {name} is not among those that are let in")
