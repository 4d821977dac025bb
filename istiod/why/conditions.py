"""Whether authorization rules hold for a request, where some facts may not be known. Pure.

Input: the condition trees of `istiod.resolve.specs.authz`. A condition on what nobody said (the caller's address) or
what another filter would leave is neither true nor false, and so may be the whole (None).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from istiod.resolve.specs.authz import (
    AllOf,
    AnyOf,
    ClientAddress,
    Condition,
    DestinationAddress,
    DestinationPort,
    Header,
    Metadata,
    Not,
    Path,
    PathTemplate,
    PeerAddress,
    PeerName,
    RuleSet,
    RuleSpec,
    ServerName,
    ValueForm,
    Verdict,
)
from istiod.why.matching import claim, header_matches, template_matches, text_matches, within
from istiod.why.request import Request

TOKENS, PAYLOAD = "envoy.filters.http.jwt_authn", "payload"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when rules are looked at. `address` and `port` are the workload's that was called, `client` is the
    address of the client as proxies on the way report it.
    """

    request: Request
    address: str
    port: int
    client: str = ""
    server_name: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a set of rules lets the request pass (None = not known), and the rules that decided or may decide."""

    passes: bool | None
    rules: tuple[RuleSpec, ...] = ()


def judge_rules(rules: RuleSet, facts: Facts) -> Judgement:
    """What a set of rules says."""
    results = [(rule, rule_holds(rule, facts)) for rule in rules.rules]
    sure = tuple(rule for rule, result in results if result)
    unsure = tuple(rule for rule, result in results if result is None)
    if rules.verdict is Verdict.LOG:
        return Judgement(True, sure)
    allows = rules.verdict is Verdict.ALLOW
    if sure:
        return Judgement(allows, sure)
    return Judgement(None, unsure) if unsure else Judgement(not allows)


def rule_holds(rule: RuleSpec, facts: Facts) -> bool | None:
    """Whether a rule matches; None if that depends on what is not known."""
    return _all((holds(rule.operation, facts), holds(rule.caller, facts)))


def holds(condition: Condition, facts: Facts) -> bool | None:
    """Whether a condition holds."""
    request = facts.request
    match condition:
        case AllOf(parts):
            return _all(holds(part, facts) for part in parts)
        case AnyOf(parts):
            return _not(_all(_not(holds(part, facts)) for part in parts))
        case Not(part):
            return _not(holds(part, facts))
        case PeerName(match):
            return bool(request.principal) and text_matches(match, request.principal)
        case PeerAddress(cidr):
            return within(request.source, cidr) if request.source else None
        case ClientAddress(cidr):
            client = facts.client or request.source
            return within(client, cidr) if client else None
        case DestinationAddress(cidr):
            return within(facts.address, cidr) if facts.address else None
        case DestinationPort(port):
            return port == facts.port
        case ServerName(match):
            return text_matches(match, facts.server_name)
        case Header(header):
            return header_matches(header, request)
        case Path(match):
            return text_matches(match, request.bare_path)
        case PathTemplate(template):
            return template_matches(template, request.bare_path)
        case Metadata():
            return _metadata(condition, facts)


def _metadata(condition: Metadata, facts: Facts) -> bool | None:
    if condition.filter != TOKENS or condition.path[:1] != (PAYLOAD,):
        return None
    found = claim(facts.claims, condition.path[1:])
    texts = [found] if isinstance(found, str) and condition.form is not ValueForm.LIST else []
    items = found if isinstance(found, list) and condition.form is not ValueForm.TEXT else []
    return any(isinstance(value, str) and text_matches(condition.match, value) for value in (*texts, *items))


def _all(results: Iterable[bool | None]) -> bool | None:
    known = list(results)
    return False if False in known else None if None in known else True


def _not(result: bool | None) -> bool | None:
    return None if result is None else not result
