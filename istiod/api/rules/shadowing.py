"""Routes of one VirtualService that can never be used, as others before them take all their requests. Pure.

Conservative: a match covers another one only where each of its conditions follows from a condition of the other, so
that what is named here is certain. Rules: routes are tried in their order (VirtualService reference, `http`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from federation.model.findings import Severity
from istiod.api.fields import StringMatch
from istiod.api.problems import Problem
from istiod.api.virtualservice import HTTPMatchRequest, HTTPRoute, L4MatchAttributes, TCPRoute, TLSRoute

ANY = HTTPMatchRequest()


def check_http(routes: tuple[HTTPRoute, ...]) -> Iterator[Problem]:
    """HTTP routes and matches behind others. A route that delegates covers nothing: its delegate may take less."""
    earlier: list[tuple[int, HTTPMatchRequest]] = []
    for index, route in enumerate(routes):
        own = route.match or (ANY,)
        path = f"spec.http[{index}]"
        taken = [next((known for known, match in earlier if covers(match, request)), None) for request in own]
        if all(known is not None for known in taken):
            yield _unreachable(path, sorted({f"spec.http[{known}]" for known in taken}))
        else:
            for number, known in enumerate(taken):
                if known is not None:
                    yield _ineffective(f"{path}.match[{number}]", f"spec.http[{known}]")
        if route.delegate is None:
            earlier += [(index, request) for request in own]


def check_bytes(routes: Sequence[TCPRoute | TLSRoute], kind: str) -> Iterator[Problem]:
    """TCP or TLS routes and matches behind equal ones; behind a TCP route without a match everything."""
    earlier: list[tuple[int, Any]] = []
    for index, route in enumerate(routes):
        own = route.match or (L4MatchAttributes(),)
        path = f"spec.{kind}[{index}]"
        taken = [next((n for n, match in earlier if match in (request, L4MatchAttributes())), None) for request in own]
        if all(known is not None for known in taken):
            yield _unreachable(path, sorted({f"spec.{kind}[{known}]" for known in taken}))
        else:
            for number, known in enumerate(taken):
                if known is not None:
                    yield _ineffective(f"{path}.match[{number}]", f"spec.{kind}[{known}]")
        earlier += [(index, request) for request in own]


def _unreachable(path: str, by: list[str]) -> Problem:
    message = f"is never used: {' and '.join(by[:3])} before it take all its requests"
    return Problem(path, message, "move it up, or remove it", "UnreachableRoute", Severity.WARNING)


def _ineffective(path: str, by: str) -> Problem:
    message = f"has no effect: {by} takes all its requests"
    return Problem(path, message, "remove it", "IneffectiveMatch", Severity.INFO)


def covers(one: HTTPMatchRequest, other: HTTPMatchRequest) -> bool:
    """Whether every request that `other` takes is taken by `one` too, at every caller."""
    same_caller = (
        (not one.port or one.port == other.port)
        and (not one.gateways or set(one.gateways) == set(other.gateways))
        and (not one.source_namespace or one.source_namespace == other.source_namespace)
        and one.source_labels.items() <= other.source_labels.items()
    )
    # A list of gateways stands in for the tests of labels and namespace.
    if not same_caller or (other.gateways and not one.gateways and (one.source_labels or one.source_namespace)):
        return False
    return (
        _uri_follows(one, other)
        and all(_follows(getattr(one, name), getattr(other, name)) for name in ("scheme", "method", "authority"))
        and _all_follow(one.headers, other.headers)
        and _all_follow(one.query_params, other.query_params)
        and all(name in other.without_headers and other.without_headers[name] == value
                for name, value in one.without_headers.items())
    )  # fmt: skip


def _uri_follows(one: HTTPMatchRequest, other: HTTPMatchRequest) -> bool:
    if one.uri is None or (one.uri.prefix in ("", "/") and one.uri.exact is None and one.uri.regex is None):
        return True
    if one.ignore_uri_case != other.ignore_uri_case and not one.ignore_uri_case:
        return False
    if one.ignore_uri_case and other.uri is not None:
        return _follows(_lower(one.uri), _lower(other.uri))
    return _follows(one.uri, other.uri)


def _lower(match: StringMatch) -> StringMatch:
    exact, prefix = match.exact, match.prefix
    return StringMatch(
        exact=exact.lower() if exact is not None else None,
        prefix=prefix.lower() if prefix is not None else None,
        regex=match.regex,
    )


def _all_follow(one: Mapping[str, StringMatch | None], other: Mapping[str, StringMatch | None]) -> bool:
    """Every condition of `one` follows from the one of the same name; a header that is only there has no value."""
    return all(name in other and _present_follows(value, other[name]) for name, value in one.items())


def _present_follows(one: StringMatch | None, other: StringMatch | None) -> bool:
    return one is None or one == StringMatch() or (other is not None and _follows(one, other))


def _follows(one: StringMatch | None, other: StringMatch | None) -> bool:
    """Whether a value that passes `other` passes `one`."""
    if one is None or one == other:
        return True
    if other is None or one.prefix is None:
        return False
    return any(value is not None and value.startswith(one.prefix) for value in (other.exact, other.prefix))
