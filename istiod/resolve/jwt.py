"""Which tokens a view's workloads take, by RequestAuthentication; and the keys that all of these need.

Pure look-up in the snapshot's tables, key sets included. Rules: Istio's RequestAuthentication reference (policies of
the root namespace, the namespace and the workload add up; a token must be valid, none is allowed). A policy that is
not valid refuses every request, with 401: which tokens it was to ask for is not known. Keys that could not be fetched
leave no valid tokens of their issuer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from federation.model.findings import Finding, Severity
from istiod.api.jwks import NO_KEYS, KeySet, KeySource, parse_key_set, url_problem
from istiod.api.kinds import Kind
from istiod.api.requestauthentication import JWTRule, RequestAuthentication
from istiod.memo import memo
from istiod.resolve.attachment import broken_for, policies_for
from istiod.resolve.objects import Table, table_of, valid_objects
from istiod.resolve.specs.jwt import CLOSED, JwtProvider, JwtSpec
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView

FETCH_SECONDS = 5.0  # where a rule has no timeout
# Claims that OAuth writes as words with spaces between them, and that policies test word by word.
SPACE_DELIMITED = ("permission", "scope")


def jwt_spec(snapshot: Snapshot, view: ProxyView) -> JwtSpec | None:
    """What is done about tokens of the requests that a view's workloads get; None where no policy speaks."""
    if broken_for(snapshot, Kind.REQUEST_AUTHENTICATION, view):
        return CLOSED
    policies = policies_for(snapshot, Kind.REQUEST_AUTHENTICATION, RequestAuthentication, view)
    rules = sorted((rule for policy in policies for rule in policy.spec.jwt_rules), key=lambda rule: rule.issuer)
    if not rules:
        return None
    table = table_of(snapshot, Kind.KEY_SETS)
    return JwtSpec(tuple(_provider(rule, table) for rule in rules), reroute=view.type is ProxyType.ROUTER)


def jwt_findings(snapshot: Snapshot, view: ProxyView) -> tuple[Finding, ...]:
    """Which policies close a view's workloads because they are broken; what is wrong with them, the parser says."""
    return tuple(
        Finding(
            Severity.ERROR,
            "PolicyFailsClosed",
            f"{item.kind} {item.meta.namespace}/{item.meta.name}",
            "",
            "cannot be used, so every request is refused at the workloads that it selects",
            "correct what is wrong with it, or delete it",
        )
        for item in broken_for(snapshot, Kind.REQUEST_AUTHENTICATION, view)
    )


def _provider(rule: JWTRule, key_sets: Table) -> JwtProvider:
    return JwtProvider(
        issuer=rule.issuer,
        keys=_keys(rule, key_sets).keys,
        audiences=rule.audiences,
        from_headers=tuple((header.name, header.prefix) for header in rule.from_headers),
        from_params=rule.from_params,
        from_cookies=rule.from_cookies,
        forward=rule.forward_original_token,
        payload_header=rule.output_payload_to_header,
        claim_headers=tuple((output.header, output.claim) for output in rule.output_claim_to_headers),
        space_delimited=tuple(sorted({*SPACE_DELIMITED, *rule.space_delimited_claims})),
    )


def _keys(rule: JWTRule, key_sets: Table) -> KeySet:
    if rule.jwks:
        return parse_key_set(rule.jwks)
    source = key_source(rule)
    found = key_sets.get(source.key) if source is not None else None
    return found if isinstance(found, KeySet) else NO_KEYS


def key_source(rule: JWTRule) -> KeySource | None:
    """Where a rule's keys have to be fetched; None if they are given, or nobody could know."""
    if rule.jwks:
        return None
    if rule.jwks_uri:
        return KeySource(rule.jwks_uri)
    return None if url_problem(rule.issuer) else KeySource(rule.issuer, discovery=True)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Who wants the keys of one source: rules as (object, field path), and the longest time that one of them grants."""

    places: tuple[tuple[str, str], ...]
    timeout: float


def wanted_keys(snapshot: Snapshot) -> Mapping[KeySource, KeyUse]:
    """All sources of keys that the valid RequestAuthentications of a snapshot name."""
    return _wanted(table_of(snapshot, Kind.REQUEST_AUTHENTICATION))


@memo(size=2)
def _wanted(table: Table) -> dict[KeySource, KeyUse]:
    found: dict[KeySource, KeyUse] = {}
    for item in valid_objects(table, RequestAuthentication):
        for index, rule in enumerate(item.spec.jwt_rules):
            source = key_source(rule)
            if source is None:
                continue
            field = "issuer" if source.discovery else "jwksUri"
            known = found.get(source, KeyUse((), 0.0))
            places = (*known.places, (str(item), f"spec.jwtRules[{index}].{field}"))
            found[source] = KeyUse(places, max(known.timeout, rule.timeout or FETCH_SECONDS))
    return found
