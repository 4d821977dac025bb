"""Checks -> Envoy's ext_authz, for HTTP and for bytes. Each asks only where the RBAC filter before it left its mark."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz as HttpExtAuthz
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import HttpService
from envoy.extensions.filters.network.ext_authz.v3.ext_authz_pb2 import ExtAuthz as NetworkExtAuthz
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher, StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from istiod.encode.cache import encoded
from istiod.encode.rbac import HTTP_FILTER as HTTP_RBAC
from istiod.encode.rbac import NETWORK_FILTER as NETWORK_RBAC
from istiod.encode.rbac import TCP_STATS
from istiod.encode.wire import duration, string_matcher
from istiod.resolve.specs.authz import CheckSpec, GrpcServer, HttpServer
from istiod.resolve.specs.match import StringMatch

HTTP_FILTER = "envoy.filters.http.ext_authz"
NETWORK_FILTER = "envoy.filters.network.ext_authz"
MATCHED = "shadow_effective_policy_id"  # Envoy's name of the rule that matched, behind the prefix of the rules


@encoded(1_000)
def http_ext_authz(spec: CheckSpec) -> HttpExtAuthz:
    """The filter's configuration for requests."""
    result = HttpExtAuthz(
        transport_api_version=ApiVersion.V3,
        failure_mode_allow=spec.fail_open,
        clear_route_cache=spec.clear_route_cache,
        filter_enabled_metadata=_marked(spec, HTTP_RBAC),
    )
    match spec.server:
        case HttpServer() as server:
            result.http_service.CopyFrom(_http_service(server, spec.timeout))
            if server.sent:
                result.allowed_headers.CopyFrom(_names(server.sent))
        case GrpcServer() as server:
            result.grpc_service.CopyFrom(_grpc_service(server, spec.timeout))
    if spec.status_on_error:
        result.status_on_error.code = spec.status_on_error  # type: ignore[assignment]
    if spec.body is not None:
        result.with_request_body.max_request_bytes = spec.body.max_bytes
        result.with_request_body.allow_partial_message = spec.body.partial
        result.with_request_body.pack_as_bytes = spec.body.as_bytes
    return result


@encoded(1_000)
def network_ext_authz(spec: CheckSpec) -> NetworkExtAuthz:
    """The filter's configuration for connections, about which only gRPC servers are asked."""
    assert isinstance(spec.server, GrpcServer)
    return NetworkExtAuthz(
        stat_prefix=TCP_STATS,
        grpc_service=_grpc_service(spec.server, spec.timeout),
        transport_api_version=ApiVersion.V3,
        failure_mode_allow=spec.fail_open,
        filter_enabled_metadata=_marked(spec, NETWORK_RBAC),
    )


def _marked(spec: CheckSpec, rbac: str) -> MetadataMatcher:
    return MetadataMatcher(
        filter=rbac,
        path=[MetadataMatcher.PathSegment(key=spec.when.shadow_prefix + MATCHED)],
        value=ValueMatcher(string_match=StringMatcher(prefix=spec.mark)),
    )


def _http_service(server: HttpServer, timeout: float) -> HttpService:
    result = HttpService(path_prefix=server.path_prefix)
    result.server_uri.uri = f"http://{server.host}"
    result.server_uri.cluster = server.upstream
    result.server_uri.timeout.CopyFrom(duration(timeout))
    for name, value in server.added:
        result.authorization_request.headers_to_add.add(key=name, value=value)
    answer = result.authorization_response
    for names, field in (
        (server.to_upstream, answer.allowed_upstream_headers),
        (server.to_client_on_deny, answer.allowed_client_headers),
        (server.to_client_on_allow, answer.allowed_client_headers_on_success),
    ):
        if names:
            field.CopyFrom(_names(names))
    return result


def _grpc_service(server: GrpcServer, timeout: float) -> GrpcService:
    result = GrpcService(timeout=duration(timeout))
    result.envoy_grpc.cluster_name = server.upstream
    result.envoy_grpc.authority = server.authority
    return result


def _names(names: Iterable[StringMatch]) -> ListStringMatcher:
    return ListStringMatcher(patterns=map(string_matcher, names))
