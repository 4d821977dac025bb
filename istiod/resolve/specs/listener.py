"""Listeners, filter chains and their filters (Envoy's Listener).

HTTP filters are values of their own; their order is not given here but by the one list in `istiod.encode.filters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from istiod.resolve.specs.authz import NO_AUTHORIZATION, Authorization
from istiod.resolve.specs.dns import DnsCacheSpec, SniLookup
from istiod.resolve.specs.jwt import JwtSpec
from istiod.resolve.specs.patch import PatchSpec
from istiod.resolve.specs.route import HashPolicy, RouteConfigSpec
from istiod.resolve.specs.telemetry import AccessLogSpec, PeerExchange, TracingSpec
from istiod.resolve.specs.tls import DownstreamTls


class Direction(StrEnum):
    """Envoy's traffic direction, seen from the workload."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"
    UNSPECIFIED = "UNSPECIFIED"


class ClientCert(StrEnum):
    """What happens to `x-forwarded-client-cert`."""

    SANITIZE = "SANITIZE"
    SANITIZE_SET = "SANITIZE_SET"
    APPEND_FORWARD = "APPEND_FORWARD"
    FORWARD_ONLY = "FORWARD_ONLY"
    ALWAYS_FORWARD_ONLY = "ALWAYS_FORWARD_ONLY"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection manager keeps to, over its other settings. Times in seconds, windows in bytes, None = not said.

    `underscores` and `escaped_slashes` are Envoy's words for what is done with such headers and paths, "" = not said.
    """

    idle_timeout: float | None = None
    max_duration: float | None = None
    drain_timeout: float | None = None
    request_timeout: float | None = None
    request_headers_timeout: float | None = None
    stream_idle_timeout: float | None = None
    max_stream_duration: float | None = None
    max_concurrent_streams: int | None = None
    stream_window: int | None = None
    connection_window: int | None = None
    underscores: str = ""
    merge_slashes: bool | None = None
    escaped_slashes: str = ""


NO_LIMITS = ConnectionLimits()


@dataclass(frozen=True, slots=True)
class HttpConnection:
    """An HTTP connection manager. `routes` is a route configuration inline, or the name of one served by RDS.

    Times in seconds, None = Envoy's default. `http1_only`/`http2_only` fix the codec; otherwise it is detected.
    """

    stat_prefix: str
    routes: RouteConfigSpec | str
    direction: Direction
    client_cert: ClientCert = ClientCert.SANITIZE
    client_cert_parts: tuple[str, ...] = ()  # of the peer's certificate: subject, uri, dns, cert, chain
    use_remote_address: bool = False
    trusted_hops: int = 0
    stream_idle_timeout: float | None = 0.0
    idle_timeout: float | None = None
    request_timeout: float | None = None
    max_request_headers_kb: int | None = None
    accept_http10: bool = False
    preserve_header_case: bool = False
    http3: bool = False
    grpc_web: bool = False
    server_name: str = "istio-envoy"
    server_untouched: bool = False  # leave the application's `server` header alone
    request_ids: bool = True
    debug_headers: bool = True  # x-envoy-… about what the proxy did
    forwarded_port: bool = False
    dns_cache: DnsCacheSpec | None = None  # look up hosts for upstreams that want it
    access_logs: tuple[AccessLogSpec, ...] = ()
    tracing: TracingSpec | None = None
    peers: PeerExchange = PeerExchange.NONE
    path_normalization: str = (
        "BASE"  # Istio's MeshConfig.pathNormalization words: NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES
    )
    limits: ConnectionLimits = NO_LIMITS
    jwt: JwtSpec | None = None
    authorization: Authorization = NO_AUTHORIZATION
    proxyless: bool = False  # for gRPC's own xDS client: router only


@dataclass(frozen=True, slots=True)
class TunnelSpec:
    """Bytes inside an HTTP request to the upstream: CONNECT, or `post`, of `target` (`host:port`)."""

    target: str
    post: bool


@dataclass(frozen=True, slots=True)
class TcpProxy:
    """Bytes to upstreams, as (name, weight) pairs. `idle_timeout` None = Envoy's default, 0 = none; `max_duration` ends
    connections.
    """

    stat_prefix: str
    clusters: tuple[tuple[str, int], ...]
    idle_timeout: float | None = None
    max_connect_attempts: int | None = None
    access_logs: tuple[AccessLogSpec, ...] = ()
    hash_policy: HashPolicy | None = None
    tunnel: TunnelSpec | None = None
    max_duration: float | None = None
    after_handshake: bool = False  # no upstream is dialled before the client's TLS is done


@dataclass(frozen=True, slots=True)
class ChainMatch:
    """Which connections a chain takes; empty parts match all. Port 0 = any. Prefixes are CIDRs."""

    destination_port: int = 0
    destinations: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""  # "tls", "raw_buffer"
    application_protocols: tuple[str, ...] = ()


MATCH_ALL = ChainMatch()


@dataclass(frozen=True, slots=True)
class FilterChainSpec:
    """One chain: a match, TLS or none, and what handles the bytes. `sni_cluster` picks the upstream by server name
    first.
    """

    name: str
    match: ChainMatch
    handler: HttpConnection | TcpProxy
    tls: DownstreamTls | None = None
    authorization: Authorization = NO_AUTHORIZATION  # of bytes; requests are checked by their connection manager
    sni_cluster: bool = False
    sni_lookup: SniLookup | None = None
    transport_connect_timeout: float | None = None
    config: str = ""  # for people, never encoded: the VirtualService behind it, and which field
    origin: str = ""


@dataclass(frozen=True, slots=True)
class InspectorSkip:
    """Listener filters that must not wait for bytes on these destination ports (protocols where the server speaks
    first).
    """

    tls_inspector: tuple[int, ...] = ()
    http_inspector: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """One listener. `port` 0 with a path-like `address` is a unix socket; `api` marks gRPC's own xDS client
    listeners.
    """

    name: str
    address: str
    port: int
    direction: Direction
    chains: tuple[FilterChainSpec, ...]
    default_chain: FilterChainSpec | None = None
    bind_to_port: bool = True
    use_original_dst: bool = False
    original_dst_filter: bool = False
    tls_inspector: bool = False
    http_inspector: bool = False
    proxy_protocol_filter: bool = False
    skip: InspectorSkip = InspectorSkip()
    filters_timeout: float | None = None  # 0 = wait for ever
    continue_on_filters_timeout: bool = False
    additional_addresses: tuple[str, ...] = ()
    access_logs: tuple[AccessLogSpec, ...] = ()
    exact_balance: bool = False
    buffer_limit: int | None = None  # bytes of a connection, None = Envoy's default
    api: bool = False
    patches: tuple[PatchSpec, ...] = ()
