"""What a sidecar accepts: the listener `virtualInbound` with its chains per workload port.

Input: the workload's ports and the mutual TLS mode of each. Knows nothing of clients. Rules: Istio's inbound chain
matrix (port protocol x PeerAuthentication mode) and its names.

Limit on stock Envoy: on a port of undeclared protocol, HTTP inside mutual TLS is known only by the client's ALPN
(`istio-http/1.1`, `istio-h2`). A client that detected HTTP itself offers `istio`, so such a port handles it as TCP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from federation.model.service import Protocol
from istiod.resolve.authz import guard_of
from istiod.resolve.connection import (
    MESH_ANY,
    MESH_HTTP,
    MESH_TCP,
    guard_chain,
    inbound_http,
    plain_http,
    tcp_proxy,
)
from istiod.resolve.inbound_ports import INBOUND_PASSTHROUGH, InboundPort, inbound_cluster_name, inbound_ports
from istiod.resolve.peerauth import MtlsMode, peer_policies
from istiod.resolve.scope import redirected
from istiod.resolve.server_tls import ending_tls, mesh_tls
from istiod.resolve.specs.listener import (
    ChainMatch,
    Direction,
    FilterChainSpec,
    HttpConnection,
    InspectorSkip,
    ListenerSpec,
    TcpProxy,
)
from istiod.resolve.specs.match import MatchKind, StringMatch
from istiod.resolve.specs.route import (
    RetrySpec,
    RouteAction,
    RouteConfigSpec,
    RouteMatch,
    RouteSpec,
    VirtualHostSpec,
    WeightedCluster,
)
from istiod.resolve.trust import trust_domains
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

VIRTUAL_INBOUND = "virtualInbound"
CAPTURE_PORT = 15006
EVERY_PATH = RouteMatch(StringMatch(MatchKind.PREFIX, "/"))
INBOUND_RETRY = RetrySpec(
    retry_on=("reset-before-request",), attempts=2, previous_hosts=False, host_selection_attempts=0
)


@dataclass(frozen=True, slots=True)
class ChainForm:
    """One row of the matrix: which connections, handled as HTTP or bytes, with our TLS or without. `ends`: TLS of the
    port's own settings ends here.
    """

    transport: str
    alpn: tuple[str, ...]
    http: bool
    mtls: bool
    ends: bool = False


def ending_forms(protocol: Protocol, mode: MtlsMode) -> tuple[ChainForm, ...]:
    """The chains of a port whose Sidecar ends TLS of callers from outside; mutual TLS of the mesh comes first.

    Where mutual TLS is required nobody from outside gets in, and where it is off there is no other TLS.
    """
    ended = ChainForm("tls", (), protocol.is_http, mtls=False, ends=True)
    match mode:
        case MtlsMode.STRICT:
            return chain_forms(protocol, mode, ())
        case MtlsMode.DISABLE:
            return (ended,)
        case _:
            return (*(form for form in chain_forms(protocol, mode, ()) if form.mtls or form.transport != "tls"), ended)


def chain_forms(protocol: Protocol, mode: MtlsMode, plain: tuple[str, ...]) -> tuple[ChainForm, ...]:
    """The chains of a port; `plain` are the HTTP inspector's words that count as HTTP."""
    if protocol.is_http:
        return _HTTP_FORMS[mode]
    if protocol is not Protocol.AUTO:
        return _TCP_FORMS[mode]
    match mode:
        case MtlsMode.STRICT:
            return (ChainForm("tls", MESH_HTTP, True, True), ChainForm("tls", (), False, True))
        case MtlsMode.DISABLE:
            return (ChainForm("raw_buffer", plain, True, False), ChainForm("", (), False, False))
        case _:
            return (
                ChainForm("tls", MESH_HTTP, True, True),
                ChainForm("raw_buffer", plain, True, False),
                ChainForm("tls", MESH_TCP, False, True),
                ChainForm("raw_buffer", (), False, False),
                ChainForm("tls", (), False, False),
            )


_HTTP_FORMS = {
    MtlsMode.PERMISSIVE: (ChainForm("tls", MESH_ANY, True, True), ChainForm("raw_buffer", (), True, False)),
    MtlsMode.STRICT: (ChainForm("tls", (), True, True),),
    MtlsMode.DISABLE: (ChainForm("", (), True, False),),
}
_TCP_FORMS = {
    MtlsMode.PERMISSIVE: (
        ChainForm("tls", MESH_ANY, False, True),
        ChainForm("tls", (), False, False),
        ChainForm("raw_buffer", (), False, False),
    ),
    MtlsMode.STRICT: (ChainForm("tls", (), False, True),),
    MtlsMode.DISABLE: (ChainForm("", (), False, False),),
}


def inbound_listeners(snapshot: Snapshot, view: ProxyView) -> tuple[ListenerSpec, ...]:
    """Everything that a sidecar listens on for its callers: `virtualInbound` where connections are redirected there,
    and the ports that a Sidecar opens itself.
    """
    opened = (_opened(snapshot, view, port) for port in inbound_ports(snapshot, view) if not port.captured)
    return (*((inbound_listener(snapshot, view),) if redirected(view) else ()), *opened)


def _opened(snapshot: Snapshot, view: ProxyView, port: InboundPort) -> ListenerSpec:
    """The listener of a port that callers, or another proxy of the pod, dial themselves."""
    address = port.bind or ("0.0.0.0" if view.ipv4 else "::")
    mode = _mode(snapshot, view, port.number)
    chains = tuple(map(guard_of(snapshot, view).over, _port_chains(snapshot, view, port, mode)))
    return ListenerSpec(
        name=f"{address}_{port.number}",
        address=address,
        port=port.number,
        direction=Direction.INBOUND,
        chains=chains,
        tls_inspector=any(chain.match.transport_protocol == "tls" for chain in chains),
        http_inspector=port.protocol is Protocol.AUTO,
        filters_timeout=snapshot.mesh.protocol_detection_timeout or 0.0,
        continue_on_filters_timeout=True,
        additional_addresses=("::",) if view.ipv4 and view.ipv6 and not port.bind else (),
    )


def inbound_listener(snapshot: Snapshot, view: ProxyView) -> ListenerSpec:
    """`virtualInbound` on 15006: a loop guard, chains for ports nobody declared, and chains per declared port."""
    ports = tuple(port for port in inbound_ports(snapshot, view) if port.captured)
    modes = {port.number: _mode(snapshot, view, port.number) for port in ports}
    chains = list(_passthrough_chains(snapshot, view, set(modes)))
    for port in ports:
        chains += _port_chains(snapshot, view, port, modes[port.number])
    return ListenerSpec(
        name=VIRTUAL_INBOUND,
        address="0.0.0.0" if view.ipv4 else "::",
        port=CAPTURE_PORT,
        direction=Direction.INBOUND,
        chains=(
            guard_chain(snapshot, "virtualInbound-blackhole", CAPTURE_PORT),
            *map(guard_of(snapshot, view).over, chains),
        ),
        original_dst_filter=True,
        tls_inspector=True,
        http_inspector=True,
        skip=_skips(ports, modes),
        filters_timeout=snapshot.mesh.protocol_detection_timeout or 0.0,
        continue_on_filters_timeout=True,
        additional_addresses=("::",) if view.ipv4 and view.ipv6 else (),
    )


def _mode(snapshot: Snapshot, view: ProxyView, port: int) -> MtlsMode:
    return peer_policies(snapshot).mode(view.namespace, view.labels, port)


def _skips(ports: tuple[InboundPort, ...], modes: dict[int, MtlsMode]) -> InspectorSkip:
    """Inspectors wait for the client's bytes, so they are off where no chain needs them: servers may speak first."""
    ending = {port.number for port in ports if port.tls is not None}
    declared = {number for number in modes if not _sniffed(ports, number)}
    plain = {number for number, mode in modes.items() if mode is MtlsMode.DISABLE and number not in ending}
    return InspectorSkip(
        tls_inspector=tuple(sorted(plain | {CAPTURE_PORT})), http_inspector=tuple(sorted(declared | {CAPTURE_PORT}))
    )


def _sniffed(ports: tuple[InboundPort, ...], number: int) -> bool:
    return any(port.number == number and port.protocol is Protocol.AUTO for port in ports)


def _passthrough_chains(snapshot: Snapshot, view: ProxyView, declared: set[int]) -> Iterator[FilterChainSpec]:
    """For ports that no service lists; a port that a policy singles out gets chains of its own."""
    singled = peer_policies(snapshot).singled_out_ports(view.namespace, view.labels)
    for number in (0, *sorted(set(singled) - declared)):
        for form in chain_forms(Protocol.AUTO, _mode(snapshot, view, number), plain_http(view)):
            handler: HttpConnection | TcpProxy
            if form.http:
                name = "virtualInbound-catchall-http"
                routes = _routes(
                    INBOUND_PASSTHROUGH, f"inbound|http|{number}", ":0/*" if not number else f":{number}/*"
                )
                handler = inbound_http(snapshot, view, number, Protocol.AUTO, routes)
            else:
                name = VIRTUAL_INBOUND
                handler = tcp_proxy(snapshot, INBOUND_PASSTHROUGH, stat_prefix=INBOUND_PASSTHROUGH)
            yield _chain(snapshot, view, name, number, form, handler)


def _port_chains(snapshot: Snapshot, view: ProxyView, port: InboundPort, mode: MtlsMode) -> Iterator[FilterChainSpec]:
    cluster = inbound_cluster_name(port.number)
    plain = plain_http(view)
    for form in ending_forms(port.protocol, mode) if port.tls is not None else chain_forms(port.protocol, mode, plain):
        handler: HttpConnection | TcpProxy
        if form.http:
            routes = _routes(cluster, f"inbound|http|{port.service_port}", port.operation, port.protocol)
            handler = inbound_http(snapshot, view, port.number, port.protocol, routes)
        else:
            handler = tcp_proxy(snapshot, cluster, stat_prefix=f"{cluster};")
        chain = _chain(snapshot, view, f"{port.bind or '0.0.0.0'}_{port.number}", port.number, form, handler)
        if form.ends and port.tls is not None:
            chain = replace(chain, tls=ending_tls(snapshot.mesh, view, port.tls, form.http))
        yield chain


def _chain(
    snapshot: Snapshot, view: ProxyView, name: str, port: int, form: ChainForm, handler: HttpConnection | TcpProxy
) -> FilterChainSpec:
    match = ChainMatch(destination_port=port, transport_protocol=form.transport, application_protocols=form.alpn)
    tls = mesh_tls(snapshot.mesh, view, form.http, domains=trust_domains(snapshot).every) if form.mtls else None
    return FilterChainSpec(name, match, handler, tls=tls)


def _routes(cluster: str, host: str, operation: str, protocol: Protocol = Protocol.AUTO) -> RouteConfigSpec:
    """All requests to the application. Streams of gRPC are not repeated: they may have begun to be read."""
    retry = None if protocol in (Protocol.GRPC, Protocol.GRPC_WEB) else INBOUND_RETRY
    action = RouteAction(
        (WeightedCluster(cluster, 100),), timeout=0.0, retry=retry, max_grpc_timeout=0.0, whole_stream=True
    )
    route = RouteSpec("default", EVERY_PATH, action, operation=operation)
    return RouteConfigSpec(
        cluster,
        (VirtualHostSpec(host, ("*",), (route,), include_attempt_count=False),),
        ignore_port_in_host_matching=False,
    )
