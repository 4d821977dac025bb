"""Upstreams -> Cluster."""

from __future__ import annotations

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import RoutingPriority, TransportSocket
from envoy.config.core.v3.health_check_pb2 import HealthCheck
from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig
from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport,
)
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from envoy.type.v3.http_pb2 import CodecClientType

from istiod.encode.cache import encoded
from istiod.encode.dynamic_dns import dynamic_cluster
from istiod.encode.endpoints import assignment
from istiod.encode.patch_clusters import patch_cluster
from istiod.encode.resource import CLUSTER, Resource, frame_resource
from istiod.encode.tls import raw_socket, upstream_socket
from istiod.encode.wire import ads_source, duration, istio_metadata, pack, preserved_case
from istiod.resolve.specs.cluster import (
    BreakerSpec,
    ClusterSpec,
    Discovery,
    HealthCheckSpec,
    HttpUpstream,
    HttpVersion,
    LbPolicy,
    LbSpec,
    OutlierSpec,
)

UNLIMITED = (1 << 32) - 1
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@encoded(20_000)
def encode_cluster(spec: ClusterSpec) -> Resource:
    """One upstream as a resource."""
    message = cluster(spec)
    done = patch_cluster(message, spec.patches) if spec.patches else frozenset()
    return frame_resource(CLUSTER, message.name, message.SerializeToString(deterministic=True), done)


def cluster(spec: ClusterSpec) -> Cluster:
    """The message itself."""
    result = Cluster(name=spec.name, alt_stat_name=spec.alt_stat_name)
    result.connect_timeout.CopyFrom(duration(spec.connect_timeout))
    _discovery(result, spec)
    _balancing(result, spec.lb)
    _http(result, spec.http)
    _breakers(result, spec.breakers)
    if spec.outlier is not None:
        _outlier(result, spec.outlier)
    for check in spec.health_checks:
        result.health_checks.append(_health_check(check))
    result.ignore_health_on_host_removal = spec.ignore_health_on_host_removal
    result.close_connections_on_host_health_failure = spec.close_connections_on_host_health_failure
    _transport(result, spec)
    _sockets(result, spec)
    services = ((s.host, s.name, s.namespace) for s in spec.services)
    metadata = istio_metadata(spec.config, spec.subset, services, spec.external)
    if metadata is not None:
        result.metadata.CopyFrom(metadata)
    return result


def _discovery(result: Cluster, spec: ClusterSpec) -> None:
    if spec.dns_cache is not None:
        dynamic_cluster(result, spec.dns_cache, spec.unverified)
        return
    result.type = Cluster.DiscoveryType.Value(spec.discovery.value)
    match spec.discovery:
        case Discovery.EDS:
            result.eds_cluster_config.eds_config.CopyFrom(ads_source())
            result.eds_cluster_config.service_name = spec.name
        case Discovery.STRICT_DNS | Discovery.LOGICAL_DNS:
            result.dns_lookup_family = Cluster.V4_ONLY if spec.dns_ipv4_only else Cluster.ALL
            result.respect_dns_ttl = True
            if spec.dns_refresh_rate:
                result.dns_refresh_rate.CopyFrom(duration(spec.dns_refresh_rate))
                result.dns_jitter.CopyFrom(duration(0.1))
        case Discovery.ORIGINAL_DST:
            if spec.original_dst_port:
                result.original_dst_lb_config.upstream_port_override.value = spec.original_dst_port
            if spec.cleanup_interval is not None:
                result.cleanup_interval.CopyFrom(duration(spec.cleanup_interval))
    if spec.endpoints is not None:
        result.load_assignment.CopyFrom(assignment(spec.endpoints))


def _balancing(result: Cluster, lb: LbSpec) -> None:
    result.lb_policy = Cluster.LbPolicy.Value(lb.policy.value)
    if lb.policy is LbPolicy.RING_HASH:
        if lb.ring_minimum is not None:
            result.ring_hash_lb_config.minimum_ring_size.value = lb.ring_minimum
        if lb.ring_maximum is not None:
            result.ring_hash_lb_config.maximum_ring_size.value = lb.ring_maximum
    if lb.policy is LbPolicy.MAGLEV and lb.maglev_table is not None:
        result.maglev_lb_config.table_size.value = lb.maglev_table
    if lb.slow_start is not None:
        slow = (
            result.round_robin_lb_config if lb.policy is LbPolicy.ROUND_ROBIN else result.least_request_lb_config
        ).slow_start_config
        slow.slow_start_window.CopyFrom(duration(lb.slow_start.window))
        slow.aggression.default_value = lb.slow_start.aggression or 1.0
        slow.aggression.runtime_key = "isthmus.slow_start.aggression"
        if lb.slow_start.minimum_percent is not None:
            slow.min_weight_percent.value = lb.slow_start.minimum_percent
    common = result.common_lb_config
    if lb.panic_threshold is not None:
        common.healthy_panic_threshold.value = lb.panic_threshold
    if lb.update_merge_window is not None:
        common.update_merge_window.CopyFrom(duration(lb.update_merge_window))
    if lb.locality_weighted:
        common.locality_weighted_lb_config.SetInParent()
    common.close_connections_on_host_set_change = lb.close_connections_on_host_set_change


def _http(result: Cluster, http: HttpUpstream) -> None:
    if http.version is HttpVersion.NONE:
        return
    options = HttpProtocolOptions()
    match http.version:
        case HttpVersion.HTTP1:
            options.explicit_http_config.http_protocol_options.SetInParent()
        case HttpVersion.HTTP2:
            options.explicit_http_config.http2_protocol_options.SetInParent()
        case HttpVersion.DOWNSTREAM:
            options.use_downstream_protocol_config.http_protocol_options.SetInParent()
            options.use_downstream_protocol_config.http2_protocol_options.SetInParent()
    downstream = http.version is HttpVersion.DOWNSTREAM
    group = options.use_downstream_protocol_config if downstream else options.explicit_http_config
    if http.max_concurrent_streams is not None and http.version is not HttpVersion.HTTP1:
        group.http2_protocol_options.max_concurrent_streams.value = http.max_concurrent_streams
    if http.keepalive_interval is not None and http.version is not HttpVersion.HTTP1:
        pings = group.http2_protocol_options.connection_keepalive
        pings.interval.CopyFrom(duration(http.keepalive_interval))
        pings.timeout.CopyFrom(duration(http.keepalive_timeout or http.keepalive_interval))
    if http.preserve_header_case and http.version is not HttpVersion.HTTP2:
        group.http_protocol_options.header_key_format.CopyFrom(preserved_case())
    common = options.common_http_protocol_options
    if http.max_requests_per_connection is not None:
        common.max_requests_per_connection.value = http.max_requests_per_connection
    if http.idle_timeout is not None:
        common.idle_timeout.CopyFrom(duration(http.idle_timeout))
    if http.max_connection_duration is not None:
        common.max_connection_duration.CopyFrom(duration(http.max_connection_duration))
    if http.auto_sni or http.auto_san_validation:
        options.upstream_http_protocol_options.auto_sni = http.auto_sni
        options.upstream_http_protocol_options.auto_san_validation = http.auto_san_validation
    result.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(pack(options))


def _breakers(result: Cluster, breakers: BreakerSpec | None) -> None:
    if breakers is None:
        return
    limit = CircuitBreakers.Thresholds(priority=RoutingPriority.DEFAULT)
    limit.max_connections.value = _or_unlimited(breakers.max_connections)
    limit.max_pending_requests.value = _or_unlimited(breakers.max_pending_requests)
    limit.max_requests.value = _or_unlimited(breakers.max_requests)
    if breakers.retry_budget_percent is not None:
        limit.retry_budget.budget_percent.value = breakers.retry_budget_percent
        if breakers.min_retry_concurrency is not None:
            limit.retry_budget.min_retry_concurrency.value = breakers.min_retry_concurrency
    else:
        limit.max_retries.value = _or_unlimited(breakers.max_retries)
    result.circuit_breakers.thresholds.append(limit)


def _or_unlimited(value: int | None) -> int:
    return UNLIMITED if value is None else value


def _outlier(result: Cluster, spec: OutlierSpec) -> None:
    outlier = result.outlier_detection
    outlier.enforcing_success_rate.value = 0
    outlier.enforcing_local_origin_success_rate.value = 0
    if spec.consecutive_5xx is not None:
        outlier.consecutive_5xx.value = spec.consecutive_5xx or 5
        outlier.enforcing_consecutive_5xx.value = 100 if spec.consecutive_5xx else 0
    if spec.consecutive_gateway_failure is not None:
        outlier.consecutive_gateway_failure.value = spec.consecutive_gateway_failure or 5
        outlier.enforcing_consecutive_gateway_failure.value = 100 if spec.consecutive_gateway_failure else 0
    if spec.consecutive_local_origin_failure is not None:
        outlier.consecutive_local_origin_failure.value = spec.consecutive_local_origin_failure or 5
        outlier.enforcing_consecutive_local_origin_failure.value = 100 if spec.consecutive_local_origin_failure else 0
    outlier.split_external_local_origin_errors = spec.split_external_local_origin_errors
    if spec.interval is not None:
        outlier.interval.CopyFrom(duration(spec.interval))
    if spec.base_ejection_time is not None:
        outlier.base_ejection_time.CopyFrom(duration(spec.base_ejection_time))
    if spec.max_ejection_time is not None:
        outlier.max_ejection_time.CopyFrom(duration(spec.max_ejection_time))
    if spec.max_ejection_percent is not None:
        outlier.max_ejection_percent.value = spec.max_ejection_percent


def _health_check(spec: HealthCheckSpec) -> HealthCheck:
    check = HealthCheck()
    check.timeout.CopyFrom(duration(spec.timeout))
    check.interval.CopyFrom(duration(spec.interval))
    check.no_traffic_interval.CopyFrom(duration(spec.no_traffic_interval))
    check.initial_jitter.CopyFrom(duration(0.02))
    check.unhealthy_threshold.value = spec.unhealthy_threshold
    check.healthy_threshold.value = spec.healthy_threshold
    check.http_health_check.path = spec.path
    check.http_health_check.host = spec.host
    if spec.http2:
        check.http_health_check.codec_client_type = CodecClientType.HTTP2
    return check


def _transport(result: Cluster, spec: ClusterSpec) -> None:
    if spec.keepalive is not None:
        keepalive = result.upstream_connection_options.tcp_keepalive
        keepalive.SetInParent()
        if spec.keepalive.probes is not None:
            keepalive.keepalive_probes.value = spec.keepalive.probes
        if spec.keepalive.time is not None:
            keepalive.keepalive_time.value = spec.keepalive.time
        if spec.keepalive.interval is not None:
            keepalive.keepalive_interval.value = spec.keepalive.interval
    for count, address in enumerate(spec.bind_addresses):
        bind = result.upstream_bind_config
        source = bind.extra_source_addresses.add().address if count else bind.source_address
        source.address = address
        source.port_value = 0


def _sockets(result: Cluster, spec: ClusterSpec) -> None:
    if spec.tls is None:
        if spec.proxy_protocol:
            result.transport_socket.CopyFrom(_announced(raw_socket(), spec.proxy_protocol))
    elif spec.auto_mtls:
        mutual = result.transport_socket_matches.add(name="tlsMode-istio")
        mutual.match.fields["tlsMode"].string_value = "istio"
        mutual.transport_socket.CopyFrom(_announced(upstream_socket(spec.tls), spec.proxy_protocol))
        plain = result.transport_socket_matches.add(name="tlsMode-disabled")
        plain.match.SetInParent()
        plain.transport_socket.CopyFrom(_announced(raw_socket(), spec.proxy_protocol))
    else:
        result.transport_socket.CopyFrom(_announced(upstream_socket(spec.tls), spec.proxy_protocol))


def _announced(socket: TransportSocket, version: str) -> TransportSocket:
    """A socket that sends the PROXY protocol first, where a version of it is asked for."""
    if not version:
        return socket
    wrapped = ProxyProtocolUpstreamTransport()
    wrapped.config.version = ProxyProtocolConfig.Version.Value(version)
    wrapped.transport_socket.CopyFrom(socket)
    result = TransportSocket(name="envoy.transport_sockets.upstream_proxy_protocol")
    result.typed_config.CopyFrom(pack(wrapped))
    return result
