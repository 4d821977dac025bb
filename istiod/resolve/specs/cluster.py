"""Upstreams (Envoy's Cluster)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from istiod.resolve.specs.dns import DnsCacheSpec
from istiod.resolve.specs.endpoints import EndpointsSpec
from istiod.resolve.specs.patch import PatchSpec
from istiod.resolve.specs.tls import UpstreamTls


class Discovery(StrEnum):
    """How Envoy learns the hosts."""

    EDS = "EDS"
    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    ORIGINAL_DST = "ORIGINAL_DST"
    DYNAMIC = "DYNAMIC"  # the name that a request or connection asks for, looked up when it is asked for


class LbPolicy(StrEnum):
    """The balancer inside one locality."""

    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    RING_HASH = "RING_HASH"
    MAGLEV = "MAGLEV"
    CLUSTER_PROVIDED = "CLUSTER_PROVIDED"


@dataclass(frozen=True, slots=True)
class SlowStart:
    """Warm-up of new hosts: `window` seconds from `minimum_percent` of the weight, along a curve of `aggression`."""

    window: float
    minimum_percent: float | None = None
    aggression: float | None = None


@dataclass(frozen=True, slots=True)
class LbSpec:
    """Balancing. `panic_threshold` percent of healthy hosts below which health is ignored (None = Envoy's 50).

    `locality_weighted` turns locality weights on. `update_merge_window` seconds (None = Envoy's 1 s).
    """

    policy: LbPolicy
    slow_start: SlowStart | None = None
    ring_minimum: int | None = None
    ring_maximum: int | None = None
    maglev_table: int | None = None
    locality_weighted: bool = False
    panic_threshold: float | None = None
    update_merge_window: float | None = None
    close_connections_on_host_set_change: bool = False


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    """Circuit breaker thresholds; None = no limit (the maximum is written). `retry_budget_percent` replaces
    `max_retries`.
    """

    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_retries: int | None = None
    retry_budget_percent: float | None = None
    min_retry_concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class OutlierSpec:
    """Passive health checking. A threshold of 0 switches that detector off, None leaves Envoy's default."""

    consecutive_5xx: int | None = None
    consecutive_gateway_failure: int | None = None
    consecutive_local_origin_failure: int | None = None
    split_external_local_origin_errors: bool = False
    interval: float | None = None
    base_ejection_time: float | None = None
    max_ejection_time: float | None = None
    max_ejection_percent: int | None = None


@dataclass(frozen=True, slots=True)
class HealthCheckSpec:
    """Active HTTP checks against each host (its `health_check_port`). Times in seconds; `no_traffic_interval` is for
    upstreams that nobody has called yet.
    """

    path: str
    interval: float
    no_traffic_interval: float
    timeout: float
    unhealthy_threshold: int
    healthy_threshold: int
    host: str = ""
    http2: bool = False


class HttpVersion(StrEnum):
    """Which HTTP the upstream connection speaks."""

    NONE = "none"  # not an HTTP upstream
    HTTP1 = "http1"
    HTTP2 = "http2"
    DOWNSTREAM = "downstream"  # the same as the client's


@dataclass(frozen=True, slots=True)
class HttpUpstream:
    """HTTP options of the connection pool. Times in seconds."""

    version: HttpVersion
    max_requests_per_connection: int | None = None
    max_concurrent_streams: int | None = None
    keepalive_interval: float | None = None  # HTTP/2 pings: how often, and how long an answer may take
    keepalive_timeout: float | None = None
    idle_timeout: float | None = None
    max_connection_duration: float | None = None
    auto_sni: bool = False
    auto_san_validation: bool = False
    preserve_header_case: bool = False


@dataclass(frozen=True, slots=True)
class TcpKeepalive:
    """Socket keep-alive. Times in whole seconds."""

    probes: int | None = None
    time: int | None = None
    interval: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceRef:
    """The service an upstream stands for, for telemetry metadata."""

    host: str
    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One upstream.

    `tls` with `auto_mtls` applies only to hosts marked `mtls` (others get plaintext); without it, to every host.
    `endpoints` is for STATIC and DNS discovery; EDS gets them as a resource of the same name.
    `bind_addresses` are the source addresses of upstream connections, one of each family; none = any.
    `config` is the path-like name of the DestinationRule behind it
    (`/apis/networking.istio.io/v1/namespaces/ns/destination-rule/name`).
    """

    name: str
    discovery: Discovery
    connect_timeout: float
    lb: LbSpec
    http: HttpUpstream
    breakers: BreakerSpec | None = None
    outlier: OutlierSpec | None = None
    tls: UpstreamTls | None = None
    auto_mtls: bool = False
    proxy_protocol: str = ""  # "", "V1", "V2"
    endpoints: EndpointsSpec | None = None
    health_checks: tuple[HealthCheckSpec, ...] = ()
    ignore_health_on_host_removal: bool = False
    close_connections_on_host_health_failure: bool = False
    keepalive: TcpKeepalive | None = None
    bind_addresses: tuple[str, ...] = ()
    dns_refresh_rate: float | None = None
    dns_ipv4_only: bool = True
    alt_stat_name: str = ""
    services: tuple[ServiceRef, ...] = ()
    external: bool = False  # outside the mesh, where nobody is told who calls
    subset: str = ""
    config: str = ""
    cleanup_interval: float | None = None  # ORIGINAL_DST
    original_dst_port: int = 0  # ORIGINAL_DST: dial this port instead of the original one
    dns_cache: DnsCacheSpec | None = None  # DYNAMIC
    unverified: bool = False  # DYNAMIC: names of servers need not be verified
    patches: tuple[PatchSpec, ...] = ()
