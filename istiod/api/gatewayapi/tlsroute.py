"""TLSRoute: where TLS connections go, by server name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from istiod.api.fields import Model
from istiod.api.gatewayapi.references import (
    MAX_RULES,
    BackendRef,
    ParentReference,
    check_backend,
    check_hostnames,
    check_length,
    check_parents,
    check_rule_names,
)
from istiod.api.problems import Problem


class BytesRule(Model):
    """One rule for connections: only backends."""

    name: str = ""
    backend_refs: tuple[BackendRef, ...]


class TLSRoute(Model):
    """gateway.networking.k8s.io TLSRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str = ""
    hostnames: tuple[str, ...] = ()
    rules: tuple[BytesRule, ...]


def validate(route: TLSRoute) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    yield from check_parents(route.parent_refs)
    yield from check_hostnames(route.hostnames)
    yield from check_bytes_rules(route.rules)


def check_bytes_rules(rules: Sequence[BytesRule]) -> Iterator[Problem]:
    """Rules of TLSRoute and TCPRoute."""
    yield from check_length(rules, MAX_RULES, "spec.rules", 1)
    yield from check_rule_names(rule.name for rule in rules)
    for index, rule in enumerate(rules):
        at = f"spec.rules[{index}].backendRefs"
        yield from check_length(rule.backend_refs, 16, at, 1)
        for number, backend in enumerate(rule.backend_refs):
            yield from check_backend(backend, f"{at}[{number}]")
