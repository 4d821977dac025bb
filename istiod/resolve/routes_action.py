"""What happens to a matched request: forward, redirect or answer, with retries, rewrites, faults and header changes.

Rules: VirtualService reference, `HTTPRoute`. Where it is silent the profile decides (`istiod.resolve.defaults`); an
explicit `retries` means what Istio says it means.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from federation.model.names import resolve_short_host
from federation.model.sni import OutboundName
from istiod.api.destinationrule import TrafficPolicy
from istiod.api.headers import AUTHORITY, Headers
from istiod.api.rules.http import GRPC_STATUSES
from istiod.api.virtualservice import (
    CorsPolicy,
    Delay,
    Destination,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRetry,
    HTTPRoute,
    HTTPRouteDestination,
)
from istiod.resolve.defaults import IDEMPOTENT_METHODS, ISTIO_RETRY, Profile
from istiod.resolve.hashing import hash_policies
from istiod.resolve.routes_match import string_match
from istiod.resolve.specs.match import HeaderMatch, MatchKind, StringMatch
from istiod.resolve.specs.route import (
    NO_HEADERS,
    CorsSpec,
    DirectResponse,
    FaultSpec,
    HashPolicy,
    HeaderOperations,
    MirrorSpec,
    Redirect,
    RetrySpec,
    RouteAction,
    RouteSpec,
    WeightedCluster,
)

# With `retryRemoteLocalities` a retry leaves a locality tier after so many tries, as in Istio.
TRIES_PER_LOCALITY = 2
IDEMPOTENT = HeaderMatch(":method", StringMatch(MatchKind.REGEX, "|".join(IDEMPOTENT_METHODS)))


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What an action needs from outside its route.

    `namespace` and `domain` complete short hosts. `only_port` gives the port of a service that has just one, else 0.
    `policy` is what is in force for a destination. `retry_idempotent`/`retry_other` hold where a route is silent. `tls`
    says that clients speak TLS to the listener, `forwarded_host` that a rewritten authority is kept in a header.
    """

    namespace: str
    domain: str
    listener_port: int
    only_port: Callable[[str], int]
    policy: Callable[[OutboundName], TrafficPolicy]
    retry_idempotent: RetrySpec
    retry_other: RetrySpec
    tls: bool = False
    forwarded_host: bool = False

    def hash_policies(self, target: OutboundName) -> tuple[HashPolicy, ...]:
        """What consistent hashing looks at for a destination; empty without it."""
        return hash_policies(self.policy(target))

    def target(self, destination: Destination) -> OutboundName:
        """The upstream that a destination means; without a port it is the service's only one, else the listener's."""
        host = resolve_short_host(destination.host, self.namespace, self.domain)
        said = destination.port.number if destination.port is not None else 0
        return OutboundName(said or self.only_port(host) or self.listener_port, destination.subset or "", host)


def default_retries(profile: Profile, mesh_default: HTTPRetry | None) -> tuple[RetrySpec, RetrySpec]:
    """Retries of idempotent and of other methods where a route says nothing: the mesh's policy, else the profile's."""
    if mesh_default is None:
        return profile.retry_idempotent, profile.retry_other
    said = retry_spec(mesh_default) or replace(ISTIO_RETRY, attempts=0)
    return said, said


def retry_spec(said: HTTPRetry) -> RetrySpec | None:
    """An explicit policy; None switches retries off (`attempts: 0`)."""
    if not said.attempts or said.attempts < 0:
        return None
    words, codes = parse_retry_on(said.retry_on or "")
    ignore_previous = said.retry_ignore_previous_hosts
    return RetrySpec(
        retry_on=words or ISTIO_RETRY.retry_on,
        attempts=said.attempts,
        per_try_timeout=said.per_try_timeout,
        retriable_status_codes=codes if words else ISTIO_RETRY.retriable_status_codes,
        previous_hosts=ignore_previous is None or ignore_previous,
        previous_priorities=TRIES_PER_LOCALITY if said.retry_remote_localities else 0,
        host_selection_attempts=ISTIO_RETRY.host_selection_attempts,
        backoff_base=said.backoff or None,
    )


def parse_retry_on(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Split `retryOn` into Envoy's words and status codes, which need the word `retriable-status-codes`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    codes = tuple(int(part) for part in parts if part.isdigit())
    words = [part for part in parts if not part.isdigit()]
    if codes and "retriable-status-codes" not in words:
        words.append("retriable-status-codes")
    return tuple(words), codes


def with_retries(route: RouteSpec, said: HTTPRetry | None, context: ActionContext) -> tuple[RouteSpec, ...]:
    """The route with its retries: two routes when methods that may be repeated have another policy than the rest.

    Envoy gates retries per route, so the first one takes idempotent methods only.
    """
    action = route.action
    if not isinstance(action, RouteAction):
        return (route,)
    if said is not None:
        return (replace(route, action=replace(action, retry=_hashed(retry_spec(said), action))),)
    idempotent, other = (_hashed(spec, action) for spec in (context.retry_idempotent, context.retry_other))
    general = replace(route, action=replace(action, retry=other))
    if idempotent == other:
        return (general,)
    method = next((header for header in route.match.headers if header.name == ":method"), None)
    if method is not None and method.match.kind is MatchKind.EXACT and not method.invert:
        repeatable = method.match.value in IDEMPOTENT_METHODS
        return (replace(route, action=replace(action, retry=idempotent if repeatable else other)),)
    match = replace(route.match, headers=(*route.match.headers, IDEMPOTENT))
    return replace(route, match=match, action=replace(action, retry=idempotent)), general


def _hashed(spec: RetrySpec | None, action: RouteAction) -> RetrySpec | None:
    """With consistent hashing the host is chosen by the hash: avoiding previous hosts would only burn attempts."""
    if spec is None or spec.attempts <= 0:
        return None
    return replace(spec, previous_hosts=False) if action.hash_policies else spec


def forward(http: HTTPRoute, context: ActionContext) -> tuple[RouteAction, HeaderOperations, HeaderOperations]:
    """The action of a route with destinations, and the header changes of requests and responses that belong to the
    route.
    """
    request, response, host = _route_headers(http.headers)
    destinations = _weighted(http.route or ())
    if len(http.route) == 1:
        only_request, only_response, only_host = _route_headers(destinations[0].headers)
        request, response, host = _joined(request, only_request), _joined(response, only_response), host or only_host
        clusters: tuple[WeightedCluster, ...] = (WeightedCluster(_name(destinations[0], context), 100),)
    else:
        clusters = tuple(_cluster(destination, context) for destination in destinations)
    rewrite = http.rewrite
    regex = rewrite.uri_regex_rewrite if rewrite is not None else None
    timeout = http.timeout or 0.0
    action = RouteAction(
        clusters=clusters,
        timeout=timeout,
        max_grpc_timeout=timeout,
        prefix_rewrite=(rewrite.uri or None) if rewrite is not None and regex is None else None,
        regex_rewrite=(regex.match or "", regex.rewrite or "") if regex is not None else None,
        host_rewrite=(rewrite.authority or "" if rewrite is not None else "") or host,
        mirrors=tuple(_mirrors(http, context)),
        hash_policies=_hash_policies(destinations, context),
        forwarded_host=context.forwarded_host,
    )
    return action, request, response


def _weighted(destinations: Sequence[HTTPRouteDestination]) -> list[HTTPRouteDestination]:
    """A single destination takes everything; of several, those without weight take nothing."""
    if len(destinations) == 1:
        return list(destinations)
    return [destination for destination in destinations if destination.weight] or list(destinations[:1])


def _name(destination: HTTPRouteDestination, context: ActionContext) -> str:
    return context.target(destination.destination).format_cluster()


def _cluster(destination: HTTPRouteDestination, context: ActionContext) -> WeightedCluster:
    request, response, host = _route_headers(destination.headers)
    return WeightedCluster(_name(destination, context), destination.weight or 0, request, response, host)


def _hash_policies(destinations: Iterable[HTTPRouteDestination], context: ActionContext) -> tuple[HashPolicy, ...]:
    found: dict[HashPolicy, None] = {}
    for destination in destinations:
        found.update(dict.fromkeys(context.hash_policies(context.target(destination.destination))))
    return tuple(found)


def _mirrors(http: HTTPRoute, context: ActionContext) -> Iterable[MirrorSpec]:
    if http.mirror is not None:
        percent = http.mirror_percentage.value if http.mirror_percentage is not None else http.mirror_percent
        if percent is None or percent > 0:
            yield MirrorSpec(context.target(http.mirror).format_cluster(), 100.0 if percent is None else float(percent))
    for mirror in http.mirrors or ():
        share = mirror.percentage.value if mirror.percentage is not None else 100.0
        if share:
            yield MirrorSpec(context.target(mirror.destination).format_cluster(), float(share))


def _route_headers(headers: Headers | None) -> tuple[HeaderOperations, HeaderOperations, str]:
    """Request and response changes, and the authority if the request's Host is set: that is a rewrite, not a header."""
    if headers is None:
        return NO_HEADERS, NO_HEADERS, ""
    request, response = headers.request, headers.response
    changes, host = NO_HEADERS, ""
    if request is not None:
        said = (*request.set.items(), *request.add.items())
        host = next((value for name, value in said if name.lower() in AUTHORITY), "")
        changes = HeaderOperations(_headers_of(request.set), _headers_of(request.add), tuple(request.remove))
    answer = NO_HEADERS
    if response is not None:
        answer = HeaderOperations(
            tuple((response.set or {}).items()), tuple((response.add or {}).items()), tuple(response.remove or ())
        )
    return changes, answer, host


def _headers_of(pairs: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs.items() if name.lower() not in AUTHORITY)


def route_headers(http: HTTPRoute) -> tuple[HeaderOperations, HeaderOperations]:
    """Header changes of a route that forwards nothing."""
    request, response, _ = _route_headers(http.headers)
    return request, response


def _joined(first: HeaderOperations, second: HeaderOperations) -> HeaderOperations:
    """Both, one after the other. Envoy does all that set before all that add."""
    return HeaderOperations((*first.set, *second.set), (*first.add, *second.add), (*first.remove, *second.remove))


_STATUSES = frozenset({301, 302, 303, 307, 308})


_DEFAULT_PORTS = {"http": 80, "https": 443}


def redirect(said: HTTPRedirect, listener_port: int, tls: bool) -> Redirect:
    """A redirect; its `uri` replaces the whole path, also where a prefix matched, `prefixRewrite` that prefix.

    `tls` is what the client speaks. A port that goes without saying is not written.
    """
    port = said.port or 0
    if said.derive_port is not None and str(said.derive_port) == "FROM_REQUEST_PORT":
        port = listener_port
    if port == _DEFAULT_PORTS.get(said.scheme or ("https" if tls else "http")):
        port = 0
    status = said.redirect_code or 301
    return Redirect(
        status=status if status in _STATUSES else 301,
        scheme=said.scheme or "",
        host=said.authority or "",
        port=port,
        path=said.uri or "",
        prefix=said.prefix_rewrite or None,
    )


def direct_response(http: HTTPRoute) -> DirectResponse:
    """An answer of the proxy itself."""
    said = http.direct_response
    assert said is not None
    body = said.body
    if body is None:
        return DirectResponse(said.status)
    return DirectResponse(said.status, b64decode(body.bytes) if body.bytes else (body.string or "").encode())


def fault_spec(said: HTTPFaultInjection | None) -> FaultSpec | None:
    """Injected faults. Without a percentage nothing is injected."""
    if said is None:
        return None
    delay, abort = said.delay, said.abort
    spec = FaultSpec(
        delay=delay.fixed_delay if delay is not None else None,
        delay_percent=_percent(delay) if delay is not None else 0.0,
        abort_status=(abort.http_status or None) if abort is not None else None,
        abort_grpc_status=_grpc_status(abort.grpc_status) if abort is not None else None,
        abort_percent=abort.percentage.value if abort is not None and abort.percentage is not None else 0.0,
    )
    return spec if spec.delay is not None or spec.abort_status or spec.abort_grpc_status is not None else None


def _percent(delay: Delay) -> float:
    return delay.percentage.value if delay.percentage is not None else float(delay.percent)


def _grpc_status(text: str | None) -> int | None:
    if not text:
        return None
    if text.isdigit():
        return int(text)
    return GRPC_STATUSES.index(text.upper()) if text.upper() in GRPC_STATUSES else GRPC_STATUSES.index("UNKNOWN")


def cors_spec(said: CorsPolicy | None) -> CorsSpec | None:
    """A cross-origin policy; the old list `allowOrigin` means exact origins."""
    if said is None:
        return None
    origins = tuple(string_match(origin) for origin in said.allow_origins or ())
    if not origins:
        origins = tuple(StringMatch(MatchKind.EXACT, origin) for origin in said.allow_origin or ())
    return CorsSpec(
        allow_origins=origins,
        allow_methods=tuple(said.allow_methods or ()),
        allow_headers=tuple(said.allow_headers or ()),
        expose_headers=tuple(said.expose_headers or ()),
        max_age=said.max_age,
        allow_credentials=said.allow_credentials,
        forward_not_matching_preflights=str(said.unmatched_preflights or "") != "IGNORE",
    )
