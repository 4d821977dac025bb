"""Listeners, filter chains and their filters (Envoy's Listener).

HTTP filters are values of their own; their order is not given here but by the one list in `istiod.encode.filters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from istiod.resolve.specs.route import HashPolicy, RouteConfigSpec
from istiod.resolve.specs.tls import DownstreamTls


class Direction(StrEnum):
    """Envoy's traffic direction, seen from the workload."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"
    UNSPECIFIED = "UNSPECIFIED"


@dataclass(frozen=True, slots=True)
class AccessLogSpec:
    """A log of requests or connections to a file. `format` "" = Istio's default text; `json_format` wins when given."""

    path: str
    format: str = ""
    json_format: tuple[tuple[str, str], ...] = ()
    filter_expression: str = ""  # CEL
    only_no_route: bool = False  # listener logs: only connections without a matching chain


class ClientCert(StrEnum):
    """What happens to `x-forwarded-client-cert`."""

    SANITIZE = "SANITIZE"
    SANITIZE_SET = "SANITIZE_SET"
    APPEND_FORWARD = "APPEND_FORWARD"
    FORWARD_ONLY = "FORWARD_ONLY"


@dataclass(frozen=True, slots=True)
class HttpConnection:
    """An HTTP connection manager. `routes` is a route configuration inline, or the name of one served by RDS.

    Times in seconds, None = Envoy's default. `http1_only`/`http2_only` fix the codec; otherwise it is detected.
    """

    stat_prefix: str
    routes: RouteConfigSpec | str
    direction: Direction
    client_cert: ClientCert = ClientCert.SANITIZE
    set_client_cert_details: bool = False
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
    access_logs: tuple[AccessLogSpec, ...] = ()
    path_normalization: str = (
        "BASE"  # Istio's MeshConfig.pathNormalization words: NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES
    )
    proxyless: bool = False  # for gRPC's own xDS client: router only


@dataclass(frozen=True, slots=True)
class TunnelSpec:
    """Bytes inside an HTTP request to the upstream: CONNECT, or `post`, of `target` (`host:port`)."""

    target: str
    post: bool


@dataclass(frozen=True, slots=True)
class TcpProxy:
    """Bytes to upstreams, as (name, weight) pairs. `idle_timeout` None = Envoy's default, 0 = none."""

    stat_prefix: str
    clusters: tuple[tuple[str, int], ...]
    idle_timeout: float | None = None
    max_connect_attempts: int | None = None
    access_logs: tuple[AccessLogSpec, ...] = ()
    hash_policy: HashPolicy | None = None
    tunnel: TunnelSpec | None = None


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
    sni_cluster: bool = False
    transport_connect_timeout: float | None = None


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
    api: bool = False
