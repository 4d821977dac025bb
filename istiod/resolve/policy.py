"""The traffic policy in force for one port and subset of a service, converted to upstream settings.

Rules: DestinationRule reference (a port-level policy replaces all others for its port, a subset's overrides field by
field); where all are silent, `istiod.resolve.defaults` speaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from federation.model.service import Protocol, Service
from istiod.api.destinationrule import (
    ConnectionPoolSettings,
    H2Upgrade,
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    SimpleLB,
    TLSMode,
    TrafficPolicy,
)
from istiod.api.meshconfig import MeshConfig
from istiod.resolve.defaults import Profile
from istiod.resolve.locality import NO_POLICY, TRAFFIC_DISTRIBUTION, LocalityPolicy
from istiod.resolve.specs.cluster import (
    BreakerSpec,
    HttpUpstream,
    HttpVersion,
    LbPolicy,
    LbSpec,
    OutlierSpec,
    SlowStart,
    TcpKeepalive,
)

NO_TRAFFIC_POLICY = TrafficPolicy()


def effective_policy(
    top: TrafficPolicy | None, subset: TrafficPolicy | None, port: int, mesh: TrafficPolicy | None = None
) -> TrafficPolicy:
    """One policy out of a rule's top level, a subset's and the port levels of both.

    A port level replaces all other settings of its own level, but for the tunnel, which it cannot name. What of a
    subset is said overrides the top level, with its port level whole. `mesh` (`MeshConfig.defaultTrafficPolicy`)
    gives connection pool and outlier detection where the top level is silent.
    """
    base = _at_port(top, port)[0] or NO_TRAFFIC_POLICY
    if mesh is not None:
        silent = {name: getattr(mesh, name) for name in _OF_MESH if getattr(base, name) is None}
        base = base.model_copy(update=silent)
    over, whole = _at_port(subset, port)
    if over is None:
        return base
    said = {name: value for name in type(over).model_fields if (value := getattr(over, name)) is not None}
    said.pop("port_level_settings")
    return base.model_copy(update={**(dict.fromkeys(_OF_PORT) if whole else {}), **said})


_OF_PORT = ("load_balancer", "connection_pool", "outlier_detection", "tls")
_OF_MESH = ("connection_pool", "outlier_detection")


def _at_port(policy: TrafficPolicy | None, port: int) -> tuple[TrafficPolicy | None, bool]:
    """What a policy says of one port, and whether that is its port level's word."""
    if policy is None:
        return None, False
    for level in policy.port_level_settings:
        if level.port is not None and level.port.number == port:
            return TrafficPolicy(tunnel=policy.tunnel, **{name: getattr(level, name) for name in _OF_PORT}), True
    return policy, False


def said_tls_mode(top: TrafficPolicy | None, subset: TrafficPolicy | None, port: int) -> TLSMode | None:
    """The TLS mode that a rule names for a port: unlike other settings, a port level without one inherits it."""
    for policy in (subset, top):
        at_port, _ = _at_port(policy, port)
        for said in (at_port, policy):
            if said is not None and said.tls is not None:
                return said.tls.mode
    return None


def outlier_of(policy: TrafficPolicy, profile: Profile) -> OutlierSpec | None:
    """Passive health checking: what the user said (`consecutiveErrors` has no effect), else the profile's."""
    said = policy.outlier_detection
    if said is None:
        return profile.outlier
    return OutlierSpec(
        consecutive_5xx=said.consecutive_5xx_errors,
        consecutive_gateway_failure=said.consecutive_gateway_errors,
        consecutive_local_origin_failure=said.consecutive_local_origin_failures or None,
        split_external_local_origin_errors=bool(said.split_external_local_origin_errors),
        interval=said.interval,
        base_ejection_time=said.base_ejection_time,
        max_ejection_percent=said.max_ejection_percent or None,
    )


def locality_of(
    policy: TrafficPolicy, service: Service, mesh: MeshConfig, outlier: OutlierSpec | None
) -> LocalityPolicy:
    """Which locality setting applies: the rule's, the service's traffic distribution, the mesh's; in that order.

    Failover needs outlier detection, else nothing would tell that a tier is dead.
    """
    said = policy.load_balancer.locality_lb_setting if policy.load_balancer else None
    if said is None and service.traffic_distribution in TRAFFIC_DISTRIBUTION:
        return LocalityPolicy(failover_priority=TRAFFIC_DISTRIBUTION[service.traffic_distribution])
    return _locality(said if said is not None else mesh.locality_lb_setting, outlier is not None)


def _locality(said: LocalityLoadBalancerSetting | None, can_fail_over: bool) -> LocalityPolicy:
    if said is None:
        return LocalityPolicy(by_locality=can_fail_over)
    if said.enabled is False:
        return NO_POLICY
    if said.distribute:
        rules = tuple((rule.from_, tuple(rule.to.items())) for rule in said.distribute)
        return LocalityPolicy(distribute=rules)
    if not can_fail_over:
        return NO_POLICY
    return LocalityPolicy(
        by_locality=not said.failover_priority or bool(said.failover),
        failover=tuple((rule.from_, rule.to) for rule in said.failover or ()),
        failover_priority=tuple(said.failover_priority or ()),
    )


@dataclass(frozen=True, slots=True)
class Balancing:
    """Load balancing of one upstream; `original_dst` is the PASSTHROUGH balancer."""

    lb: LbSpec
    original_dst: bool = False


_SIMPLE = {
    SimpleLB.ROUND_ROBIN: LbPolicy.ROUND_ROBIN,
    SimpleLB.RANDOM: LbPolicy.RANDOM,
}


def balancing_of(
    policy: TrafficPolicy, locality: LocalityPolicy, outlier: OutlierSpec | None, profile: Profile
) -> Balancing:
    """The balancer of one upstream, with panic threshold and merge window."""
    said = policy.load_balancer
    lb = LbSpec(
        LbPolicy.LEAST_REQUEST,
        locality_weighted=locality.weighted or (profile.outlier is not None and locality.by_locality),
        panic_threshold=_panic(policy.outlier_detection, outlier, profile),
        update_merge_window=profile.update_merge_window,
    )
    if said is None:
        return Balancing(lb)
    if said.consistent_hash is not None:
        return Balancing(_hashed(lb, said))
    if said.simple is SimpleLB.PASSTHROUGH:
        return Balancing(replace(lb, policy=LbPolicy.CLUSTER_PROVIDED, locality_weighted=False), original_dst=True)
    simple = _SIMPLE.get(said.simple, LbPolicy.LEAST_REQUEST) if said.simple else LbPolicy.LEAST_REQUEST
    return Balancing(
        replace(lb, policy=simple, slow_start=_slow_start(said) if simple is not LbPolicy.RANDOM else None)
    )


def _panic(said: OutlierDetection | None, outlier: OutlierSpec | None, profile: Profile) -> float | None:
    if said is not None and said.min_health_percent:
        return float(said.min_health_percent)
    return profile.panic_threshold if outlier is not None else None


def _hashed(lb: LbSpec, said: LoadBalancerSettings) -> LbSpec:
    hashing = said.consistent_hash
    assert hashing is not None
    if hashing.maglev is not None:
        return replace(lb, policy=LbPolicy.MAGLEV, maglev_table=hashing.maglev.table_size)
    ring = hashing.ring_hash.minimum_ring_size if hashing.ring_hash else hashing.minimum_ring_size
    return replace(lb, policy=LbPolicy.RING_HASH, ring_minimum=ring or 1024)


def _slow_start(said: LoadBalancerSettings) -> SlowStart | None:
    if said.warmup is not None and said.warmup.duration:
        minimum = said.warmup.minimum_percent
        return SlowStart(said.warmup.duration, 10.0 if minimum is None else minimum, said.warmup.aggression)
    if said.warmup_duration_secs:
        return SlowStart(said.warmup_duration_secs, 10.0)
    return None


def breakers_of(pool: ConnectionPoolSettings | None, policy: TrafficPolicy, profile: Profile) -> BreakerSpec:
    """Circuit breaker thresholds; unlimited where nobody set one."""
    base = profile.breakers
    if policy.retry_budget is not None:
        base = replace(
            base,
            max_retries=None,
            retry_budget_percent=policy.retry_budget.percent,
            min_retry_concurrency=policy.retry_budget.min_retry_concurrency,
        )
    if pool is None:
        return base
    tcp, http = pool.tcp, pool.http
    return replace(
        base,
        max_connections=(tcp.max_connections if tcp else None) or None,
        max_pending_requests=(http.http1_max_pending_requests if http else None) or None,
        max_requests=(http.http2_max_requests if http else None) or None,
        max_retries=(http.max_retries if http else None) or base.max_retries,
    )


def upgrades_http(pool: ConnectionPoolSettings | None, default: bool) -> bool:
    """Whether HTTP/2 is spoken to an HTTP/1 port inside the mesh (`h2UpgradePolicy`)."""
    http = pool.http if pool else None
    if http is None or http.h2_upgrade_policy is H2Upgrade.DEFAULT:
        return default
    return http.h2_upgrade_policy is H2Upgrade.UPGRADE


def http_of(pool: ConnectionPoolSettings | None, protocol: Protocol, upgrade: bool = False) -> HttpUpstream:
    """HTTP options of the pool; `upgrade` speaks HTTP/2 to an HTTP/1 port."""
    http, tcp = (pool.http, pool.tcp) if pool else (None, None)
    version = _version(protocol, upgrade)
    duration, idle = (tcp.max_connection_duration, tcp.idle_timeout) if tcp else (None, None)
    if http is None:
        return HttpUpstream(version, idle_timeout=idle, max_connection_duration=duration)
    if http.use_client_protocol and protocol.is_http:
        version = HttpVersion.DOWNSTREAM
    return HttpUpstream(
        version,
        max_requests_per_connection=http.max_requests_per_connection or None,
        max_concurrent_streams=http.max_concurrent_streams or None,
        keepalive_interval=http.http2_keep_alive.interval if http.http2_keep_alive else None,
        keepalive_timeout=http.http2_keep_alive.timeout if http.http2_keep_alive else None,
        idle_timeout=idle if http.idle_timeout is None else http.idle_timeout,
        max_connection_duration=duration,
    )


def _version(protocol: Protocol, upgrade: bool) -> HttpVersion:
    if protocol.is_http2:
        return HttpVersion.HTTP2
    if protocol.is_http:
        return HttpVersion.HTTP2 if upgrade else HttpVersion.HTTP1
    return HttpVersion.DOWNSTREAM if protocol is Protocol.AUTO else HttpVersion.NONE


def mesh_pool(mesh: MeshConfig) -> ConnectionPoolSettings | None:
    """The pool of `MeshConfig.defaultTrafficPolicy`, which holds where no rule can say anything."""
    return mesh.default_traffic_policy.connection_pool if mesh.default_traffic_policy is not None else None


def connect_timeout_of(pool: ConnectionPoolSettings | None, mesh: MeshConfig, default: float = 10.0) -> float:
    """Seconds that a connection to an upstream may take to come about: the pool's word, else the mesh's."""
    said = pool.tcp.connect_timeout if pool is not None and pool.tcp is not None else None
    return said or mesh.connect_timeout or default


def keepalive_of(pool: ConnectionPoolSettings | None, mesh: MeshConfig) -> TcpKeepalive | None:
    """TCP keep-alive of upstream connections: the pool's, else the mesh's."""
    said = (pool.tcp.tcp_keepalive if pool and pool.tcp else None) or mesh.tcp_keepalive
    if said is None:
        return None
    return TcpKeepalive(said.probes or None, _seconds(said.time), _seconds(said.interval))


def _seconds(value: float | None) -> int | None:
    return int(value) if value else None
