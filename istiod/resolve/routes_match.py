"""Which requests a VirtualService route takes: the parts Envoy must test, and those decided here for a class of
proxies.

Rules: VirtualService reference, `HTTPMatchRequest`. Conditions on the caller (source labels and namespace, gateways)
and on the port are facts of the proxy and of the listener, so Envoy never sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from federation.model.labels import Labels
from istiod.api.claims import routing_claim
from istiod.api.fields import StringMatch as StringCondition
from istiod.api.virtualservice import HTTPMatchRequest
from istiod.resolve.specs.match import ClaimMatch, HeaderMatch, MatchKind, QueryMatch, StringMatch
from istiod.resolve.specs.route import RouteMatch

MESH = "mesh"
EVERY_PATH = StringMatch(MatchKind.PREFIX, "/")
CATCH_ALL = RouteMatch(EVERY_PATH)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as matches may test it. `gateways` are `namespace/name` of Gateways, or `mesh` for sidecars."""

    namespace: str
    labels: Labels
    gateways: frozenset[str]
    port: int


def holds_for(match: HTTPMatchRequest, caller: Caller, vs_namespace: str) -> bool:
    """Whether the caller's part of a match holds. A list of gateways replaces the test of labels and namespace."""
    if match.port and match.port != caller.port:
        return False
    if match.gateways:
        return not caller.gateways.isdisjoint(qualified_gateways(match.gateways, vs_namespace))
    if not caller.labels.selected_by(match.source_labels or {}):
        return False
    return not match.source_namespace or match.source_namespace == caller.namespace


def qualified_gateways(names: Iterable[str], namespace: str) -> frozenset[str]:
    """Gateway references as `namespace/name`; `mesh` stays. A name may also be a host (`name.namespace.svc…`)."""
    return frozenset(_qualified(name, namespace) for name in names)


def _qualified(name: str, namespace: str) -> str:
    if name == MESH or "/" in name:
        return name
    short, _, rest = name.partition(".")
    return f"{rest.partition('.')[0]}/{short}" if rest else f"{namespace}/{name}"


def route_match(match: HTTPMatchRequest | None) -> RouteMatch:
    """The request's part of a match; every condition must hold."""
    if match is None:
        return CATCH_ALL
    headers = [*_headers(match.headers or {}), *_without(match.without_headers or {})]
    for name, condition in ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme)):
        if condition is not None:
            headers.append(HeaderMatch(name, string_match(condition)))
    return RouteMatch(
        path=_path(match),
        headers=tuple(headers),
        query=tuple(QueryMatch(name, string_match(value)) for name, value in (match.query_params or {}).items()),
        claims=(*_claims(match.headers or {}), *_claims(match.without_headers or {}, invert=True)),
    )


def _path(match: HTTPMatchRequest) -> StringMatch:
    if match.uri is None:
        return EVERY_PATH
    found = string_match(match.uri)
    if found.kind is MatchKind.PRESENT:
        return EVERY_PATH
    if match.ignore_uri_case and found.kind is not MatchKind.REGEX:
        return StringMatch(found.kind, found.value, ignore_case=True)
    return found


def string_match(condition: StringCondition | None) -> StringMatch:
    """One of exact, prefix and regex; none of them means that the thing is present."""
    if condition is None:
        return StringMatch(MatchKind.PRESENT)
    if condition.exact is not None:
        return StringMatch(MatchKind.EXACT, condition.exact)
    if condition.prefix is not None:
        return StringMatch(MatchKind.PREFIX, condition.prefix)
    if condition.regex is not None:
        return (
            StringMatch(MatchKind.PRESENT) if condition.regex == "*" else StringMatch(MatchKind.REGEX, condition.regex)
        )
    return StringMatch(MatchKind.PRESENT)


def _headers(conditions: Mapping[str, StringCondition | None]) -> Iterable[HeaderMatch]:
    for name, condition in conditions.items():
        if routing_claim(name) is None:
            yield HeaderMatch(name.lower(), string_match(condition))


def _without(conditions: Mapping[str, StringCondition | None]) -> Iterable[HeaderMatch]:
    """A request that lacks the header passes: an absent one counts as empty before the test is turned around."""
    for name, condition in conditions.items():
        found = string_match(condition)
        if routing_claim(name) is None:
            yield HeaderMatch(name.lower(), found, invert=True, missing_is_empty=found.kind is not MatchKind.PRESENT)


def _claims(conditions: Mapping[str, StringCondition | None], invert: bool = False) -> Iterable[ClaimMatch]:
    """Conditions on claims, which stand among those on headers."""
    for name, condition in conditions.items():
        claim = routing_claim(name)
        if claim:
            yield ClaimMatch(claim, string_match(condition), invert)


def is_catch_all(match: RouteMatch) -> bool:
    """Whether every request matches, so that nothing behind it can be reached."""
    if match.headers or match.query or match.claims or match.connect or match.template:
        return False
    path = match.path
    if path is None or (path.kind is MatchKind.PREFIX and path.value in ("", "/")):
        return True
    return path.kind is MatchKind.REGEX and path.value in (".*", "/.*")
