"""DestinationRule: what happens to traffic for a service after routing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from math import isqrt
from typing import Annotated

from pydantic import Field

from federation.model.findings import Severity
from istiod.api.fields import Count, Duration, Model, Percent, PercentInt, PolicySelector, Port
from istiod.api.problems import Problem, check_distinct, check_export_to


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


class LoadBalancerSettings(Model):
    """How one endpoint is picked."""

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
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


MAX_MAGLEV_TABLE = 5_000_011
_SUBSET = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")


def validate(rule: DestinationRule) -> Iterator[Problem]:
    """Istio's rules for DestinationRule beyond types."""
    if not rule.host:
        yield Problem("spec.host", "is empty", "name the host of a service")
    yield from _policy(rule.traffic_policy, "spec.trafficPolicy")
    names = ((f"spec.subsets[{index}].name", subset.name) for index, subset in enumerate(rule.subsets))
    yield from check_distinct(names, "subset name")
    yield from check_export_to(rule.export_to)
    for index, subset in enumerate(rule.subsets):
        path = f"spec.subsets[{index}]"
        if not _SUBSET.fullmatch(subset.name):
            yield Problem(f"{path}.name", f"{subset.name!r} is no name", "use letters, digits, '-' and '.'")
        yield from _policy(subset.traffic_policy, f"{path}.trafficPolicy")


def _policy(policy: TrafficPolicy | PortTrafficPolicy | None, path: str) -> Iterator[Problem]:
    if policy is None:
        return
    yield from _balancer(policy.load_balancer, f"{path}.loadBalancer")
    yield from _tls(policy.tls, f"{path}.tls")
    locality = policy.load_balancer.locality_lb_setting if policy.load_balancer else None
    if locality is not None and (locality.failover or locality.failover_priority) and policy.outlier_detection is None:
        yield Problem(
            f"{path}.outlierDetection",
            "is missing, so locality failover has no signal of its own",
            "add outlierDetection",
            "LocalityWithoutOutlierDetection",
            Severity.WARNING,
        )
    yield from _outlier(policy.outlier_detection, f"{path}.outlierDetection")
    pool = policy.connection_pool
    if pool is not None and pool.tcp is not None and pool.tcp.connect_timeout == 0:
        yield Problem(f"{path}.connectionPool.tcp.connectTimeout", "is 0s", "give a duration above 0s")
    if isinstance(policy, TrafficPolicy):
        yield from _tunnel(policy.tunnel, f"{path}.tunnel")
        ports = (
            (f"{path}.portLevelSettings[{at}].port.number", p.port and p.port.number)
            for at, p in enumerate(policy.port_level_settings)
        )
        yield from check_distinct(ports, "port number")
        for index, level in enumerate(policy.port_level_settings):
            if level.port is None:
                yield Problem(f"{path}.portLevelSettings[{index}].port", "is missing", "give port.number")
            yield from _policy(level, f"{path}.portLevelSettings[{index}]")


def _tunnel(tunnel: Tunnel | None, path: str) -> Iterator[Problem]:
    if tunnel is None:
        return
    if tunnel.protocol not in ("CONNECT", "POST"):
        yield Problem(f"{path}.protocol", f"{tunnel.protocol[:80]!r} is unknown", "use CONNECT or POST")
    if not tunnel.target_host or "*" in tunnel.target_host:
        yield Problem(f"{path}.targetHost", f"{tunnel.target_host[:80]!r} is no host", "name one host or address")


def _outlier(detection: OutlierDetection | None, path: str) -> Iterator[Problem]:
    """Envoy refuses durations of zero here. `consecutiveErrors` is deprecated, and nothing follows it in Istio."""
    if detection is None:
        return
    if detection.consecutive_errors is not None:
        yield Problem(
            f"{path}.consecutiveErrors",
            "is deprecated and has no effect",
            "use consecutive5xxErrors or consecutiveGatewayErrors",
            "DeprecatedField",
            Severity.WARNING,
        )
    for name, value in (("interval", detection.interval), ("baseEjectionTime", detection.base_ejection_time)):
        if value == 0:
            yield Problem(f"{path}.{name}", "is 0s", "give a duration above 0s")


def _balancer(settings: LoadBalancerSettings | None, path: str) -> Iterator[Problem]:
    if settings is None:
        return
    if settings.simple is not None and settings.consistent_hash is not None:
        yield Problem(path, "has both simple and consistentHash", "keep one of them")
    hashing = settings.consistent_hash
    if hashing is not None:
        keys = (hashing.http_header_name, hashing.http_cookie, hashing.use_source_ip, hashing.http_query_parameter_name)
        if sum(key is not None for key in keys) != 1:
            yield Problem(
                f"{path}.consistentHash",
                "needs exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName",
                "keep one of them",
            )
        size = hashing.maglev.table_size if hashing.maglev is not None else None
        if size and not _is_table_size(size):
            yield Problem(
                f"{path}.consistentHash.maglev.tableSize",
                f"{size} is no prime number up to {MAX_MAGLEV_TABLE}",
                "leave it out (65537), or use a prime",
            )
    locality = settings.locality_lb_setting
    if locality is not None:
        yield from _locality(locality, f"{path}.localityLbSetting")


def _is_table_size(size: int) -> bool:
    return 1 < size <= MAX_MAGLEV_TABLE and all(size % factor for factor in range(2, isqrt(size) + 1))


def _locality(locality: LocalityLoadBalancerSetting, path: str) -> Iterator[Problem]:
    if locality.distribute and (locality.failover or locality.failover_priority):
        yield Problem(path, "has both distribute and failover", "keep one of them")
    for index, rule in enumerate(locality.distribute):
        total = sum(rule.to.values())
        if total != 100:
            yield Problem(f"{path}.distribute[{index}].to", f"adds up to {total}", "make it 100")
    for index, failover in enumerate(locality.failover):
        if failover.from_ == failover.to:
            yield Problem(
                f"{path}.failover[{index}].to", f"{failover.to!r} is where it fails over from", "name another region"
            )


def _tls(tls: ClientTLSSettings | None, path: str) -> Iterator[Problem]:
    if tls is None:
        return
    files = (tls.client_certificate, tls.private_key)
    if tls.mode is TLSMode.MUTUAL and not tls.credential_name and not all(files):
        yield Problem(
            path, "is MUTUAL without clientCertificate and privateKey, or credentialName", "give the certificate"
        )
    if tls.mode is TLSMode.ISTIO_MUTUAL and (any(files) or tls.ca_certificates or tls.credential_name):
        yield Problem(
            path, "is ISTIO_MUTUAL, which uses the mesh's certificates, and names others", "remove them or use MUTUAL"
        )
    if tls.credential_name and any(files):
        yield Problem(f"{path}.credentialName", "is given together with files", "keep one of them")
