"""RequestAuthentication: whose tokens (JWT) a workload takes, where they stand in a request, and what becomes of them.

Owns the model and Istio's rules for it. Which requests must have a token is said by AuthorizationPolicy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from federation.model.findings import Severity
from istiod.api.attachment import PolicyTargetReference, check_attachment
from istiod.api.fields import Duration, Model, PolicySelector
from istiod.api.headers import check_header_name
from istiod.api.jwks import parse_key_set, url_problem
from istiod.api.problems import Problem

SHORTEST_TIMEOUT = 0.001
MAX_SPACE_DELIMITED = 64
_HEADER = re.compile(r"[-_A-Za-z0-9]+")


class JWTHeader(Model):
    """A header that may carry the token, behind `prefix` if there is one."""

    name: str
    prefix: str = ""


class ClaimToHeader(Model):
    """A claim that the application gets as a header; a dot leads into nested claims."""

    header: str
    claim: str


class JWTRule(Model):
    """One issuer. Times in seconds; `timeout` is how long its keys may take to be fetched."""

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    jwks: str = ""
    from_headers: tuple[JWTHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    forward_original_token: bool = False
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: Duration | None = None
    space_delimited_claims: tuple[str, ...] = ()


class RequestAuthentication(Model):
    """security.istio.io RequestAuthentication."""

    selector: PolicySelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    jwt_rules: tuple[JWTRule, ...] = ()


def validate(policy: RequestAuthentication) -> Iterator[Problem]:
    """Istio's rules for RequestAuthentication beyond types."""
    yield from check_attachment(policy)
    for index, rule in enumerate(policy.jwt_rules):
        path = f"spec.jwtRules[{index}]"
        yield from _keys(rule, path)
        yield from _places(rule, path)
        yield from _outputs(rule, path)
        yield from _texts(rule.audiences, f"{path}.audiences", "an audience")


def _keys(rule: JWTRule, path: str) -> Iterator[Problem]:
    if not rule.issuer and not rule.jwks_uri:
        yield Problem(path, "has neither issuer nor jwksUri", "say whose tokens are meant")
    if rule.jwks_uri:
        wrong = url_problem(rule.jwks_uri)
        if wrong:
            yield Problem(f"{path}.jwksUri", f"{rule.jwks_uri[:80]!r} {wrong}", "give the address of the key set")
    if rule.jwks:
        yield from _inline_keys(rule, path)
    elif not rule.jwks_uri and rule.issuer and url_problem(rule.issuer):
        message = f"has no keys, and the issuer {rule.issuer[:80]!r} is no address at which they could be found"
        yield Problem(
            path, f"{message}: every token of it is refused", "give jwksUri or jwks", "NoKeys", Severity.WARNING
        )
    if rule.timeout is not None and rule.timeout < SHORTEST_TIMEOUT:
        yield Problem(f"{path}.timeout", "is shorter than 1ms", "give the issuer some time, e.g. 5s")


def _inline_keys(rule: JWTRule, path: str) -> Iterator[Problem]:
    try:
        found = parse_key_set(rule.jwks)
    except ValueError as wrong:
        yield Problem(f"{path}.jwks", str(wrong), "give the issuer's key set as JSON, or its address as jwksUri")
        return
    if not found.keys:
        message = "has no key that Envoy could use: every token of this issuer is refused"
        yield Problem(f"{path}.jwks", message, "add the issuer's keys", "NoKeys", Severity.WARNING)
    elif found.unusable:
        message = f"has keys that Envoy cannot use, at {', '.join(map(str, found.unusable))}: they verify no token"
        yield Problem(f"{path}.jwks", message, "correct them, or take them out", "UnusableKey", Severity.WARNING)
    if rule.jwks_uri:
        message = "has no effect beside jwks"
        yield Problem(f"{path}.jwksUri", message, "keep one of them", "FieldIgnored", Severity.WARNING)


def _places(rule: JWTRule, path: str) -> Iterator[Problem]:
    for index, header in enumerate(rule.from_headers):
        yield from check_header_name(header.name, f"{path}.fromHeaders[{index}].name")
    yield from _texts(rule.from_params, f"{path}.fromParams", "a query parameter")
    yield from _texts(rule.from_cookies, f"{path}.fromCookies", "a cookie")


def _outputs(rule: JWTRule, path: str) -> Iterator[Problem]:
    if rule.output_payload_to_header:
        yield from _header(rule.output_payload_to_header, f"{path}.outputPayloadToHeader")
    for index, output in enumerate(rule.output_claim_to_headers):
        place = f"{path}.outputClaimToHeaders[{index}]"
        yield from _header(output.header, f"{place}.header")
        if not output.claim:
            yield Problem(f"{place}.claim", "is empty", "name a claim")
    yield from _texts(rule.space_delimited_claims, f"{path}.spaceDelimitedClaims", "a claim")
    if len(rule.space_delimited_claims) > MAX_SPACE_DELIMITED:
        yield Problem(
            f"{path}.spaceDelimitedClaims", f"has more than {MAX_SPACE_DELIMITED} entries", "name fewer claims"
        )


def _texts(values: tuple[str, ...], path: str, what: str) -> Iterator[Problem]:
    for index, value in enumerate(values):
        if not value:
            yield Problem(f"{path}[{index}]", "is empty", f"name {what}")


def _header(name: str, path: str) -> Iterator[Problem]:
    if not _HEADER.fullmatch(name):
        yield Problem(path, f"{name[:80]!r} is no name of a header", "use letters, digits, '-' and '_'")
