"""What Istio's validator says of an HTTP route of a VirtualService: its match, its one action and what goes with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus

from federation.model.findings import Severity
from istiod.api.claims import check_claims, routing_claim
from istiod.api.fields import PercentValue, StringMatch
from istiod.api.headers import AUTHORITY, check_header_name, check_headers, check_one_line
from istiod.api.problems import Problem
from istiod.api.regex import regex_problem
from istiod.api.rules.destination import check_destination
from istiod.api.rules.values import check_duration, check_gateways, is_label
from istiod.api.virtualservice import (
    Abort,
    CorsPolicy,
    Delay,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPMatchRequest,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
)
from istiod.api.workloadentry import check_labels

MAX_REGEX = 1024
LARGE_BODY, MAX_BODY = 100 << 10, 1 << 20
REDIRECTS = (301, 302, 303, 307, 308)
METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"])
_STATUSES = frozenset(status.value for status in HTTPStatus)
_HEADER = re.compile(r"[-_A-Za-z0-9]+")
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~A-Za-z0-9]+")  # RFC 9110, 5.6.2; a `*` stands for all headers
RETRY_ON = frozenset(
    [
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ]
)
# google.rpc.Code by name, as `fault.abort.grpcStatus` has it; the number is the place in this list.
GRPC_STATUSES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)


def check_route(route: HTTPRoute, path: str, delegated: bool, at_gateway: bool) -> Iterator[Problem]:
    """One route. `delegated`: it is of a VirtualService without hosts; `at_gateway`: it is for gateways alone."""
    yield from _action(route, path, delegated)
    for index, match in enumerate(route.match):
        yield from _match(match, f"{path}.match[{index}]", at_gateway)
    yield from _weighted(route.route, path)
    yield from _mirrors(route, path)
    yield from check_headers(route.headers, f"{path}.headers")
    yield from _authority(route, path)
    if route.timeout == 0:
        message, fix = "is 0s, which Istio refuses; here it means none", "leave it out"
        yield Problem(f"{path}.timeout", message, fix, severity=Severity.WARNING)
    else:
        yield from check_duration(route.timeout, f"{path}.timeout")
    if route.redirect is not None:
        yield from _redirect(route.redirect, f"{path}.redirect")
        yield from _redirected_prefix(route.redirect, route.match, path)
    if route.rewrite is not None:
        yield from _rewrite(route.rewrite, f"{path}.rewrite")
    if route.direct_response is not None:
        yield from _direct_response(route.direct_response, f"{path}.directResponse")
    if route.cors_policy is not None:
        yield from _cors(route.cors_policy, f"{path}.corsPolicy")
    if route.fault is not None:
        yield from _fault(route.fault, f"{path}.fault")
    if route.retries is not None:
        yield from _retries(route.retries, f"{path}.retries", route.timeout)


def _action(route: HTTPRoute, path: str, delegated: bool) -> Iterator[Problem]:
    """Exactly one thing happens to a request; faults and rewrites go with forwarding alone."""
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
    elif actions[0] in ("redirect", "directResponse"):
        for name, given in (("fault", route.fault), ("rewrite", route.rewrite)):
            if given is not None:
                yield Problem(f"{path}.{name}", f"is given together with {actions[0]}", "keep one of them")
    if delegated and route.delegate is not None:
        message = "stands in a VirtualService without hosts"
        yield Problem(f"{path}.delegate", message, "only one level of delegation is possible")


def _weighted(routes: Sequence[HTTPRouteDestination], path: str) -> Iterator[Problem]:
    for index, weighted in enumerate(routes):
        yield from check_destination(weighted.destination, f"{path}.route[{index}].destination")
        yield from check_headers(weighted.headers, f"{path}.route[{index}].headers")
    if len(routes) > 1 and not sum(weighted.weight for weighted in routes):
        yield Problem(f"{path}.route", "has only weights of 0", "give at least one destination a weight")


def _mirrors(route: HTTPRoute, path: str) -> Iterator[Problem]:
    if route.mirror is not None:
        yield from check_destination(route.mirror, f"{path}.mirror")
        if route.mirrors:
            yield Problem(f"{path}.mirrors", "is given together with mirror", "keep mirrors")
    for index, mirror in enumerate(route.mirrors):
        yield from check_destination(mirror.destination, f"{path}.mirrors[{index}].destination")
    if route.mirror_percent is not None:
        fix = f"use mirrorPercentage: {{value: {route.mirror_percent}}}"
        yield Problem(f"{path}.mirrorPercent", "is deprecated", fix, "DeprecatedField", Severity.WARNING)


def _match(match: HTTPMatchRequest, path: str, at_gateway: bool) -> Iterator[Problem]:
    yield from _string(match.uri, f"{path}.uri", empty_prefix=True)
    for name in ("scheme", "method", "authority"):
        yield from _string(getattr(match, name), f"{path}.{name}")
    for field, conditions in (
        ("headers", match.headers),
        ("withoutHeaders", match.without_headers),
        ("queryParams", match.query_params),
    ):
        yield from _conditions(conditions, f"{path}.{field}", field)
    yield from check_claims(match.headers, f"{path}.headers", at_gateway)
    yield from check_claims(match.without_headers, f"{path}.withoutHeaders", at_gateway)
    yield from check_labels(match.source_labels, f"{path}.sourceLabels")
    yield from check_gateways(match.gateways, f"{path}.gateways")
    if match.source_namespace and not is_label(match.source_namespace):
        yield Problem(f"{path}.sourceNamespace", f"{match.source_namespace[:80]!r} is no namespace", "name one")


def _conditions(conditions: Mapping[str, StringMatch | None], path: str, field: str) -> Iterator[Problem]:
    for name, condition in conditions.items():
        yield from check_header_name(name, path)
        if name and field != "queryParams" and routing_claim(name) is None and not _HEADER.fullmatch(name):
            yield Problem(f"{path}[{name[:80]}]", "is no name of a header", "use letters, digits, '-' and '_'")
        present = condition is not None and condition.regex == "*"  # not a regular expression, but Istio's word for it
        if not (present and field == "withoutHeaders"):
            yield from _string(condition, f"{path}[{name[:80]}]")


def _string(match: StringMatch | None, path: str, empty_prefix: bool = False) -> Iterator[Problem]:
    if match is None:
        return
    if sum(value is not None for value in (match.exact, match.prefix, match.regex)) > 1:
        yield Problem(path, "has more than one of exact, prefix and regex", "keep one of them")
    if match.prefix == "" and not empty_prefix:
        yield Problem(f"{path}.prefix", "is empty", "give the beginning of the value")
    if match.regex is not None:
        yield from _regex(match.regex, f"{path}.regex")


def _regex(pattern: str, path: str) -> Iterator[Problem]:
    if not pattern:
        yield Problem(path, "is empty", "give a regular expression")
    elif len(pattern) > MAX_REGEX:
        yield Problem(path, f"has {len(pattern)} characters, more than {MAX_REGEX}", "shorten it, or write two matches")
    elif wrong := regex_problem(pattern):
        yield Problem(path, f"{pattern[:80]!r} is no regular expression of RE2: {wrong}", "change it")


def _authority(route: HTTPRoute, path: str) -> Iterator[Problem]:
    """The authority of requests is changed in one place."""
    request = route.headers.request if route.headers is not None else None
    places = [f"{path}.rewrite.authority"] if route.rewrite is not None and route.rewrite.authority else []
    for verb, names in (("set", request.set), ("add", request.add)) if request is not None else ():
        places += [f"{path}.headers.request.{verb}[{name}]" for name in names if name.lower() in AUTHORITY]
    if len(places) > 1:
        yield Problem(places[1], f"changes the authority, as {places[0]} does", "keep one of them")


def _redirect(redirect: HTTPRedirect, path: str) -> Iterator[Problem]:
    yield from check_one_line(redirect.uri, f"{path}.uri")
    yield from check_one_line(redirect.authority, f"{path}.authority")
    yield from check_one_line(redirect.prefix_rewrite, f"{path}.prefixRewrite")
    leads = redirect.uri or redirect.prefix_rewrite or redirect.authority or redirect.scheme
    if not (leads or redirect.port or redirect.derive_port):
        yield Problem(path, "leads nowhere", "give uri, authority, scheme or port")
    if redirect.uri and redirect.prefix_rewrite:
        yield Problem(path, "has both uri and prefixRewrite", "keep one of them")
    if redirect.redirect_code not in (0, *REDIRECTS):
        fix = "use 301, 302, 303, 307 or 308"
        yield Problem(f"{path}.redirectCode", f"is {redirect.redirect_code}", fix)
    if redirect.scheme not in ("", "http", "https"):
        yield Problem(f"{path}.scheme", f"{redirect.scheme[:80]!r} is no scheme", "use http or https")


def _redirected_prefix(redirect: HTTPRedirect, matches: Sequence[HTTPMatchRequest], path: str) -> Iterator[Problem]:
    """What comes in place of a prefix needs paths that are matched by one."""
    for index, match in enumerate(matches if redirect.prefix_rewrite else ()):
        if match.uri is not None and match.uri.prefix is None:
            message, fix = "is no prefix, and redirect.prefixRewrite is given", "match a prefix, or use redirect.uri"
            yield Problem(f"{path}.match[{index}].uri", message, fix)


def _rewrite(rewrite: HTTPRewrite, path: str) -> Iterator[Problem]:
    yield from check_one_line(rewrite.uri, f"{path}.uri")
    yield from check_one_line(rewrite.authority, f"{path}.authority")
    by_regex = rewrite.uri_regex_rewrite
    if rewrite.uri and by_regex is not None:
        yield Problem(path, "has both uri and uriRegexRewrite", "keep one of them")
    if not rewrite.uri and not rewrite.authority and by_regex is None:
        yield Problem(path, "is empty", "give uri, uriRegexRewrite or authority")
    if by_regex is not None:
        yield from _regex(by_regex.match, f"{path}.uriRegexRewrite.match")
        if not by_regex.rewrite:
            yield Problem(f"{path}.uriRegexRewrite.rewrite", "is empty", "give what comes in place of the match")


def _direct_response(response: HTTPDirectResponse, path: str) -> Iterator[Problem]:
    if not 200 <= response.status <= 599:
        yield Problem(f"{path}.status", f"is {response.status}", "use 200 to 599")
    body = response.body
    size = len((body.string or body.bytes or "").encode()) if body is not None else 0
    if size > MAX_BODY:
        yield Problem(f"{path}.body", f"has {size} bytes, more than {MAX_BODY}", "serve it from a workload")
    elif size > LARGE_BODY:
        message, fix = f"has {size} bytes, which every proxy gets", "serve it from a workload"
        yield Problem(f"{path}.body", message, fix, severity=Severity.WARNING)


def _cors(policy: CorsPolicy, path: str) -> Iterator[Problem]:
    for index, origin in enumerate(policy.allow_origins):
        at = f"{path}.allowOrigins[{index}]"
        if not (origin.exact or origin.prefix or origin.regex):
            yield Problem(at, "is empty", "give exact, prefix or regex")
        yield from _string(origin, at, empty_prefix=True) if origin.regex != "" else ()
    for index, method in enumerate(policy.allow_methods):
        if method not in METHODS and method != "*":
            yield Problem(f"{path}.allowMethods[{index}]", f"{method[:80]!r} is no method", "write it in upper case")
    for field, names in (("allowHeaders", policy.allow_headers), ("exposeHeaders", policy.expose_headers)):
        for index, name in enumerate(names):
            if not _TOKEN.fullmatch(name):
                fix = "use letters, digits, '-' and '_'"
                yield Problem(f"{path}.{field}[{index}]", f"{name[:80]!r} is no name of a header", fix)
    yield from check_duration(policy.max_age, f"{path}.maxAge")
    if policy.max_age is not None and policy.max_age % 1 and policy.max_age >= 0.001:
        yield Problem(f"{path}.maxAge", "has parts of a second", "give whole seconds")
    if policy.unmatched_preflights not in ("", "UNSPECIFIED", "FORWARD", "IGNORE"):
        at = f"{path}.unmatchedPreflights"
        yield Problem(at, f"{policy.unmatched_preflights[:80]!r} is unknown", "use FORWARD or IGNORE")


def _fault(fault: HTTPFaultInjection, path: str) -> Iterator[Problem]:
    if fault.delay is None and fault.abort is None:
        yield Problem(path, "is empty", "give delay or abort")
    if fault.delay is not None:
        yield from _delay(fault.delay, f"{path}.delay")
    if fault.abort is not None:
        yield from _abort(fault.abort, f"{path}.abort")


def _delay(delay: Delay, path: str) -> Iterator[Problem]:
    yield from _percentage(delay.percentage, f"{path}.percentage.value")
    yield from check_duration(delay.fixed_delay, f"{path}.fixedDelay")
    if delay.fixed_delay is None and delay.exponential_delay is None:
        message, fix = "is missing, so nothing is delayed", "give a duration"
        yield Problem(f"{path}.fixedDelay", message, fix, severity=Severity.WARNING)


def _abort(abort: Abort, path: str) -> Iterator[Problem]:
    yield from _percentage(abort.percentage, f"{path}.percentage.value")
    if abort.http_status is None and abort.grpc_status is None and abort.http2_error is None:
        message, fix = "is missing, so nothing is aborted", "give httpStatus or grpcStatus"
        yield Problem(f"{path}.httpStatus", message, fix, severity=Severity.WARNING)
    if abort.http_status is not None and not 200 <= abort.http_status <= 599:
        yield Problem(f"{path}.httpStatus", f"is {abort.http_status}", "use 200 to 599")
    if abort.http_status is not None and abort.grpc_status is not None:
        yield Problem(path, "has httpStatus and grpcStatus", "keep one of them")
    if abort.grpc_status is not None and abort.grpc_status not in GRPC_STATUSES:
        yield Problem(f"{path}.grpcStatus", f"{abort.grpc_status[:80]!r} is no status of gRPC", "e.g. UNAVAILABLE")


def _percentage(percentage: PercentValue | None, path: str) -> Iterator[Problem]:
    if percentage is not None and 0 < percentage.value < 0.0001:
        yield Problem(path, f"is {percentage.value:g}, below what can be counted", "use 0, or 0.0001 or more")


def _retries(retries: HTTPRetry, path: str, timeout: float | None) -> Iterator[Problem]:
    yield from check_duration(retries.per_try_timeout, f"{path}.perTryTimeout")
    yield from check_duration(retries.backoff, f"{path}.backoff")
    more = retries.per_try_timeout is not None or retries.retry_on or retries.retry_remote_localities is not None
    if retries.attempts == 0 and more:
        yield Problem(f"{path}.attempts", "is 0, and the rest says how to retry", "give attempts, or remove the rest")
    for word in retries.retry_on.split(",") if retries.retry_on else ():
        if word not in RETRY_ON and not _is_status(word):
            message = f"{word[:80]!r} is no condition to retry on"
            yield Problem(f"{path}.retryOn", message, "e.g. connect-failure,refused-stream,503")
    per_try = retries.per_try_timeout
    if per_try and timeout and timeout < per_try:
        at = f"{path}.perTryTimeout"
        yield Problem(at, "is longer than the route's timeout", "shorten it", severity=Severity.WARNING)


def _is_status(word: str) -> bool:
    return word.isdecimal() and int(word) in _STATUSES
