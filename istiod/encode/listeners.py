"""Listeners -> Listener."""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.core.v3.protocol_pb2 import HttpProtocolOptions
from envoy.config.listener.v3.listener_components_pb2 import (
    Filter,
    FilterChain,
    FilterChainMatch,
    ListenerFilter,
    ListenerFilterChainMatchPredicate,
)
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.sni_cluster.v3.sni_cluster_pb2 import SniCluster
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy as EnvoyTcpProxy
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import UpstreamConnectMode
from google.protobuf.message import Message

from istiod.encode import ext_authz, rbac
from istiod.encode.accesslog import access_log
from istiod.encode.cache import encoded
from istiod.encode.dynamic_dns import SNI_FILTER, sni_lookup
from istiod.encode.filters import http_filters
from istiod.encode.patch_listeners import patch_listener
from istiod.encode.peers import STATE_FILTER, own_facts
from istiod.encode.resource import LISTENER, Resource, frame_resource
from istiod.encode.routes import route_configuration
from istiod.encode.tls import downstream_socket
from istiod.encode.tracing import request_id, tracing
from istiod.encode.wire import ads_source, cidr, duration, pack, preserved_case, socket_address
from istiod.resolve.specs.authz import Authorization, CheckSpec
from istiod.resolve.specs.listener import (
    ChainMatch,
    ClientCert,
    ConnectionLimits,
    Direction,
    FilterChainSpec,
    HttpConnection,
    ListenerSpec,
    TcpProxy,
)
from istiod.resolve.specs.telemetry import LogEvent, PeerExchange, StatsLog

_CLIENT_CERT = {
    ClientCert.SANITIZE: HttpConnectionManager.SANITIZE,
    ClientCert.SANITIZE_SET: HttpConnectionManager.SANITIZE_SET,
    ClientCert.APPEND_FORWARD: HttpConnectionManager.APPEND_FORWARD,
    ClientCert.FORWARD_ONLY: HttpConnectionManager.FORWARD_ONLY,
    ClientCert.ALWAYS_FORWARD_ONLY: HttpConnectionManager.ALWAYS_FORWARD_ONLY,
}
_NORMALIZED = ("BASE", "DEFAULT", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")


@encoded(5_000)
def encode_listener(spec: ListenerSpec) -> Resource:
    """One listener as a resource."""
    message = listener(spec)
    done = patch_listener(message, spec.patches) if spec.patches else frozenset()
    return frame_resource(LISTENER, message.name, message.SerializeToString(deterministic=True), done)


def listener(spec: ListenerSpec) -> Listener:
    """The message itself."""
    result = Listener(name=spec.name)
    if spec.api:
        handler = spec.chains[0].handler
        assert isinstance(handler, HttpConnection)
        result.api_listener.api_listener.CopyFrom(pack(connection_manager(handler)))
        return result
    result.address.CopyFrom(socket_address(spec.address, spec.port))
    for address in spec.additional_addresses:
        result.additional_addresses.add().address.CopyFrom(socket_address(address, spec.port))
    if spec.direction is not Direction.UNSPECIFIED:
        result.traffic_direction = TrafficDirection.Value(spec.direction.value)
    if not spec.bind_to_port:
        result.bind_to_port.value = False
    if spec.use_original_dst:
        result.use_original_dst.value = True
    if spec.buffer_limit is not None:
        result.per_connection_buffer_limit_bytes.value = spec.buffer_limit
    if spec.exact_balance:
        result.connection_balance_config.exact_balance.SetInParent()
    _listener_filters(result, spec)
    for chain in spec.chains:
        result.filter_chains.add().MergeFromString(_chain(chain))
    if spec.default_chain is not None:
        result.default_filter_chain.MergeFromString(_chain(spec.default_chain))
    result.access_log.extend(access_log(log) for log in spec.access_logs)
    return result


def _listener_filters(result: Listener, spec: ListenerSpec) -> None:
    filters = result.listener_filters
    if spec.original_dst_filter:
        filters.append(_listener_filter("envoy.filters.listener.original_dst", OriginalDst()))
    if spec.proxy_protocol_filter:
        filters.append(_listener_filter("envoy.filters.listener.proxy_protocol", ProxyProtocol()))
    if spec.tls_inspector:
        filters.append(
            _listener_filter("envoy.filters.listener.tls_inspector", TlsInspector(), spec.skip.tls_inspector)
        )
    if spec.http_inspector:
        filters.append(
            _listener_filter("envoy.filters.listener.http_inspector", HttpInspector(), spec.skip.http_inspector)
        )
    if spec.filters_timeout is not None:
        result.listener_filters_timeout.CopyFrom(duration(spec.filters_timeout))
    result.continue_on_listener_filters_timeout = spec.continue_on_filters_timeout


def _listener_filter(name: str, config: Message, skipped: tuple[int, ...] = ()) -> ListenerFilter:
    result = ListenerFilter(name=name)
    result.typed_config.CopyFrom(pack(config))
    if len(skipped) == 1:
        _port_predicate(result.filter_disabled, skipped[0])
    else:
        for port in skipped:
            _port_predicate(result.filter_disabled.or_match.rules.add(), port)
    return result


def _port_predicate(result: ListenerFilterChainMatchPredicate, port: int) -> None:
    result.destination_port_range.start = port
    result.destination_port_range.end = port + 1


@encoded(10_000)
def _chain(spec: FilterChainSpec) -> bytes:
    result = FilterChain(name=spec.name)
    if spec.match != ChainMatch():
        result.filter_chain_match.CopyFrom(_match(spec.match))
    if spec.tls is not None:
        result.transport_socket.CopyFrom(downstream_socket(spec.tls))
    if spec.transport_connect_timeout is not None:
        result.transport_socket_connect_timeout.CopyFrom(duration(spec.transport_connect_timeout))
    sends = isinstance(spec.handler, HttpConnection) and spec.handler.peers is PeerExchange.SEND
    if sends or any(isinstance(log.sink, StatsLog) for log in spec.handler.access_logs):
        result.filters.append(_filter(STATE_FILTER, own_facts(sends)))
    result.filters.extend(_authorization(spec.authorization))
    if spec.sni_lookup is not None:
        result.filters.append(_filter(SNI_FILTER, sni_lookup(spec.sni_lookup)))
    if spec.sni_cluster:
        result.filters.append(_filter("envoy.filters.network.sni_cluster", SniCluster()))
    match spec.handler:
        case HttpConnection() as http:
            result.filters.append(_filter("envoy.filters.network.http_connection_manager", connection_manager(http)))
        case TcpProxy() as tcp:
            result.filters.append(_filter("envoy.filters.network.tcp_proxy", _tcp_proxy(tcp)))
    return result.SerializeToString(deterministic=True)


def _authorization(spec: Authorization) -> Iterator[Filter]:
    for step in spec.checks:
        if isinstance(step, CheckSpec):
            yield _filter(rbac.NETWORK_FILTER, rbac.network_rbac(step.when))
            yield _filter(ext_authz.NETWORK_FILTER, ext_authz.network_ext_authz(step))
        else:
            yield _filter(rbac.NETWORK_FILTER, rbac.network_rbac(step))
    for rules in spec.rules:
        yield _filter(rbac.NETWORK_FILTER, rbac.network_rbac(rules))


def _match(spec: ChainMatch) -> FilterChainMatch:
    result = FilterChainMatch(
        transport_protocol=spec.transport_protocol,
        server_names=spec.server_names,
        application_protocols=spec.application_protocols,
    )
    if spec.destination_port:
        result.destination_port.value = spec.destination_port
    result.prefix_ranges.extend(cidr(text) for text in spec.destinations)
    result.source_prefix_ranges.extend(cidr(text) for text in spec.sources)
    return result


def _filter(name: str, config: Message) -> Filter:
    result = Filter(name=name)
    result.typed_config.CopyFrom(pack(config))
    return result


def connection_manager(spec: HttpConnection) -> HttpConnectionManager:
    """The HTTP connection manager."""
    result = HttpConnectionManager(stat_prefix=spec.stat_prefix)
    if isinstance(spec.routes, str):
        result.rds.route_config_name = spec.routes
        result.rds.config_source.CopyFrom(ads_source())
    else:
        result.route_config.CopyFrom(route_configuration(spec.routes))
    result.http_filters.extend(http_filters(spec))
    if spec.proxyless:
        return result
    result.forward_client_cert_details = _CLIENT_CERT[spec.client_cert]
    _client_certificate(result, spec.client_cert_parts)
    result.use_remote_address.value = spec.use_remote_address
    result.xff_num_trusted_hops = spec.trusted_hops
    result.server_name = spec.server_name
    if spec.server_untouched:
        result.server_header_transformation = HttpConnectionManager.PASS_THROUGH
    if not spec.request_ids:
        result.generate_request_id.value = False
    result.append_x_forwarded_port = spec.forwarded_port
    result.proxy_100_continue = True  # whether a body is wanted is the application's to say
    _timeouts(result, spec)
    if spec.max_request_headers_kb is not None:
        result.max_request_headers_kb.value = spec.max_request_headers_kb
    if spec.accept_http10:
        result.http_protocol_options.accept_http_10 = True
    if spec.preserve_header_case:
        result.http_protocol_options.header_key_format.CopyFrom(preserved_case())
    result.upgrade_configs.add(upgrade_type="websocket")
    if spec.path_normalization in _NORMALIZED:
        result.normalize_path.value = True
    if "MERGE_SLASHES" in spec.path_normalization:
        result.merge_slashes = True
    if spec.path_normalization == "DECODE_AND_MERGE_SLASHES":
        result.path_with_escaped_slashes_action = HttpConnectionManager.UNESCAPE_AND_FORWARD
    _limits(result, spec.limits)
    if spec.tracing is not None:
        result.tracing.CopyFrom(tracing(spec.tracing))
        extension = request_id(spec.tracing)
        if extension is not None:
            result.request_id_extension.CopyFrom(extension)
    result.access_log.extend(access_log(log) for log in spec.access_logs)
    return result


def _client_certificate(result: HttpConnectionManager, parts: tuple[str, ...]) -> None:
    """What is added to `x-forwarded-client-cert` of the peer's certificate."""
    if not parts:
        return
    details = result.set_current_client_cert_details
    details.subject.value = "subject" in parts
    details.uri, details.dns = "uri" in parts, "dns" in parts
    details.cert, details.chain = "cert" in parts, "chain" in parts


def _timeouts(result: HttpConnectionManager, spec: HttpConnection) -> None:
    if spec.stream_idle_timeout is not None:
        result.stream_idle_timeout.CopyFrom(duration(spec.stream_idle_timeout))
    if spec.idle_timeout is not None:
        result.common_http_protocol_options.idle_timeout.CopyFrom(duration(spec.idle_timeout))
    if spec.request_timeout is not None:
        result.request_timeout.CopyFrom(duration(spec.request_timeout))


def _limits(result: HttpConnectionManager, spec: ConnectionLimits) -> None:
    """What goes before the settings that are there already."""
    common, http2 = result.common_http_protocol_options, result.http2_protocol_options
    for time, said in (
        (common.idle_timeout, spec.idle_timeout),
        (common.max_connection_duration, spec.max_duration),
        (common.max_stream_duration, spec.max_stream_duration),
        (result.drain_timeout, spec.drain_timeout),
        (result.request_timeout, spec.request_timeout),
        (result.request_headers_timeout, spec.request_headers_timeout),
        (result.stream_idle_timeout, spec.stream_idle_timeout),
    ):
        if said is not None:
            time.CopyFrom(duration(said))
    for number, value in (
        (http2.max_concurrent_streams, spec.max_concurrent_streams),
        (http2.initial_stream_window_size, spec.stream_window),
        (http2.initial_connection_window_size, spec.connection_window),
    ):
        if value is not None:
            number.value = value
    if spec.underscores:
        action = HttpProtocolOptions.HeadersWithUnderscoresAction.Value(spec.underscores)
        common.headers_with_underscores_action = action
    if spec.merge_slashes is not None:
        result.merge_slashes = spec.merge_slashes
    if spec.escaped_slashes:
        slashes = HttpConnectionManager.PathWithEscapedSlashesAction.Value(spec.escaped_slashes)
        result.path_with_escaped_slashes_action = slashes


def _tcp_proxy(spec: TcpProxy) -> EnvoyTcpProxy:
    result = EnvoyTcpProxy(stat_prefix=spec.stat_prefix)
    if len(spec.clusters) == 1:
        result.cluster = spec.clusters[0][0]
    for name, weight in spec.clusters if len(spec.clusters) > 1 else ():
        result.weighted_clusters.clusters.add(name=name, weight=weight)
    if spec.idle_timeout is not None:
        result.idle_timeout.CopyFrom(duration(spec.idle_timeout))
    if spec.max_duration is not None:
        result.max_downstream_connection_duration.CopyFrom(duration(spec.max_duration))
    if spec.max_connect_attempts is not None:
        result.max_connect_attempts.value = spec.max_connect_attempts
    if spec.hash_policy is not None and spec.hash_policy.source_ip:
        result.hash_policy.add().source_ip.SetInParent()
    if spec.tunnel is not None:
        result.tunneling_config.hostname = spec.tunnel.target
        result.tunneling_config.use_post = spec.tunnel.post
    if spec.after_handshake:
        result.upstream_connect_mode = UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
        result.max_early_data_bytes.value = 0  # nothing is read before, but Envoy wants to be told
    if any(log.event is LogEvent.CONNECTED for log in spec.access_logs):
        result.access_log_options.flush_access_log_on_connected = True
    result.access_log.extend(access_log(log) for log in spec.access_logs)
    return result
