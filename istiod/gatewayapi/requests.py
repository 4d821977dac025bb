"""Rules of HTTPRoute and GRPCRoute -> routes of a VirtualService, each with its place in the standard's precedence.

Rules: HTTPRouteRule and GRPCRouteRule. What a rule cannot do as it is written answers 500; what leads nowhere goes to a
host that no service has, which is answered with 500 too. Prefixes end at path segments, and `%PREFIX()%` in a redirect
keeps the rest of the path: `istiod.resolve.gateway_semantics` reads both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation.model.names import ServiceKey
from federation.model.service import Service
from istiod.api.fields import PercentValue, StringMatch
from istiod.api.gatewayapi.filters import GRPCFilter, HeaderFilter, HTTPFilter
from istiod.api.gatewayapi.grpcroute import GRPCBackend, GRPCMatch, GRPCRoute, GRPCRule
from istiod.api.gatewayapi.httproute import (
    HTTPBackend,
    HTTPMatch,
    HTTPRule,
    MatchType,
    PathMatchType,
    Retry,
    ValueMatch,
)
from istiod.api.gatewayapi.httproute import HTTPRoute as Route
from istiod.api.headers import HeaderOperations, Headers
from istiod.api.meta import Object
from istiod.api.virtualservice import (
    HTTPDirectResponse,
    HTTPMatchRequest,
    HTTPMirrorPolicy,
    HTTPRetry,
    HTTPRoute,
    HTTPRouteDestination,
)
from istiod.gatewayapi.filters import UnknownFilter, cors, literal_headers, redirect, rewrite
from istiod.gatewayapi.status import ACCEPTED, PARTIALLY_INVALID, Fault
from istiod.gatewayapi.world import Grants, Owner, World
from istiod.memo import memo

RETRIES = ("connect-failure", "refused-stream", "unavailable", "cancelled")
DEFAULT_ATTEMPTS = 2  # Istio's, where a rule has `retry` without a number
FAILED = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule is applied, as far as redirects must know: the port and scheme of a listener; 0 inside the mesh."""

    port: int = 0
    scheme: str = "http"


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """One match of one rule as a route; routes with smaller ranks are asked first."""

    rank: tuple[Any, ...]
    route: HTTPRoute


@dataclass(frozen=True, slots=True)
class Converted:
    """All rules of a route at one place."""

    routes: tuple[Ranked, ...]
    faults: tuple[Fault, ...]


@memo(size=20_000)
def convert(
    route: Object[Route] | Object[GRPCRoute],
    services: Mapping[ServiceKey, Service],
    grants: Grants,
    domain: str,
    port: int,
    protocol: str,
) -> Converted:
    """The rules of an HTTPRoute or GRPCRoute at a listener's port and protocol (0 inside the mesh)."""
    world, place = World({}, services, grants, domain), Place(port, protocol.lower())
    owner = Owner(route.kind, route.meta.namespace)
    rules: Sequence[HTTPRule | GRPCRule] = route.spec.rules or (GRPCRule(),)
    routes: list[Ranked] = []
    faults: list[Fault] = []
    broken = 0
    for index, rule in enumerate(rules):
        path = f"spec.rules[{index}]"
        name = f"{route.meta.namespace}.{route.meta.name}.{index}"
        try:
            made = _rule(world, rule, owner, place, name, path, faults)
        except UnknownFilter as unknown:
            broken += 1
            made = HTTPRoute(name=name, direct_response=HTTPDirectResponse(status=FAILED))
            message, fix = "is no filter that is followed, so the rule answers 500", "remove it"
            faults.append(Fault(PARTIALLY_INVALID, "UnsupportedValue", unknown.path, message, fix))
        for number, match in enumerate(_matches(rule)):
            age = (route.meta.created, route.meta.namespace, route.meta.name, route.kind, index, number)
            routes.append(Ranked((*_specificity(match), *age), made.model_copy(update={"match": (match,)})))
    if broken == len(rules):
        faults = [_whole(fault) if fault.condition == PARTIALLY_INVALID else fault for fault in faults]
    return Converted(tuple(routes), tuple(faults))


def _whole(fault: Fault) -> Fault:
    return Fault(ACCEPTED, fault.reason, fault.path, fault.message, fault.fix)


def _matches(rule: HTTPRule | GRPCRule) -> Iterator[HTTPMatchRequest]:
    if isinstance(rule, HTTPRule):
        yield from (_http_match(match) for match in rule.matches or (HTTPMatch(),))
    else:
        yield from (_grpc_match(match) for match in rule.matches or (GRPCMatch(),))


def _http_match(match: HTTPMatch) -> HTTPMatchRequest:
    value = match.path.value
    uri = {
        PathMatchType.EXACT: StringMatch(exact=value),
        PathMatchType.PATH_PREFIX: StringMatch(prefix=value.rstrip("/") or "/"),
        PathMatchType.REGULAR_EXPRESSION: StringMatch(regex=value),
    }[match.path.type]
    return HTTPMatchRequest(
        uri=uri,
        method=StringMatch(exact=match.method) if match.method else None,
        headers=_values((item.name.lower(), item) for item in match.headers),
        query_params=_values((item.name, item) for item in match.query_params),
    )


def _values(items: Iterable[tuple[str, ValueMatch]]) -> dict[str, StringMatch | None]:
    """Conditions by name; of several for one name only the first counts, as the standard says."""
    found: dict[str, StringMatch | None] = {}
    for name, item in items:
        exact = item.type is MatchType.EXACT
        found.setdefault(name, StringMatch(exact=item.value) if exact else StringMatch(regex=item.value))
    return found


def _grpc_match(match: GRPCMatch) -> HTTPMatchRequest:
    return HTTPMatchRequest(uri=_grpc_path(match), headers=_values((item.name.lower(), item) for item in match.headers))


def _grpc_path(match: GRPCMatch) -> StringMatch:
    """`/service/method` of a call."""
    said = match.method
    if said is None:
        return StringMatch(prefix="/")
    if said.type is MatchType.REGULAR_EXPRESSION:
        return StringMatch(regex=f"/{said.service or '[^/]+'}/{said.method or '[^/]+'}")
    if not said.service:
        return StringMatch(regex=f"/[^/]+/{re.escape(said.method)}")
    return (
        StringMatch(exact=f"/{said.service}/{said.method}") if said.method else StringMatch(prefix=f"/{said.service}")
    )


def _specificity(match: HTTPMatchRequest) -> tuple[int, int, int, int, int]:
    """Exact paths, then the longest prefix, then regular expressions; then a method, more headers, more parameters."""
    uri = match.uri
    assert uri is not None
    if uri.exact is not None:
        kind, length = 0, len(uri.exact)
    elif uri.prefix is not None:
        kind, length = 1, len(uri.prefix)
    else:
        kind, length = 2, len(uri.regex or "")
    if uri.prefix == "/":
        kind = 3  # the match of a rule that says nothing about paths must not hide regular expressions
    return kind, -length, 0 if match.method else 1, -len(match.headers), -len(match.query_params)


def _rule(
    world: World, rule: HTTPRule | GRPCRule, owner: Owner, place: Place, name: str, path: str, faults: list[Fault]
) -> HTTPRoute:
    """One rule without its matches; raises UnknownFilter."""
    made: dict[str, Any] = {"name": name, **_filters(world, rule.filters, owner, place, path, faults)}
    if isinstance(rule, HTTPRule):
        made.update(_times(rule))
    if "redirect" in made:
        return HTTPRoute(**made)
    destinations = _destinations(world, rule, owner, path, faults)
    if not any(destination.weight for destination in destinations):
        return HTTPRoute(**{**made, "rewrite": None}, direct_response=HTTPDirectResponse(status=FAILED))
    return HTTPRoute(**made, route=destinations)


def _filters(
    world: World, filters: Sequence[GRPCFilter], owner: Owner, place: Place, path: str, faults: list[Fault]
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    mirrors = []
    changes: dict[str, HeaderOperations] = {}
    for index, item in enumerate(filters):
        at = f"{path}.filters[{index}]"
        if item.request_header_modifier is not None:
            changes["request"] = literal_headers(item.request_header_modifier)
        elif item.response_header_modifier is not None:
            changes["response"] = literal_headers(item.response_header_modifier)
        elif item.request_mirror is not None:
            said = item.request_mirror
            where = f"{at}.requestMirror.backendRef"
            destination, fault = world.backend(said.backend_ref, owner, where)
            if fault is not None:
                faults.append(fault)
                continue
            share = said.percent if said.percent is not None else 100.0
            if said.fraction is not None:
                share = 100.0 * said.fraction.numerator / said.fraction.denominator
            mirrors.append(HTTPMirrorPolicy(destination=destination, percentage=PercentValue(value=share)))
        elif isinstance(item, HTTPFilter) and item.request_redirect is not None:
            made["redirect"] = redirect(item.request_redirect, place.port, place.scheme)
        elif isinstance(item, HTTPFilter) and item.url_rewrite is not None:
            made["rewrite"] = rewrite(item.url_rewrite)
        elif isinstance(item, HTTPFilter) and item.cors is not None:
            made["cors_policy"] = cors(item.cors)
        else:
            raise UnknownFilter(f"{at}.type")
    if changes:
        made["headers"] = Headers(**changes)
    if mirrors:
        made["mirrors"] = tuple(mirrors)
    return made


def _times(rule: HTTPRule) -> dict[str, Any]:
    """Timeouts and retries. Without `retry` a backend is tried within its own timeout once, as Istio has it."""
    made: dict[str, Any] = {}
    timeouts = rule.timeouts
    backend = timeouts.backend_request if timeouts is not None else None
    if timeouts is not None and timeouts.request:
        made["timeout"] = _text(timeouts.request)
    if rule.retry is not None:
        made["retries"] = _retry(rule.retry, backend)
    elif backend:
        made["timeout"] = _text(backend)
    return made


def _retry(said: Retry, backend_timeout: float | None) -> HTTPRetry:
    attempts = DEFAULT_ATTEMPTS if said.attempts is None else said.attempts
    return HTTPRetry.model_validate(
        {
            "attempts": attempts,
            "perTryTimeout": _text(backend_timeout) if backend_timeout else None,
            "retryOn": ",".join((*RETRIES, *map(str, said.codes))),
            "backoff": _text(said.backoff) if said.backoff else None,
        }
    )


def _text(seconds: float) -> str:
    """A duration as Istio's API spells it; the Gateway API's have no more than milliseconds."""
    return f"{seconds:.3f}s"


def _destinations(
    world: World, rule: HTTPRule | GRPCRule, owner: Owner, path: str, faults: list[Fault]
) -> tuple[HTTPRouteDestination, ...]:
    made = []
    backends: Sequence[HTTPBackend | GRPCBackend] = rule.backend_refs
    for index, backend in enumerate(backends):
        at = f"{path}.backendRefs[{index}]"
        destination, fault = world.backend(backend, owner, at)
        if fault is not None:
            faults.append(fault)
        headers = _backend_headers(backend.filters, at)
        made.append(HTTPRouteDestination(destination=destination, weight=backend.weight, headers=headers))
    return tuple(made)


def _backend_headers(filters: Sequence[GRPCFilter], path: str) -> Headers | None:
    """Filters of one backend; only headers can be changed there."""
    changes: dict[str, HeaderOperations] = {}
    for index, item in enumerate(filters):
        modifier: HeaderFilter | None = item.request_header_modifier or item.response_header_modifier
        if modifier is None:
            raise UnknownFilter(f"{path}.filters[{index}].type")
        side = "request" if item.request_header_modifier is not None else "response"
        changes[side] = literal_headers(modifier)
    return Headers(**changes) if changes else None
