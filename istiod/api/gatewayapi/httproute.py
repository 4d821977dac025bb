"""HTTPRoute: where requests go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum

from pydantic import Field

from istiod.api.fields import Model
from istiod.api.gatewayapi.filters import METHODS, HTTPFilter, PathModifier, check_filters, check_header
from istiod.api.gatewayapi.references import (
    MAX_RULES,
    BackendRef,
    GatewayDuration,
    ParentReference,
    SessionPersistence,
    check_backend,
    check_hostnames,
    check_length,
    check_parents,
    check_rule_names,
    check_session,
)
from istiod.api.problems import Problem
from istiod.api.regex import regex_problem

MAX_MATCHES = 128
_NOT_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F", "#")
_NOT_AT_END = ("/..", "/.")
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")


class MatchType(StrEnum):
    """How a value is compared."""

    EXACT = "Exact"
    REGULAR_EXPRESSION = "RegularExpression"


class PathMatchType(StrEnum):
    """How a path is compared; a prefix ends at a segment."""

    EXACT = "Exact"
    PATH_PREFIX = "PathPrefix"
    REGULAR_EXPRESSION = "RegularExpression"


class PathMatch(Model):
    """The path of a request."""

    type: PathMatchType = PathMatchType.PATH_PREFIX
    value: str = "/"


class ValueMatch(Model):
    """A header or query parameter of a request."""

    type: MatchType = MatchType.EXACT
    name: str
    value: str


class HTTPMatch(Model):
    """Conditions of a rule; all must hold."""

    path: PathMatch = PathMatch()
    headers: tuple[ValueMatch, ...] = ()
    query_params: tuple[ValueMatch, ...] = ()
    method: str = ""


class HTTPBackend(BackendRef):
    """A backend, with filters for what goes there."""

    filters: tuple[HTTPFilter, ...] = ()


class Timeouts(Model):
    """How long a request, and each try of a backend, may take; 0s means without end."""

    request: GatewayDuration | None = None
    backend_request: GatewayDuration | None = None


class Retry(Model):
    """When and how often a backend is tried again."""

    codes: tuple[int, ...] = ()
    attempts: int | None = Field(default=None, ge=0, le=2**31 - 1)
    backoff: GatewayDuration | None = None


class HTTPRule(Model):
    """One rule: conditions, filters and backends."""

    name: str = ""
    matches: tuple[HTTPMatch, ...] = ()
    filters: tuple[HTTPFilter, ...] = ()
    backend_refs: tuple[HTTPBackend, ...] = ()
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    session_persistence: SessionPersistence | None = None


class HTTPRoute(Model):
    """gateway.networking.k8s.io HTTPRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str = ""
    hostnames: tuple[str, ...] = ()
    rules: tuple[HTTPRule, ...] = (HTTPRule(),)


def validate(route: HTTPRoute) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    yield from check_parents(route.parent_refs)
    yield from check_hostnames(route.hostnames)
    yield from check_length(route.rules, MAX_RULES, "spec.rules", 1)
    yield from check_rule_names(rule.name for rule in route.rules)
    count = sum(len(rule.matches) for rule in route.rules)
    if count > MAX_MATCHES:
        yield Problem("spec.rules", f"has {count} matches", f"keep at most {MAX_MATCHES} in one route")
    for index, rule in enumerate(route.rules):
        yield from _rule(rule, f"spec.rules[{index}]")


def _rule(rule: HTTPRule, path: str) -> Iterator[Problem]:
    yield from check_length(rule.matches, 64, f"{path}.matches")
    yield from check_length(rule.backend_refs, 16, f"{path}.backendRefs")
    for index, match in enumerate(rule.matches):
        yield from _match(match, f"{path}.matches[{index}]")
    yield from check_filters(rule.filters, f"{path}.filters")
    yield from _prefix_replacements(rule, rule.filters, f"{path}.filters")
    if rule.backend_refs and any(item.request_redirect is not None for item in rule.filters):
        yield Problem(f"{path}.backendRefs", "is given beside a RequestRedirect", "keep one of them")
    for index, backend in enumerate(rule.backend_refs):
        at = f"{path}.backendRefs[{index}]"
        yield from check_backend(backend, at)
        yield from check_filters(backend.filters, f"{at}.filters")
        yield from _prefix_replacements(rule, backend.filters, f"{at}.filters")
    timeouts = rule.timeouts
    if timeouts is not None and timeouts.request and (timeouts.backend_request or 0) > timeouts.request:
        yield Problem(f"{path}.timeouts.backendRequest", "is longer than timeouts.request", "shorten it")
    for index, code in enumerate(rule.retry.codes if rule.retry is not None else ()):
        if not 400 <= code <= 599:
            yield Problem(f"{path}.retry.codes[{index}]", f"is {code}", "use 400 to 599")
    yield from check_session(rule.session_persistence, f"{path}.sessionPersistence")


def _match(match: HTTPMatch, path: str) -> Iterator[Problem]:
    value = match.path.value
    if match.path.type is PathMatchType.REGULAR_EXPRESSION:
        yield from _regex(value, f"{path}.path.value")
    elif not value.startswith("/"):
        yield Problem(f"{path}.path.value", f"{value[:80]!r} is no absolute path", "begin it with '/'")
    else:
        found = [part for part in _NOT_IN_PATHS if part in value] + [end for end in _NOT_AT_END if value.endswith(end)]
        if not found and not _PATH.fullmatch(value):
            yield Problem(f"{path}.path.value", f"{value[:80]!r} has characters that no path has", "write them as %XX")
        if found:
            yield Problem(
                f"{path}.path.value", f"has {found[0]!r}, which no request keeps", "write the path without it"
            )
    if len(value) > 1024:
        yield Problem(f"{path}.path.value", f"has {len(value)} characters", "keep at most 1024")
    if match.method and match.method not in METHODS:
        yield Problem(f"{path}.method", f"{match.method[:80]!r} is no method", "use GET, POST, PUT, …")
    yield from check_values(match.headers, f"{path}.headers")
    yield from check_values(match.query_params, f"{path}.queryParams")


def check_values(values: Sequence[ValueMatch], path: str) -> Iterator[Problem]:
    """Conditions on headers or query parameters: names that can be, regular expressions of RE2."""
    yield from check_length(values, 16, path)
    for index, item in enumerate(values):
        yield from check_header(item.name, f"{path}[{index}].name")
        if not 1 <= len(item.value) <= 4096:
            yield Problem(f"{path}[{index}].value", f"has {len(item.value)} characters", "write 1 to 4096")
        elif item.type is MatchType.REGULAR_EXPRESSION:
            yield from _regex(item.value, f"{path}[{index}].value")


def _regex(text: str, path: str) -> Iterator[Problem]:
    wrong = regex_problem(text)
    if wrong:
        yield Problem(path, f"{text[:80]!r} is no regular expression of RE2: {wrong}", "change it")


def _prefix_replacements(rule: HTTPRule, filters: Sequence[HTTPFilter], path: str) -> Iterator[Problem]:
    """A prefix can be replaced only where exactly one prefix is matched."""
    only = rule.matches[0] if len(rule.matches) == 1 else None
    if only is not None and only.path.type is PathMatchType.PATH_PREFIX:
        return
    if not rule.matches:
        return  # which means the prefix /
    for index, item in enumerate(filters):
        for field, part in (("requestRedirect", item.request_redirect), ("urlRewrite", item.url_rewrite)):
            modifier: PathModifier | None = part.path if part is not None else None
            if modifier is not None and modifier.replace_prefix_match is not None:
                message = "replaces a prefix where not exactly one prefix is matched"
                yield Problem(
                    f"{path}[{index}].{field}.path", message, "match one PathPrefix, or replace the whole path"
                )
