"""What a sidecar accepts: the listener `virtualInbound` with its chains per workload port.

Input: the workload's ports and the mutual TLS mode of each. Knows nothing of clients. Rules: Istio's inbound chain
matrix (port protocol x PeerAuthentication mode) and its names.

Limit on stock Envoy: on a port of undeclared protocol, HTTP inside mutual TLS is known only by the client's ALPN
(`istio-http/1.1`, `istio-h2`). A client that detected HTTP itself offers `istio`, so such a port handles it as TCP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from federation.model.service import Protocol
from istiod.resolve.connection import (
    MESH_ANY,
    MESH_HTTP,
    MESH_TCP,
    SERVER_HTTP,
    guard_chain,
    inbound_http,
    plain_http,
    tcp_proxy,
)
from istiod.resolve.inbound_ports import INBOUND_PASSTHROUGH, InboundPort, inbound_cluster_name, inbound_ports
from istiod.resolve.peerauth import MtlsMode, peer_policies
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
from istiod.resolve.specs.tls import DownstreamTls, SecretRef
from istiod.resolve.tls import ROOTS, WORKLOAD_CERTIFICATE, secret_source
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
    """One row of the matrix: which connections, handled as HTTP or bytes, with our TLS or without."""

    transport: str
    alpn: tuple[str, ...]
    http: bool
    mtls: bool


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


def inbound_listener(snapshot: Snapshot, view: ProxyView) -> ListenerSpec:
    """`virtualInbound` on 15006: a loop guard, chains for ports nobody declared, and chains per declared port."""
    ports = inbound_ports(snapshot, view)
    modes = {port.number: _mode(snapshot, view, port.number) for port in ports}
    chains = [guard_chain(snapshot, "virtualInbound-blackhole", CAPTURE_PORT)]
    chains += _passthrough_chains(snapshot, view, set(modes))
    for port in ports:
        chains += _port_chains(snapshot, view, port, modes[port.number])
    return ListenerSpec(
        name=VIRTUAL_INBOUND,
        address="0.0.0.0" if view.ipv4 else "::",
        port=CAPTURE_PORT,
        direction=Direction.INBOUND,
        chains=tuple(chains),
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
    return InspectorSkip(
        tls_inspector=tuple(
            sorted(number for number, mode in modes.items() if mode is MtlsMode.DISABLE and not _sniffed(ports, number))
        ),
        http_inspector=tuple(sorted(number for number in modes if not _sniffed(ports, number))),
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
            yield _chain(view, name, number, form, handler)


def _port_chains(snapshot: Snapshot, view: ProxyView, port: InboundPort, mode: MtlsMode) -> Iterator[FilterChainSpec]:
    cluster = inbound_cluster_name(port.number)
    for form in chain_forms(port.protocol, mode, plain_http(view)):
        handler: HttpConnection | TcpProxy
        if form.http:
            routes = _routes(cluster, f"inbound|http|{port.service_port}", port.operation)
            handler = inbound_http(snapshot, view, port.number, port.protocol, routes)
        else:
            handler = tcp_proxy(snapshot, cluster, stat_prefix=f"{cluster};")
        yield _chain(view, f"0.0.0.0_{port.number}", port.number, form, handler)


def _chain(
    view: ProxyView, name: str, port: int, form: ChainForm, handler: HttpConnection | TcpProxy
) -> FilterChainSpec:
    match = ChainMatch(destination_port=port, transport_protocol=form.transport, application_protocols=form.alpn)
    return FilterChainSpec(name, match, handler, tls=server_tls(view, form.http) if form.mtls else None)


def server_tls(view: ProxyView, http: bool) -> DownstreamTls:
    """The mesh's server side: our certificate, the caller's is required. ALPN holds real protocols only."""
    source = secret_source(view)
    return DownstreamTls(
        certificates=(SecretRef(WORKLOAD_CERTIFICATE, source),),
        roots=SecretRef(ROOTS, source),
        require_client_certificate=True,
        alpn=SERVER_HTTP if http else (),
    )


def _routes(cluster: str, host: str, operation: str) -> RouteConfigSpec:
    action = RouteAction(
        (WeightedCluster(cluster, 100),), timeout=0.0, retry=INBOUND_RETRY, max_grpc_timeout=0.0, upgrades=()
    )
    route = RouteSpec("default", EVERY_PATH, action, operation=operation)
    return RouteConfigSpec(
        cluster,
        (VirtualHostSpec(host, ("*",), (route,), include_attempt_count=False),),
        ignore_port_in_host_matching=False,
    )
