"""RequestAuthentication: which policies add up, where their keys come from, what is closed, and claims in routes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from istiod.api.jwks import NO_KEYS, KeySet, KeySource
from istiod.resolve.config import resolve_view
from istiod.resolve.jwt import FETCH_SECONDS, KeyUse, jwt_spec, key_source, wanted_keys
from istiod.resolve.specs.jwt import CLOSED, JwtProvider
from istiod.resolve.specs.listener import HttpConnection
from istiod.resolve.specs.match import ClaimMatch, HeaderMatch, MatchKind, StringMatch
from istiod.view.proxy import ProxyType
from tests.istiod.resolve.conftest import HTTP, TCP, target

KEYS = '{"keys":[{"k":"c2VjcmV0","kty":"oct"}]}'


def policy(rules: str, namespace: str = "apps", name: str = "jwt", attached: str = "") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{attached} jwtRules: [{rules}]}}
---
"""


def rule(issuer: str, more: str = "") -> str:
    return f"{{issuer: '{issuer}', jwks: '{KEYS}' {more}}}"


FOR_A, FOR_B = "selector: {matchLabels: {app: a}},", "selector: {matchLabels: {app: b}},"


def issuers(spec) -> list[str]:
    return [provider.issuer for provider in spec.providers] if spec is not None else []


def test_without_a_policy_there_is_no_filter(snapshot, view):
    assert jwt_spec(snapshot(), view()) is None
    assert jwt_spec(snapshot(policy("")), view()) is None
    assert jwt_spec(snapshot(policy(rule("x"), namespace="other")), view()) is None


def test_policies_add_up_by_issuer(snapshot, view):
    world = snapshot(
        policy(f"{rule('m')}, {rule('b')}")
        + policy(rule("z"), "istio-system")
        + policy(rule("a"), "istio-system", "by-label", FOR_A)
        + policy(rule("n"), "apps", "own", FOR_A)
        + policy(rule("not"), "apps", "of-b", FOR_B)
    )
    assert issuers(jwt_spec(world, view())) == ["a", "b", "m", "n", "z"]
    assert issuers(jwt_spec(world, view(labels={"app": "c"}, namespace="other"))) == ["z"]


def test_every_field_counts(snapshot, view):
    more = (
        ", audiences: [x, y], fromHeaders: [{name: X-Token, prefix: 'T '}], fromParams: [t], fromCookies: [c],"
        " outputPayloadToHeader: x-payload, forwardOriginalToken: true, spaceDelimitedClaims: [roles, scope],"
        " outputClaimToHeaders: [{header: x-sub, claim: sub}]"
    )
    spec = jwt_spec(snapshot(policy(rule("me", more))), view())
    assert spec is not None
    assert spec.providers == (
        JwtProvider(
            issuer="me",
            keys=KEYS,
            audiences=("x", "y"),
            from_headers=(("X-Token", "T "),),
            from_params=("t",),
            from_cookies=("c",),
            forward=True,
            payload_header="x-payload",
            claim_headers=(("x-sub", "sub"),),
            space_delimited=("permission", "roles", "scope"),
        ),
    )
    assert (spec.required, spec.reroute) == (False, False)


def test_gateways_choose_the_route_anew(snapshot, view):
    spec = jwt_spec(snapshot(policy(rule("me"))), view(type=ProxyType.ROUTER))
    assert spec is not None
    assert spec.reroute


def test_fetched_keys_are_those_of_the_table(snapshot, view):
    rules = "{issuer: 'https://a', jwksUri: 'https://keys'}, {issuer: 'https://b/'}, {issuer: me}"
    world = snapshot(policy(rules))
    keys = {
        source.key: KeySet(f'{{"keys":[{{"kty":"{kty}"}}]}}')
        for source, kty in ((KeySource("https://keys"), "A"), (KeySource("https://b/", discovery=True), "B"))
    }
    assert [p.keys for p in jwt_spec(world, view()).providers] == [NO_KEYS.keys] * 3
    world = replace(world, tables={**world.tables, "KeySets": keys})
    assert [p.keys for p in jwt_spec(world, view()).providers] == [
        '{"keys":[{"kty":"A"}]}',
        '{"keys":[{"kty":"B"}]}',
        NO_KEYS.keys,
    ]


def test_address_of_keys_and_issuer_are_two_sources():
    address, issuer = KeySource("https://a"), KeySource("https://a", discovery=True)
    assert address.key != issuer.key


def test_wanted_keys_name_who_wants_them(snapshot):
    world = snapshot(
        policy(f"{{issuer: a, jwksUri: 'https://keys'}}, {rule('https://given')}, {{issuer: me}}")
        + policy("{issuer: b, jwksUri: 'https://keys', timeout: 9s}, {issuer: 'https://c'}", "other")
    )
    assert wanted_keys(world) == {
        KeySource("https://keys"): KeyUse(
            (
                ("RequestAuthentication apps/jwt", "spec.jwtRules[0].jwksUri"),
                ("RequestAuthentication other/jwt", "spec.jwtRules[0].jwksUri"),
            ),
            9.0,
        ),
        KeySource("https://c", discovery=True): KeyUse(
            (("RequestAuthentication other/jwt", "spec.jwtRules[1].issuer"),), FETCH_SECONDS
        ),
    }
    assert wanted_keys(world) is wanted_keys(world)


def test_keys_that_are_given_are_not_fetched(snapshot):
    world = snapshot(policy(f"{{issuer: 'https://a', jwksUri: 'https://keys', jwks: '{KEYS}'}}"))
    assert wanted_keys(world) == {}
    ((item,),) = [tuple(world.tables["RequestAuthentication"].values())]
    assert key_source(item.spec.jwt_rules[0]) is None


@pytest.mark.parametrize(
    ("broken", "labels", "namespace", "closed"),
    [
        (policy("{issuer: ''}", attached=FOR_A), {"app": "a"}, "apps", True),
        (policy("{issuer: ''}", attached=FOR_A), {"app": "b"}, "apps", False),
        (policy("{issuer: ''}", attached=FOR_A), {"app": "a"}, "other", False),
        (policy("{issuer: ''}", "istio-system"), {"app": "b"}, "other", True),
        (policy("{issuer: me, jwsk: '{}'}"), {}, "apps", True),
    ],
)
def test_broken_policy_closes_what_it_is_for(snapshot, view, broken, labels, namespace, closed):
    world = snapshot(policy(rule("good"), "istio-system", "good") + broken)
    spec = jwt_spec(world, view(labels=labels, namespace=namespace))
    assert spec == CLOSED if closed else issuers(spec) == ["good"]
    config = resolve_view(world, view(labels=labels, namespace=namespace))
    assert [finding.code for finding in config.findings] == ["PolicyFailsClosed"] * closed


def test_inbound_http_alone_is_guarded(snapshot, view):
    config = resolve_view(snapshot(policy(rule("me"))), view(targets=(target(HTTP), target(TCP))))
    found = {
        (listener.name, chain.handler.jwt is not None)
        for listener in config.listeners
        for chain in listener.chains
        if isinstance(chain.handler, HttpConnection)
    }
    assert ("virtualInbound", True) in found
    assert ("virtualInbound", False) not in found
    assert {guarded for name, guarded in found if name != "virtualInbound"} == {False}


CLAIMS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: apps}
spec: {selector: {istio: in}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: apps}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http:
  - match: [{headers: {"@request.auth.claims.sub": {exact: ann}}}]
    directResponse: {status: 229}
  - match:
    - headers: {"@request.auth.claims.Groups": {exact: admin}, X-A: {prefix: b}, "@request.auth.claims[a.b][c]": {}}
      withoutHeaders: {"@request.auth.claims.sub": {regex: "bob|eve"}}
    directResponse: {status: 230}
  - directResponse: {status: 231}
"""


def test_claims_are_no_headers(snapshot, view):
    config = resolve_view(snapshot(CLAIMS), view(type=ProxyType.ROUTER, labels={"istio": "in"}))
    ((host,),) = [routes.virtual_hosts for routes in config.routes]
    # A route that only tests claims does not take all: those behind it stay reachable.
    assert [route.action.status for route in host.routes] == [229, 230, 231]
    match = host.routes[1].match
    assert match.headers == (HeaderMatch("x-a", StringMatch(MatchKind.PREFIX, "b")),)
    assert match.claims == (
        ClaimMatch(("Groups",), StringMatch(MatchKind.EXACT, "admin")),
        ClaimMatch(("a.b", "c"), StringMatch(MatchKind.PRESENT)),
        ClaimMatch(("sub",), StringMatch(MatchKind.REGEX, "bob|eve"), invert=True),
    )
