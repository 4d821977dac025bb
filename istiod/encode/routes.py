"""HTTP routing -> RouteConfiguration."""

from __future__ import annotations

from urllib.parse import quote

from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import (
    RedirectAction,
    RetryPolicy,
    Route,
    VirtualHost,
)
from envoy.config.route.v3.route_components_pb2 import (
    RouteAction as EnvoyRouteAction,
)
from envoy.config.route.v3.route_components_pb2 import (
    RouteMatch as EnvoyRouteMatch,
)
from envoy.config.route.v3.route_components_pb2 import (
    WeightedCluster as EnvoyWeightedCluster,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.path.match.uri_template.v3.uri_template_match_pb2 import UriTemplateMatchConfig
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)

from istiod.encode.cache import encoded
from istiod.encode.jwt import claim_matcher
from istiod.encode.patch_routes import patch_configuration
from istiod.encode.resource import ROUTES, Resource, frame_resource
from istiod.encode.wire import (
    duration,
    header_matcher,
    istio_metadata,
    pack,
    percent,
    query_matcher,
    runtime_percent,
    string_matcher,
)
from istiod.resolve.specs.match import MatchKind, StringMatch
from istiod.resolve.specs.route import (
    CorsSpec,
    DirectResponse,
    FaultSpec,
    HashPolicy,
    HeaderOperations,
    Redirect,
    RetrySpec,
    RouteAction,
    RouteConfigSpec,
    RouteMatch,
    RouteSpec,
    VirtualHostSpec,
)

CORS_FILTER = "envoy.filters.http.cors"
FAULT_FILTER = "envoy.filters.http.fault"
_REDIRECTS = {
    301: RedirectAction.MOVED_PERMANENTLY,
    302: RedirectAction.FOUND,
    303: RedirectAction.SEE_OTHER,
    307: RedirectAction.TEMPORARY_REDIRECT,
    308: RedirectAction.PERMANENT_REDIRECT,
}
_NOT_FOUND = {
    503: EnvoyRouteAction.SERVICE_UNAVAILABLE,
    404: EnvoyRouteAction.NOT_FOUND,
    500: EnvoyRouteAction.INTERNAL_SERVER_ERROR,
}


@encoded(5_000)
def encode_routes(spec: RouteConfigSpec) -> Resource:
    """One route configuration as a resource."""
    message = route_configuration(spec)
    done = patch_configuration(message, spec.patches) if spec.patches else frozenset()
    message.name = spec.name  # by which listeners ask for it
    return frame_resource(ROUTES, spec.name, message.SerializeToString(deterministic=True), done)


def route_configuration(spec: RouteConfigSpec) -> RouteConfiguration:
    """The message itself, also for connection managers with inline routes."""
    result = RouteConfiguration(name=spec.name, ignore_port_in_host_matching=spec.ignore_port_in_host_matching)
    result.validate_clusters.value = False
    result.max_direct_response_body_size_bytes.value = spec.max_direct_response_body
    for host in spec.virtual_hosts:
        result.virtual_hosts.add().MergeFromString(_virtual_host(host))
    return result


@encoded(20_000)
def _virtual_host(spec: VirtualHostSpec) -> bytes:
    result = VirtualHost(name=spec.name, domains=spec.domains, include_request_attempt_count=spec.include_attempt_count)
    if spec.require_tls:
        result.require_tls = VirtualHost.ALL
    for route in spec.routes:
        result.routes.append(_route(route))
    return result.SerializeToString(deterministic=True)


def _route(spec: RouteSpec) -> Route:
    route = Route(name=spec.name, stat_prefix=spec.stat_prefix)
    _match(route.match, spec.match)
    match spec.action:
        case RouteAction() as action:
            _forward(route.route, action)
        case Redirect() as redirect:
            _redirect(route.redirect, redirect)
        case DirectResponse(status, body):
            route.direct_response.status = status
            if body:
                route.direct_response.body.inline_bytes = body
    _header_operations(route, spec.request_headers, spec.response_headers)
    if spec.fault is not None:
        route.typed_per_filter_config[FAULT_FILTER].CopyFrom(pack(_fault(spec.fault)))
    if spec.cors is not None:
        route.typed_per_filter_config[CORS_FILTER].CopyFrom(pack(_cors(spec.cors)))
    if spec.operation:
        route.decorator.operation = spec.operation
    metadata = istio_metadata(spec.config)
    if metadata is not None:
        route.metadata.CopyFrom(metadata)
    return route


def _match(result: EnvoyRouteMatch, spec: RouteMatch) -> None:
    if spec.connect:
        result.connect_matcher.SetInParent()
    elif spec.template:
        result.path_match_policy.name = "envoy.path.match.uri_template.uri_template_matcher"
        result.path_match_policy.typed_config.CopyFrom(pack(UriTemplateMatchConfig(path_template=spec.template)))
    else:
        _path(result, spec.path or StringMatch(MatchKind.PREFIX, "/"), spec.path_separated_prefix)
    result.headers.extend(header_matcher(header) for header in spec.headers)
    result.query_parameters.extend(query_matcher(query) for query in spec.query)
    result.dynamic_metadata.extend(claim_matcher(claim) for claim in spec.claims)


def _path(result: EnvoyRouteMatch, path: StringMatch, separated: bool) -> None:
    match path.kind:
        case MatchKind.EXACT:
            result.path = path.value
        case MatchKind.PREFIX if separated and path.value != "/":
            result.path_separated_prefix = path.value.rstrip("/")
        case MatchKind.PREFIX:
            result.prefix = path.value
        case MatchKind.REGEX:
            result.safe_regex.regex = path.value
        case _:
            result.prefix = "/"
    if path.ignore_case:
        result.case_sensitive.value = False


def _forward(result: EnvoyRouteAction, spec: RouteAction) -> None:
    if len(spec.clusters) == 1:
        only = spec.clusters[0]
        plain = not (only.host_rewrite or _says(only.request_headers) or _says(only.response_headers))
        if plain:
            result.cluster = only.name
    if not result.cluster:
        for cluster in spec.clusters:
            entry = result.weighted_clusters.clusters.add(name=cluster.name)
            entry.weight.value = cluster.weight or 1
            _header_operations(entry, cluster.request_headers, cluster.response_headers)
            if cluster.host_rewrite:
                entry.host_rewrite_literal = cluster.host_rewrite
    result.cluster_not_found_response_code = _NOT_FOUND[spec.not_found_status]
    result.timeout.CopyFrom(duration(spec.timeout))
    if spec.retry is not None:
        _retry(result.retry_policy, spec.retry)
    _rewrite(result, spec)
    for mirror in spec.mirrors:
        entry_ = result.request_mirror_policies.add(cluster=mirror.cluster)
        entry_.runtime_fraction.CopyFrom(runtime_percent(mirror.percent))
        entry_.trace_sampled.value = False
    for policy in spec.hash_policies:
        add_hash_policy(result.hash_policy.add(), policy)
    if spec.idle_timeout is not None:
        result.idle_timeout.CopyFrom(duration(spec.idle_timeout))
    if spec.max_grpc_timeout is not None and spec.whole_stream:
        result.max_stream_duration.max_stream_duration.CopyFrom(duration(spec.timeout))
        result.max_stream_duration.grpc_timeout_header_max.CopyFrom(duration(spec.max_grpc_timeout))
    elif spec.max_grpc_timeout is not None:  # what took its place bounds uploads, delays and streams as well
        result.max_grpc_timeout.CopyFrom(duration(spec.max_grpc_timeout))
    if spec.hedge_on_per_try_timeout:
        result.hedge_policy.hedge_on_per_try_timeout = True
    for upgrade in spec.upgrades:
        result.upgrade_configs.add(upgrade_type=upgrade).enabled.value = True


def _rewrite(result: EnvoyRouteAction, spec: RouteAction) -> None:
    if spec.prefix_rewrite is not None:
        result.prefix_rewrite = spec.prefix_rewrite
    if spec.path_rewrite is not None:
        result.regex_rewrite.pattern.regex = ".*"
        result.regex_rewrite.substitution = spec.path_rewrite
    if spec.regex_rewrite is not None:
        result.regex_rewrite.pattern.regex, result.regex_rewrite.substitution = spec.regex_rewrite
    if spec.host_rewrite:
        result.host_rewrite_literal = spec.host_rewrite
    elif spec.auto_host_rewrite:
        result.auto_host_rewrite.value = True
    result.append_x_forwarded_host = spec.forwarded_host


def _retry(result: RetryPolicy, spec: RetrySpec) -> None:
    result.retry_on = ",".join(spec.retry_on)
    result.num_retries.value = spec.attempts
    result.retriable_status_codes.extend(spec.retriable_status_codes)
    if spec.per_try_timeout is not None:
        result.per_try_timeout.CopyFrom(duration(spec.per_try_timeout))
    if spec.previous_hosts:
        predicate = result.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
        predicate.typed_config.CopyFrom(pack(PreviousHostsPredicate()))
        result.host_selection_retry_max_attempts = spec.host_selection_attempts
    if spec.previous_priorities:
        result.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        result.retry_priority.typed_config.CopyFrom(
            pack(PreviousPrioritiesConfig(update_frequency=spec.previous_priorities))
        )
    if spec.backoff_base is not None:
        result.retry_back_off.base_interval.CopyFrom(duration(spec.backoff_base))
        if spec.backoff_max is not None:
            result.retry_back_off.max_interval.CopyFrom(duration(spec.backoff_max))


def add_hash_policy(result: EnvoyRouteAction.HashPolicy, spec: HashPolicy) -> None:
    """What consistent hashing looks at."""
    result.terminal = spec.terminal
    if spec.header:
        result.header.header_name = spec.header
    elif spec.cookie:
        result.cookie.name = spec.cookie
        result.cookie.path = spec.cookie_path
        if spec.cookie_ttl is not None:
            result.cookie.ttl.CopyFrom(duration(spec.cookie_ttl))
        for name, value in spec.cookie_attributes:
            result.cookie.attributes.add(name=name, value=value)
    elif spec.query:
        result.query_parameter.name = spec.query
    else:
        result.connection_properties.source_ip = True


def _redirect(result: RedirectAction, spec: Redirect) -> None:
    result.response_code = _REDIRECTS[spec.status]
    result.host_redirect = spec.host
    result.port_redirect = spec.port
    result.strip_query = spec.strip_query
    if spec.https:
        result.https_redirect = True
    elif spec.scheme:
        result.scheme_redirect = spec.scheme
    if spec.prefix is not None:
        result.prefix_rewrite = spec.prefix
    elif spec.regex is not None:
        result.regex_rewrite.pattern.regex, result.regex_rewrite.substitution = spec.regex
    elif spec.path:
        result.path_redirect = quote(spec.path, safe="/?&=%:@!$'()*+,;~#-._")


def _says(operations: HeaderOperations) -> bool:
    return bool(operations.set or operations.add or operations.remove)


def _header_operations(
    result: Route | EnvoyWeightedCluster.ClusterWeight, request: HeaderOperations, response: HeaderOperations
) -> None:
    for operations, added, removed in (
        (request, result.request_headers_to_add, result.request_headers_to_remove),
        (response, result.response_headers_to_add, result.response_headers_to_remove),
    ):
        for pairs, action in (
            (operations.set, HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD),
            (operations.add, HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
        ):
            for name, value in pairs:
                option = added.add(append_action=action)
                option.header.key = name
                option.header.value = value
        removed.extend(operations.remove)


def _fault(spec: FaultSpec) -> HTTPFault:
    fault = HTTPFault()
    if spec.delay is not None:
        fault.delay.fixed_delay.CopyFrom(duration(spec.delay))
        fault.delay.percentage.CopyFrom(percent(spec.delay_percent))
    if spec.abort_status is not None:
        fault.abort.http_status = spec.abort_status
    elif spec.abort_grpc_status is not None:
        fault.abort.grpc_status = spec.abort_grpc_status
    if fault.HasField("abort"):
        fault.abort.percentage.CopyFrom(percent(spec.abort_percent))
    return fault


def _cors(spec: CorsSpec) -> CorsPolicy:
    cors = CorsPolicy(
        allow_methods=",".join(spec.allow_methods),
        allow_headers=",".join(spec.allow_headers),
        expose_headers=",".join(spec.expose_headers),
    )
    cors.allow_origin_string_match.extend(string_matcher(origin) for origin in spec.allow_origins)
    if spec.max_age is not None:
        cors.max_age = str(int(spec.max_age))
    if spec.allow_credentials is not None:
        cors.allow_credentials.value = spec.allow_credentials
    cors.forward_not_matching_preflights.value = spec.forward_not_matching_preflights
    cors.filter_enabled.default_value.CopyFrom(percent(100))
    return cors
