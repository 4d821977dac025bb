"""AuthorizationPolicy: who may do what at the workloads that it selects.

The model and Istio's rules for it beyond types. What becomes of it is decided in `istiod.resolve.authz`. Rules that
Envoy would not survive (path templates above all) are kept here.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field

from federation.model.findings import Severity
from istiod.api.attachment import PolicyTargetReference, check_attachment
from istiod.api.authorization_attributes import REPLACED, Attribute, parse_key
from istiod.api.authorization_values import (
    check_accounts,
    check_addresses,
    check_given,
    check_methods,
    check_namespaces,
    check_paths,
    check_ports,
    check_trust_domains,
    check_wildcards,
)
from istiod.api.fields import Model, PolicySelector
from istiod.api.headers import check_header_name
from istiod.api.problems import Problem

Texts = tuple[str, ...]


class Action(StrEnum):
    """What happens to a request that a rule matches. Evaluated in the order CUSTOM, DENY, ALLOW; AUDIT only logs."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class Source(Model):
    """Who calls. All that is given must hold, one value of each."""

    principals: Texts = ()
    not_principals: Texts = ()
    request_principals: Texts = ()
    not_request_principals: Texts = ()
    namespaces: Texts = ()
    not_namespaces: Texts = ()
    service_accounts: Texts = ()
    not_service_accounts: Texts = ()
    trust_domains: Texts = ()
    not_trust_domains: Texts = ()
    ip_blocks: Texts = ()
    not_ip_blocks: Texts = ()
    remote_ip_blocks: Texts = ()
    not_remote_ip_blocks: Texts = ()


class Operation(Model):
    """What is called. All that is given must hold, one value of each."""

    hosts: Texts = ()
    not_hosts: Texts = ()
    ports: Texts = ()
    not_ports: Texts = ()
    methods: Texts = ()
    not_methods: Texts = ()
    paths: Texts = ()
    not_paths: Texts = ()


class From(Model):
    """One of several sources."""

    source: Source


class To(Model):
    """One of several operations."""

    operation: Operation


class Condition(Model):
    """A further condition on an attribute."""

    key: str
    values: Texts = ()
    not_values: Texts = ()


class Rule(Model):
    """A source, an operation and all conditions must hold; what is not given always holds."""

    from_: tuple[From, ...] | None = Field(default=None, alias="from")
    to: tuple[To, ...] | None = None
    when: tuple[Condition, ...] = ()


class Provider(Model):
    """Who decides under CUSTOM: an extension provider of MeshConfig by name."""

    name: str = ""


class AuthorizationPolicy(Model):
    """security.istio.io AuthorizationPolicy."""

    selector: PolicySelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    action: Action = Action.ALLOW
    provider: Provider | None = None
    rules: tuple[Rule, ...] = ()


_IDENTITY = ("namespaces", "service_accounts", "principals", "request_principals", "trust_domains")
_PEER = ("principals", "namespaces", "service_accounts", "ip_blocks", "remote_ip_blocks", "trust_domains")


def validate(policy: AuthorizationPolicy) -> Iterator[Problem]:
    """Istio's rules for AuthorizationPolicy beyond types."""
    yield from check_attachment(policy)
    yield from _check_action(policy)
    for index, rule in enumerate(policy.rules):
        path = f"spec.rules[{index}]"
        yield from _check_rule(rule, path)
        if policy.action is Action.CUSTOM:
            yield from _check_custom(rule, path)
        if policy.action is Action.DENY and _denies_all_bytes(rule):
            yield Problem(
                path,
                "has only HTTP fields, so it denies everything on TCP ports",
                "name the HTTP ports in to.operation.ports",
                "DeniesTcp",
                Severity.WARNING,
            )


def _check_action(policy: AuthorizationPolicy) -> Iterator[Problem]:
    if policy.action in (Action.DENY, Action.CUSTOM) and not policy.rules:
        message = f"is empty, so action {policy.action} never happens"
        yield Problem("spec.rules", message, "write rules: [{}] for every request")
    if policy.action is not Action.CUSTOM:
        if policy.provider is not None:
            yield Problem("spec.provider", f"is given with action {policy.action}", "remove it, or use CUSTOM")
    elif policy.provider is None or not policy.provider.name:
        fix = "name one of MeshConfig's extensionProviders"
        yield Problem("spec.provider.name", "is missing for action CUSTOM", fix, "MissingField")


def _check_rule(rule: Rule, path: str) -> Iterator[Problem]:
    for name, items in (("from", rule.from_), ("to", rule.to)):
        if items == ():
            message, fix = "is empty, so it counts as not given", f"remove {name} if it does not matter"
            yield Problem(f"{path}.{name}", message, fix, severity=Severity.WARNING)
    for index, item in enumerate(rule.from_ or ()):
        yield from _check_source(item.source, f"{path}.from[{index}].source")
    for index, entry in enumerate(rule.to or ()):
        yield from _check_operation(entry.operation, f"{path}.to[{index}].operation")
    for index, condition in enumerate(rule.when):
        yield from _check_condition(condition, f"{path}.when[{index}]")


def _check_source(source: Source, path: str) -> Iterator[Problem]:
    yield from _check_not_bare(source, path)
    named = source.principals or source.not_principals or source.namespaces or source.not_namespaces
    if named and (source.service_accounts or source.not_service_accounts):
        yield Problem(path, "has serviceAccounts beside principals or namespaces", "keep one of them")
    for at, values, field in _fields(source, path):
        if field == "service_accounts":
            yield from check_accounts(values, at)
            continue
        yield from check_given(values, at)
        if field in ("ip_blocks", "remote_ip_blocks"):
            yield from check_addresses(values, at)
        elif field == "namespaces":
            yield from check_namespaces(values, at)
        elif field == "trust_domains":
            yield from check_trust_domains(values, at)
        else:
            yield from check_wildcards(values, at)


def _check_operation(operation: Operation, path: str) -> Iterator[Problem]:
    yield from _check_not_bare(operation, path)
    for at, values, field in _fields(operation, path):
        yield from check_given(values, at)
        match field:
            case "ports":
                yield from check_ports(values, at)
            case "paths":
                yield from check_paths(values, at)
            case "methods":
                yield from check_methods(values, at)
                yield from check_wildcards(values, at)
            case _:
                yield from check_wildcards(values, at)


def _fields(said: Source | Operation, path: str) -> Iterator[tuple[str, Texts, str]]:
    """Path, values and name (without `not`) of each field that is given."""
    for name, info in type(said).model_fields.items():
        values: Texts = getattr(said, name)
        if values:
            yield f"{path}.{info.alias}", values, name.removeprefix("not_")


def _check_not_bare(said: Source | Operation, path: str) -> Iterator[Problem]:
    if not any(_fields(said, path)):
        yield Problem(path, "is empty", "say what must hold, or remove the list")


def _check_condition(condition: Condition, path: str) -> Iterator[Problem]:
    tested = parse_key(condition.key)
    if tested is None:
        yield _bad_key(condition.key, f"{path}.key")
        return
    if not condition.values and not condition.not_values:
        yield Problem(path, "has neither values nor notValues", "give one of them")
    if tested.attribute in (Attribute.HEADER, Attribute.INLINE_HEADER):
        yield from check_header_name(tested.names[0], f"{path}.key")
    for name, values in (("values", condition.values), ("notValues", condition.not_values)):
        at = f"{path}.{name}"
        match tested.attribute:
            case Attribute.SERVICE_ACCOUNT:
                yield from check_accounts(values, at)
            case Attribute.SOURCE_IP | Attribute.REMOTE_IP | Attribute.DESTINATION_IP:
                yield from check_given(values, at)
                yield from check_addresses(values, at)
            case Attribute.DESTINATION_PORT:
                yield from check_given(values, at)
                yield from check_ports(values, at)
            case Attribute.NAMESPACE:
                yield from check_given(values, at)
                yield from check_namespaces(values, at)
            case Attribute.TRUST_DOMAIN:
                yield from check_given(values, at)
                yield from check_trust_domains(values, at)
            case Attribute.FILTER:
                yield from check_given(values, at)
            case _:
                yield from check_given(values, at)
                yield from check_wildcards(values, at)


def _bad_key(key: str, path: str) -> Problem:
    replaced = REPLACED.get(key.partition("[")[0])
    if replaced is not None:
        return Problem(path, f"{key[:80]!r} is no longer an attribute", f"use {replaced}")
    families = ("request.headers", "request.auth.claims", "experimental.envoy.filters.")
    if key.startswith(families):
        return Problem(path, f"{key[:80]!r} has no name in brackets", "write request.headers[x-user]")
    return Problem(path, f"{key[:80]!r} is no attribute", "use one of Istio's authorization policy conditions")


def _check_custom(rule: Rule, path: str) -> Iterator[Problem]:
    """A check comes before tokens are read, and what it may depend on is kept to what every server can be told."""
    fix = "leave it to the provider, or to a policy with another action"
    for index, item in enumerate(rule.from_ or ()):
        for at, _, field in _fields(item.source, f"{path}.from[{index}].source"):
            if field in _IDENTITY:
                yield Problem(at, "is not supported with action CUSTOM", fix)
    for index, condition in enumerate(rule.when):
        if condition.key in _IDENTITY_KEYS or condition.key.startswith("request.auth."):
            at = f"{path}.when[{index}].key"
            yield Problem(at, f"{condition.key[:80]!r} is not supported with action CUSTOM", fix)


_IDENTITY_KEYS = (Attribute.NAMESPACE, Attribute.SERVICE_ACCOUNT, Attribute.PRINCIPAL, Attribute.TRUST_DOMAIN)


def _denies_all_bytes(rule: Rule) -> bool:
    """Whether nothing is left of a rule's sources or operations where there is no HTTP."""
    fields = [field for item in rule.from_ or () for _, _, field in _fields(item.source, "")]
    ports = any(entry.operation.ports or entry.operation.not_ports for entry in rule.to or ())
    if rule.to:
        return not ports
    return bool(fields) and not any(field in _PEER for field in fields)
