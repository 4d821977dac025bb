"""GRPCRoute: where calls of gRPC go, by service and method."""

from __future__ import annotations

import re
from collections.abc import Iterator

from istiod.api.fields import Model
from istiod.api.gatewayapi.filters import GRPCFilter, check_filters
from istiod.api.gatewayapi.httproute import MAX_MATCHES, MatchType, ValueMatch, check_values
from istiod.api.gatewayapi.references import (
    MAX_RULES,
    BackendRef,
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

_SERVICE = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*(\.[a-zA-Z_][a-zA-Z_0-9]*)*")
_METHOD = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*")


class MethodMatch(Model):
    """A service, a method, or both."""

    type: MatchType = MatchType.EXACT
    service: str = ""
    method: str = ""


class GRPCMatch(Model):
    """Conditions of a rule; all must hold."""

    method: MethodMatch | None = None
    headers: tuple[ValueMatch, ...] = ()


class GRPCBackend(BackendRef):
    """A backend, with filters for what goes there."""

    filters: tuple[GRPCFilter, ...] = ()


class GRPCRule(Model):
    """One rule: conditions, filters and backends."""

    name: str = ""
    matches: tuple[GRPCMatch, ...] = ()
    filters: tuple[GRPCFilter, ...] = ()
    backend_refs: tuple[GRPCBackend, ...] = ()
    session_persistence: SessionPersistence | None = None


class GRPCRoute(Model):
    """gateway.networking.k8s.io GRPCRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str = ""
    hostnames: tuple[str, ...] = ()
    rules: tuple[GRPCRule, ...] = ()


def validate(route: GRPCRoute) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    yield from check_parents(route.parent_refs)
    yield from check_hostnames(route.hostnames)
    yield from check_length(route.rules, MAX_RULES, "spec.rules")
    yield from check_rule_names(rule.name for rule in route.rules)
    count = sum(len(rule.matches) for rule in route.rules)
    if count > MAX_MATCHES:
        yield Problem("spec.rules", f"has {count} matches", f"keep at most {MAX_MATCHES} in one route")
    for index, rule in enumerate(route.rules):
        at = f"spec.rules[{index}]"
        yield from check_length(rule.matches, 64, f"{at}.matches")
        yield from check_length(rule.backend_refs, 16, f"{at}.backendRefs")
        yield from check_filters(rule.filters, f"{at}.filters")
        yield from check_session(rule.session_persistence, f"{at}.sessionPersistence")
        for number, match in enumerate(rule.matches):
            yield from check_values(match.headers, f"{at}.matches[{number}].headers")
            if match.method is not None:
                yield from _method(match.method, f"{at}.matches[{number}].method")
        for number, backend in enumerate(rule.backend_refs):
            yield from check_backend(backend, f"{at}.backendRefs[{number}]")
            yield from check_filters(backend.filters, f"{at}.backendRefs[{number}].filters")


def _method(match: MethodMatch, path: str) -> Iterator[Problem]:
    if not match.service and not match.method:
        yield Problem(path, "has neither service nor method", "give one of them")
    for field, pattern, text in (("service", _SERVICE, match.service), ("method", _METHOD, match.method)):
        if not text:
            continue
        if match.type is MatchType.EXACT and not pattern.fullmatch(text):
            yield Problem(f"{path}.{field}", f"{text[:80]!r} is no name of a {field}", "write it as in the .proto file")
        if match.type is MatchType.REGULAR_EXPRESSION and (wrong := regex_problem(text)):
            yield Problem(f"{path}.{field}", f"{text[:80]!r} is no regular expression of RE2: {wrong}", "change it")
