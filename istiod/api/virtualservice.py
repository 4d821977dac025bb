"""VirtualService: where requests for a host go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from federation.model.findings import Severity
from federation.model.names import host_matches
from istiod.api.fields import Count, Duration, Model, PercentInt, PercentValue, Port, StringMatch
from istiod.api.headers import Headers, check_header_name, check_headers, check_one_line
from istiod.api.problems import Problem, check_export_to, is_network
from istiod.api.regex import regex_problem


class PortSelector(Model):
    """A port by number."""

    number: Port


class Destination(Model):
    """A service, maybe a subset and a port of it."""

    host: str
    subset: str = ""
    port: PortSelector | None = None


class HTTPMatchRequest(Model):
    """Conditions of a route; all must hold."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch | None] = {}
    port: Port | None = None
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    query_params: dict[str, StringMatch | None] = {}
    ignore_uri_case: bool = False
    without_headers: dict[str, StringMatch | None] = {}
    source_namespace: str = ""
    stat_prefix: str = ""


class HTTPRouteDestination(Model):
    """A destination with its weight."""

    destination: Destination
    weight: Count = 0
    headers: Headers | None = None


class RegexRewrite(Model):
    """Rewrite by regular expression."""

    match: str
    rewrite: str


class HTTPRewrite(Model):
    """Changes of path and authority."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRedirect(Model):
    """An answer that sends the client elsewhere."""

    uri: str = ""
    authority: str = ""
    port: Port | None = None
    derive_port: str | None = None
    scheme: str = ""
    redirect_code: int = 0


class HTTPBody(Model):
    """A response body."""

    string: str | None = None
    bytes: str | None = None


class HTTPDirectResponse(Model):
    """An answer of the proxy itself."""

    status: int
    body: HTTPBody | None = None


class Delegate(Model):
    """Another VirtualService that continues."""

    name: str
    namespace: str = ""


class HTTPRetry(Model):
    """Retries of a route."""

    attempts: Count = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class Delay(Model):
    """An injected delay."""

    percent: PercentInt = 0
    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: PercentValue | None = None


class Abort(Model):
    """An injected error."""

    http_status: int | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: PercentValue | None = None
    percent: PercentInt = 0


class HTTPFaultInjection(Model):
    """Injected faults."""

    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Model):
    """A copy of requests."""

    destination: Destination
    percentage: PercentValue | None = None


class CorsPolicy(Model):
    """Cross-origin policy."""

    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: str = ""


class HTTPRoute(Model):
    """One rule: conditions, and what happens."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: PercentInt | None = None
    mirror_percentage: PercentValue | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class RouteDestination(Model):
    """A destination of TCP or TLS with its weight."""

    destination: Destination
    weight: Count = 0


class L4MatchAttributes(Model):
    """Conditions of a TCP route."""

    destination_subnets: tuple[str, ...] = ()
    port: Port | None = None
    source_subnet: str = ""
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSMatchAttributes(Model):
    """Conditions of a TLS route."""

    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] = ()
    port: Port | None = None
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TCPRoute(Model):
    """One rule for TCP."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class TLSRoute(Model):
    """One rule for TLS that is passed through."""

    match: tuple[TLSMatchAttributes, ...]
    route: tuple[RouteDestination, ...] = ()


class VirtualService(Model):
    """networking.istio.io VirtualService."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


def validate(service: VirtualService) -> Iterator[Problem]:
    """Istio's rules for VirtualService beyond types."""
    yield from _hosts(service)
    if not (service.http or service.tls or service.tcp):
        yield Problem("spec", "has no http, tls or tcp route", "add one")
    for index, route in enumerate(service.http):
        yield from _http(route, f"spec.http[{index}]", delegated=not service.hosts)
    for index, tls in enumerate(service.tls):
        yield from _layer4(tls.route, f"spec.tls[{index}]")
        if not tls.match:
            yield Problem(f"spec.tls[{index}].match", "is empty", "name at least one SNI host")
        for number, match in enumerate(tls.match):
            yield from _tls_match(service, match, f"spec.tls[{index}].match[{number}]")
    for index, tcp in enumerate(service.tcp):
        yield from _layer4(tcp.route, f"spec.tcp[{index}]")
        for number, tcp_match in enumerate(tcp.match):
            yield from _subnets(tcp_match.destination_subnets, f"spec.tcp[{index}].match[{number}].destinationSubnets")
    yield from check_export_to(service.export_to)


def _hosts(service: VirtualService) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, host in enumerate(service.hosts):
        path = f"spec.hosts[{index}]"
        if not host or "*" in host[1:] or "/" in host:
            yield Problem(path, f"{host!r} is no host", "use a DNS name, *.suffix, or *")
        if host == "*" and (not service.gateways or "mesh" in service.gateways):
            yield Problem(path, "'*' would take all traffic of sidecars", "name a gateway other than mesh, or a host")
        if host in seen:
            yield Problem(path, f"{host!r} is listed twice", "list each host once")
        seen.add(host)


def _http(route: HTTPRoute, path: str, delegated: bool) -> Iterator[Problem]:
    actions = [
        name
        for name, given in (
            ("route", route.route),
            ("redirect", route.redirect),
            ("directResponse", route.direct_response),
            ("delegate", route.delegate),
        )
        if given
    ]
    if len(actions) != 1:
        found = " and ".join(actions) or "none of route, redirect, directResponse and delegate"
        yield Problem(path, f"has {found}", "give exactly one")
    if delegated and route.delegate is not None:
        yield Problem(
            f"{path}.delegate", "stands in a VirtualService without hosts", "only one level of delegation is possible"
        )
    yield from _destinations(route.route, path)
    yield from _matches(route, path)
    yield from _http_values(route, path)
    yield from check_headers(route.headers, f"{path}.headers")
    for index, destination in enumerate(route.route):
        yield from check_headers(destination.headers, f"{path}.route[{index}].headers")


def _layer4(routes: Sequence[RouteDestination], path: str) -> Iterator[Problem]:
    if not routes:
        yield Problem(f"{path}.route", "is empty", "name a destination")
    yield from _destinations(routes, path)


def _tls_match(service: VirtualService, match: TLSMatchAttributes, path: str) -> Iterator[Problem]:
    if not match.sni_hosts:
        yield Problem(f"{path}.sniHosts", "is empty", "name at least one SNI host")
    for index, name in enumerate(match.sni_hosts):
        if "*" in name[1:]:
            yield Problem(f"{path}.sniHosts[{index}]", f"{name!r} is no host", "use a DNS name, or *.suffix")
        elif not any(host_matches(host, name) for host in service.hosts):
            message, fix = f"{name!r} is none of the hosts", "list it in spec.hosts as well"
            yield Problem(f"{path}.sniHosts[{index}]", message, fix, severity=Severity.WARNING)
    yield from _subnets(match.destination_subnets, f"{path}.destinationSubnets")


def _subnets(subnets: tuple[str, ...], path: str) -> Iterator[Problem]:
    for index, subnet in enumerate(subnets):
        if not is_network(subnet):
            yield Problem(f"{path}[{index}]", f"{subnet!r} is neither an IP address nor a CIDR", "write 10.0.0.0/8")


def _destinations(routes: Sequence[HTTPRouteDestination | RouteDestination], path: str) -> Iterator[Problem]:
    for index, destination in enumerate(routes):
        if not destination.destination.host:
            yield Problem(f"{path}.route[{index}].destination.host", "is empty", "name a service")
    if len(routes) > 1 and not sum(destination.weight for destination in routes):
        yield Problem(f"{path}.route", "has only weights of 0", "give at least one destination a weight")


def _matches(route: HTTPRoute, path: str) -> Iterator[Problem]:
    for index, match in enumerate(route.match):
        at = f"{path}.match[{index}]"
        conditions = {"uri": match.uri, "scheme": match.scheme, "method": match.method, "authority": match.authority}
        conditions |= {f"headers[{name}]": value for name, value in match.headers.items()}
        conditions |= {f"withoutHeaders[{name}]": value for name, value in match.without_headers.items()}
        conditions |= {f"queryParams[{name}]": value for name, value in match.query_params.items()}
        for name, condition in conditions.items():
            if condition is not None:
                yield from _string_match(condition, f"{at}.{name}")
        for field, names in (
            ("headers", match.headers),
            ("withoutHeaders", match.without_headers),
            ("queryParams", match.query_params),
        ):
            for name in names:
                yield from check_header_name(name, f"{at}.{field}")


def _string_match(match: StringMatch, path: str) -> Iterator[Problem]:
    if sum(value is not None for value in (match.exact, match.prefix, match.regex)) > 1:
        yield Problem(path, "has more than one of exact, prefix and regex", "keep one of them")
    if match.regex:
        wrong = regex_problem(match.regex)
        if wrong:
            yield Problem(
                f"{path}.regex", f"{match.regex[:80]!r} is no regular expression of RE2: {wrong}", "change it"
            )


def _http_values(route: HTTPRoute, path: str) -> Iterator[Problem]:
    for field, part in (("redirect", route.redirect), ("rewrite", route.rewrite)):
        if part is not None:
            yield from check_one_line(part.uri, f"{path}.{field}.uri")
            yield from check_one_line(part.authority, f"{path}.{field}.authority")
    if route.redirect is not None and route.redirect.redirect_code not in (0, 301, 302, 303, 307, 308):
        yield Problem(
            f"{path}.redirect.redirectCode", f"is {route.redirect.redirect_code}", "use 301, 302, 303, 307 or 308"
        )
    if route.rewrite is not None and route.rewrite.uri_regex_rewrite is not None:
        wrong = regex_problem(route.rewrite.uri_regex_rewrite.match)
        if wrong:
            yield Problem(
                f"{path}.rewrite.uriRegexRewrite.match", f"is no regular expression of RE2: {wrong}", "change it"
            )
    for index, origin in enumerate(route.cors_policy.allow_origins if route.cors_policy else ()):
        yield from _string_match(origin, f"{path}.corsPolicy.allowOrigins[{index}]")
    if route.direct_response is not None and not 200 <= route.direct_response.status <= 599:
        yield Problem(f"{path}.directResponse.status", f"is {route.direct_response.status}", "use 200 to 599")
    delay = route.fault.delay if route.fault else None
    if delay is not None and not delay.fixed_delay and not delay.exponential_delay:
        yield Problem(f"{path}.fault.delay.fixedDelay", "is missing", "give a duration above 0s")
    abort = route.fault.abort if route.fault else None
    if abort is not None and abort.http_status is None and abort.grpc_status is None and abort.http2_error is None:
        yield Problem(f"{path}.fault.abort.httpStatus", "is missing", "give httpStatus or grpcStatus")
    if abort is not None and abort.http_status is not None and not 200 <= abort.http_status <= 599:
        yield Problem(f"{path}.fault.abort.httpStatus", f"is {abort.http_status}", "use 200 to 599")
    per_try = route.retries.per_try_timeout if route.retries else None
    if per_try and route.timeout and route.timeout < per_try:
        at = f"{path}.retries.perTryTimeout"
        yield Problem(at, "is longer than the route's timeout", "shorten it", severity=Severity.WARNING)
