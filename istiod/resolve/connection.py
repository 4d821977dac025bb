"""The two handlers of a filter chain, with the mesh's settings filled in: an HTTP connection manager or a TCP proxy.

Owns what both directions and gateways have in common (names of statistics, claims of certificates). Decides no routing;
logs, traces and metrics are added by `istiod.resolve.telemetry`.
"""

from __future__ import annotations

from federation.model.service import Protocol
from istiod.api.meshconfig import MeshConfig
from istiod.resolve.connection_settings import connection_limits
from istiod.resolve.headers import with_caller, with_headers, with_topology
from istiod.resolve.jwt import jwt_spec
from istiod.resolve.specs.dns import DnsCacheSpec
from istiod.resolve.specs.listener import (
    ChainMatch,
    ClientCert,
    Direction,
    FilterChainSpec,
    HttpConnection,
    TcpProxy,
    TunnelSpec,
)
from istiod.resolve.specs.route import HashPolicy, RouteConfigSpec
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

BLACK_HOLE = "BlackHoleCluster"
PASSTHROUGH = "PassthroughCluster"
LOOKED_UP = "AllowAnyDynamicDNSCluster"  # hosts that nobody declared, by the names that requests ask for

# Ports that a proxy itself listens on at every address: capture, metrics, health. No second listener fits there.
CAPTURE_PORTS = frozenset({15001, 15006})
STATIC_PORTS = frozenset({15020, 15021, 15090})

# What `http_inspector` reports of plaintext connections, and what Istio's clients offer inside mutual TLS.
PLAIN_HTTP = ("http/1.1", "h2c")
MESH_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
MESH_TCP = ("istio-peer-exchange", "istio")
MESH_ANY = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
# What a server of ours answers: the real protocols only, as stock Envoy would believe a private name to be HTTP/1.
SERVER_HTTP = ("h2", "http/1.1")


def plain_http(view: ProxyView) -> tuple[str, ...]:
    """The protocols of `http_inspector` that this class of proxies handles as HTTP."""
    return ("http/1.0", *PLAIN_HTTP) if view.http10 else PLAIN_HTTP


def path_normalization(mesh: MeshConfig) -> str:
    """How paths are normalised before anything matches them; Istio's DEFAULT means BASE."""
    said = mesh.path_normalization.normalization
    return "BASE" if said == "DEFAULT" else said


def inbound_http(
    snapshot: Snapshot, view: ProxyView, port: int, protocol: Protocol, routes: RouteConfigSpec
) -> HttpConnection:
    """The connection manager in front of the application. The caller's certificate is added to `x-forwarded-client-
    cert`.
    """
    connection = HttpConnection(
        stat_prefix=f"inbound_0.0.0.0_{port};",
        routes=routes,
        direction=Direction.INBOUND,
        client_cert=ClientCert.APPEND_FORWARD,
        accept_http10=view.http10,
        grpc_web=protocol is Protocol.GRPC_WEB,
        path_normalization=path_normalization(snapshot.mesh),
        limits=connection_limits(snapshot, view),
        jwt=jwt_spec(snapshot, view),
    )
    return with_caller(connection, snapshot, view)


def outbound_http(
    snapshot: Snapshot, view: ProxyView, address: str, port: int, route: str | RouteConfigSpec, grpc_web: bool = False
) -> HttpConnection:
    """The connection manager for calls of the application, with routes from RDS, or its own."""
    connection = HttpConnection(
        stat_prefix=f"outbound_{address}_{port};",
        routes=route,
        direction=Direction.OUTBOUND,
        server_name="envoy",  # Istio's word for what calls others
        accept_http10=view.http10,
        grpc_web=grpc_web,
        path_normalization=path_normalization(snapshot.mesh),
        limits=connection_limits(snapshot, view),
    )
    return with_headers(connection, snapshot, view)


def gateway_http(snapshot: Snapshot, view: ProxyView, port: int, route: str) -> HttpConnection:
    """The connection manager of an edge: the peer's address is believed, its claims are not."""
    connection = HttpConnection(
        stat_prefix=f"outbound_0.0.0.0_{port};",
        routes=route,
        direction=Direction.OUTBOUND,
        client_cert=ClientCert.SANITIZE_SET,
        use_remote_address=True,
        accept_http10=view.http10,
        path_normalization=path_normalization(snapshot.mesh),
        limits=connection_limits(snapshot, view),
        jwt=jwt_spec(snapshot, view),
    )
    return with_topology(connection, snapshot, view)


def dns_cache(mesh: MeshConfig, view: ProxyView) -> DnsCacheSpec:
    """Names that are looked up as they are asked for, in the same way wherever that is."""
    return DnsCacheSpec(view.ipv4, view.ipv6, mesh.dns_refresh_rate or 60.0)


def tcp_proxy(
    snapshot: Snapshot,
    clusters: tuple[tuple[str, int], ...] | str,
    idle_timeout: float | None = None,
    attempts: int | None = None,
    hash_policy: HashPolicy | None = None,
    tunnel: TunnelSpec | None = None,
    stat_prefix: str = "",
    max_duration: float | None = None,
) -> TcpProxy:
    """Bytes to one upstream by name, or to several by weight."""
    pairs = ((clusters, 1),) if isinstance(clusters, str) else clusters
    return TcpProxy(
        stat_prefix=stat_prefix or (pairs[0][0] if len(pairs) == 1 else "outbound_tcp"),
        clusters=pairs,
        idle_timeout=idle_timeout,
        max_connect_attempts=attempts,
        hash_policy=hash_policy,
        tunnel=tunnel,
        max_duration=max_duration,
    )


def guard_chain(snapshot: Snapshot, name: str, port: int) -> FilterChainSpec:
    """Closes connections that were made to the capture port itself, which would loop."""
    return FilterChainSpec(
        name, ChainMatch(destination_port=port), tcp_proxy(snapshot, BLACK_HOLE, stat_prefix=BLACK_HOLE)
    )
