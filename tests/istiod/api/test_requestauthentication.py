# ruff: noqa: E501
"""Wrong RequestAuthentications and what is said of them; what the right ones become."""

from __future__ import annotations

import json

import pytest

from federation.model.findings import Severity
from federation.model.labels import Labels
from istiod.api.meta import Invalid, Object
from istiod.api.parse import Parsed, parse_documents

E, W = Severity.ERROR, Severity.WARNING
KEYS = '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'
RULE = f"issuer: me, jwks: '{KEYS}'"


def parsed(spec: str) -> Parsed:
    return parse_documents(
        f"apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: jwt, namespace: apps}}\nspec: {spec}\n",
        "f",
    )


def rules(*texts: str) -> str:
    return f"{{jwtRules: [{', '.join(f'{{{text}}}' for text in texts)}]}}"


@pytest.mark.parametrize(
    ("spec", "severity", "path", "message"),
    [
        (rules("audiences: [a]"), E, "spec.jwtRules[0]", "has neither issuer nor jwksUri"),
        (rules(f"jwks: '{KEYS}'"), E, "spec.jwtRules[0]", "has neither issuer nor jwksUri"),
        (rules(RULE, f"{RULE}, audiences: [a, '']"), E, "spec.jwtRules[1].audiences[1]", "is empty"),
        (rules("issuer: me, jwksUri: 'ftp://a/keys'"), E, "spec.jwtRules[0].jwksUri", "'ftp://a/keys' does not begin with https:// or http://"),
        (rules("issuer: me, jwksUri: 'https:///keys'"), E, "spec.jwtRules[0].jwksUri", "'https:///keys' is no address"),
        (rules("issuer: me, jwksUri: 'https://a b/keys'"), E, "spec.jwtRules[0].jwksUri", "'https://a b/keys' is no address"),
        (rules("issuer: me, jwksUri: 'https://a:99999/keys'"), E, "spec.jwtRules[0].jwksUri", "'https://a:99999/keys' Port out of range 0-65535"),
        (rules("issuer: me, jwks: 'no json'"), E, "spec.jwtRules[0].jwks", "is no JSON"),
        (rules(f"issuer: me, jwks: '{'[' * 100_000}'"), E, "spec.jwtRules[0].jwks", "is no JSON"),
        (rules("issuer: me, jwks: '[]'"), E, "spec.jwtRules[0].jwks", 'is no key set: {"keys": [...]}'),
        (rules("""issuer: me, jwks: '{"keys":{}}'"""), E, "spec.jwtRules[0].jwks", 'is no key set: {"keys": [...]}'),
        (rules("""issuer: me, jwks: '{"kty":"oct","k":"YQ"}'"""), E, "spec.jwtRules[0].jwks", 'is a single key, not a set: {"keys": [...]}'),
        (rules("""issuer: me, jwks: '{"keys":[{"kty":"oct"},{"n":"1"}]}'"""), E, "spec.jwtRules[0].jwks", "key 1 of the set has no type (kty)"),
        (rules("issuer: me, jwks: {keys: []}"), E, "spec.jwtRules[0].jwks", "a mapping: input should be a valid string"),
        (rules(f"{RULE}, fromHeaders: [{{name: ''}}]"), E, "spec.jwtRules[0].fromHeaders[0].name", "has no name"),
        (rules(f"{RULE}, fromHeaders: [{{prefix: 'Bearer '}}]"), E, "spec.jwtRules[0].fromHeaders[0].name", "is missing"),
        (rules(f'{RULE}, fromHeaders: [{{name: "a\\nb"}}]'), E, "spec.jwtRules[0].fromHeaders[0].name", "has more than one line"),
        (rules(f"{RULE}, fromHeaders: [x-token]"), E, "spec.jwtRules[0].fromHeaders[0]", "'x-token' is no mapping"),
        (rules(f"{RULE}, fromParams: ['']"), E, "spec.jwtRules[0].fromParams[0]", "is empty"),
        (rules(f"{RULE}, fromCookies: [a, '']"), E, "spec.jwtRules[0].fromCookies[1]", "is empty"),
        (rules(f"{RULE}, outputPayloadToHeader: 'x payload'"), E, "spec.jwtRules[0].outputPayloadToHeader", "'x payload' is no name of a header"),
        (rules(f"{RULE}, outputClaimToHeaders: [{{header: 'x:y', claim: sub}}]"), E, "spec.jwtRules[0].outputClaimToHeaders[0].header", "'x:y' is no name of a header"),
        (rules(f"{RULE}, outputClaimToHeaders: [{{header: '', claim: sub}}]"), E, "spec.jwtRules[0].outputClaimToHeaders[0].header", "'' is no name of a header"),
        (rules(f"{RULE}, outputClaimToHeaders: [{{header: x, claim: ''}}]"), E, "spec.jwtRules[0].outputClaimToHeaders[0].claim", "is empty"),
        (rules(f"{RULE}, outputClaimToHeaders: [{{header: x}}]"), E, "spec.jwtRules[0].outputClaimToHeaders[0].claim", "is missing"),
        (rules(f"{RULE}, spaceDelimitedClaims: ['']"), E, "spec.jwtRules[0].spaceDelimitedClaims[0]", "is empty"),
        (rules(f"{RULE}, spaceDelimitedClaims: {json.dumps(['a'] * 65)}"), E, "spec.jwtRules[0].spaceDelimitedClaims", "has more than 64 entries"),
        (rules(f"{RULE}, timeout: 10us"), E, "spec.jwtRules[0].timeout", "is shorter than 1ms"),
        (rules(f"{RULE}, timeout: soon"), E, "spec.jwtRules[0].timeout", "'soon': a duration like 10s, 1.5s, 100ms or 1h30m is wanted"),
        (rules(f"{RULE}, audience: [a]"), E, "spec.jwtRules[0].audience", "is no field"),
        (rules(f"{RULE}, forwardOriginalToken: perhaps"), E, "spec.jwtRules[0].forwardOriginalToken", "'perhaps': input should be a valid boolean, unable to interpret input"),
        ("{selector: {matchLabels: {app: '*'}}}", E, "spec.selector.matchLabels.app", "has a wildcard, which labels do not know"),
        ("{selector: {matchLabels: {app: a}}, targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: a}}", E, "spec", "has selector and targetRef"),
        ("{targetRefs: [{kind: Service, name: a}]}", W, "spec.targetRefs[0].kind", "a Service takes policies at a waypoint, and there are none: the policy does nothing for it"),
        ("{targetRefs: [{kind: Deployment, name: a}]}", E, "spec.targetRefs[0].kind", "'Deployment' takes no policies"),
        (rules("issuer: me"), W, "spec.jwtRules[0]", "has no keys, and the issuer 'me' is no address at which they could be found: every token of it is refused"),
        (rules("""issuer: me, jwks: '{"keys": []}'"""), W, "spec.jwtRules[0].jwks", "has no key that Envoy could use: every token of this issuer is refused"),
        (rules("""issuer: me, jwks: '{"keys":[{"kty":"oct","k":"YQ"},{"kty":"oct"},{"kty":"X"}]}'"""), W, "spec.jwtRules[0].jwks", "has keys that Envoy cannot use, at 1, 2: they verify no token"),
        (rules(f"{RULE}, jwksUri: 'https://a/keys'"), W, "spec.jwtRules[0].jwksUri", "has no effect beside jwks"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(spec: str, severity: Severity, path: str, message: str) -> None:
    found = parsed(spec)
    (finding,) = found.findings
    assert (finding.severity, finding.object) == (severity, "RequestAuthentication apps/jwt")
    assert (finding.path, finding.message) == (path, message)
    assert finding.fix
    assert isinstance(found.objects[0], Invalid if severity is E else Object)


def test_all_errors_come_at_once() -> None:
    found = parsed(rules("issuer: me, jwks: '{}', fromParams: ['', b], fromCookies: ['']", "timeout: 0s"))
    assert [finding.path for finding in found.findings] == [
        "spec.jwtRules[0].jwks",
        "spec.jwtRules[0].fromParams[0]",
        "spec.jwtRules[0].fromCookies[0]",
        "spec.jwtRules[1]",
        "spec.jwtRules[1].timeout",
    ]


def test_broken_policy_keeps_whom_it_is_for() -> None:
    found = parsed("{selector: {matchLabels: {app: a}}, jwtRules: [{issuer: ''}]}")
    assert [item.selector for item in found.objects if isinstance(item, Invalid)] == [Labels({"app": "a"})]


def test_every_field_is_read() -> None:
    found = parsed(
        rules(
            "issuer: 'https://a', audiences: [x], jwksUri: 'http://a/keys', fromHeaders: [{name: X-Token, prefix: 'T '}],"
            " fromParams: [t], fromCookies: [c], outputPayloadToHeader: x-payload, forwardOriginalToken: true,"
            " outputClaimToHeaders: [{header: x-sub, claim: a.sub}], timeout: 2s, spaceDelimitedClaims: [roles]"
        )
    )
    assert found.findings == ()
    ((rule,),) = [item.spec.jwt_rules for item in found.objects if isinstance(item, Object)]
    assert set(rule.model_fields_set) == set(type(rule).model_fields) - {"jwks"}
    assert (rule.timeout, rule.from_headers[0].prefix, rule.output_claim_to_headers[0].claim) == (2.0, "T ", "a.sub")


def test_nothing_need_be_said() -> None:
    found = parsed("{}")
    assert found.findings == ()
    assert isinstance(found.objects[0], Object)
