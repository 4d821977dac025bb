"""DestinationRule: what happens to traffic for a service after routing. Istio's rules are in `istiod.api.rules`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from istiod.api.fields import Count, Duration, Model, Percent, PercentInt, PolicySelector, Port


class SimpleLB(StrEnum):
    """Balancers without parameters."""

    UNSPECIFIED = "UNSPECIFIED"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    LEAST_CONN = "LEAST_CONN"


class CookieAttribute(Model):
    """An attribute of a generated cookie."""

    name: str
    value: str = ""


class HTTPCookie(Model):
    """Hash by a cookie; with `ttl` it is made where it is missing."""

    name: str
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class RingHash(Model):
    """Ring hash parameters."""

    minimum_ring_size: Annotated[int, Field(ge=0, le=8_388_608)] = 1024  # Envoy's bounds


class MagLev(Model):
    """Maglev parameters; the table size is prime."""

    table_size: Annotated[int, Field(ge=1, le=5_000_011)] = 65537


class ConsistentHashLB(Model):
    """Session affinity by one property of the request."""

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None
    minimum_ring_size: Count = 0


class Distribute(Model):
    """Shares of localities, in percent, for clients in `from`."""

    from_: str = Field(alias="from")
    to: dict[str, PercentInt] = {}


class Failover(Model):
    """The region that takes over for `from`."""

    from_: str = Field(alias="from")
    to: str


class LocalityLoadBalancerSetting(Model):
    """Balancing between localities."""

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


class WarmupConfiguration(Model):
    """Slow start of new endpoints."""

    duration: Duration
    minimum_percent: Percent | None = None
    aggression: Annotated[float, Field(ge=1)] | None = None


class ZoneAwareLoadBalancerSetting(Model):
    """Endpoints by zone, as many in each as there are clients; failover between regions."""

    enabled: bool | None = None
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    min_cluster_size: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None


class LoadBalancerSettings(Model):
    """How one endpoint is picked."""

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup_duration_secs: Duration | None = None
    warmup: WarmupConfiguration | None = None


class TcpKeepalive(Model):
    """Socket keep-alive."""

    probes: Count = 0
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Model):
    """Connection limits and timeouts."""

    max_connections: Count = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class H2Upgrade(StrEnum):
    """Whether HTTP/1.1 is carried as HTTP/2 between sidecars."""

    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class Http2KeepAlive(Model):
    """Pings that find out whether an HTTP/2 connection still lives. Seconds."""

    interval: Duration | None = None
    timeout: Duration | None = None


class HTTPSettings(Model):
    """Limits and options of HTTP pools."""

    http1_max_pending_requests: Count = 0
    http2_max_requests: Count = 0
    max_requests_per_connection: Count = 0
    max_retries: Count = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: H2Upgrade = H2Upgrade.DEFAULT
    use_client_protocol: bool = False
    max_concurrent_streams: Count = 0
    http2_keep_alive: Http2KeepAlive | None = Field(default=None, alias="http2KeepAlive")


class ConnectionPoolSettings(Model):
    """Connection pools."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Model):
    """Passive health checking."""

    consecutive_errors: Count | None = None
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: Count | None = None
    consecutive_gateway_errors: Count | None = None
    consecutive_5xx_errors: Count | None = Field(default=None, alias="consecutive5xxErrors")
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: PercentInt | None = None
    min_health_percent: PercentInt | None = None
    outlier_detection_http_error_codes: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()


class TLSMode(StrEnum):
    """How connections to the upstream are secured."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientTLSSettings(Model):
    """TLS towards the upstream."""

    mode: TLSMode = TLSMode.DISABLE
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None
    ca_crl: str = ""


class PortSelector(Model):
    """A port by number."""

    number: Port


class PortTrafficPolicy(Model):
    """Policy of one port; replaces all others there."""

    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class Tunnel(Model):
    """Tunnel TCP in HTTP CONNECT or POST."""

    protocol: str = "CONNECT"
    target_host: str
    target_port: Port


class ProxyProtocolVersion(StrEnum):
    """HAProxy's PROXY protocol."""

    V1 = "V1"
    V2 = "V2"


class ProxyProtocol(Model):
    """Send the PROXY protocol to the upstream."""

    version: ProxyProtocolVersion = ProxyProtocolVersion.V1


class RetryBudget(Model):
    """Concurrent retries as a share of requests."""

    percent: Percent = 20.0
    min_retry_concurrency: Count = 3
    budget_interval: Duration | None = None


class TrafficPolicy(Model):
    """Everything that can be said about traffic to a service or subset."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: Tunnel | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Model):
    """A named part of the endpoints."""

    name: str
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRule(Model):
    """networking.istio.io DestinationRule."""

    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: PolicySelector | None = None
