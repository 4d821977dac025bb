"""Texts, headers, paths, hosts and conditions, as Envoy compares them."""

from __future__ import annotations

from typing import Any

import pytest

from federation.model.errors import InvalidInput
from istiod.resolve.specs.authz import (
    ALWAYS,
    NEVER,
    AllOf,
    AnyOf,
    ClientAddress,
    Condition,
    DestinationPort,
    Header,
    Metadata,
    Not,
    PeerAddress,
    PeerName,
    RuleSet,
    RuleSpec,
    ValueForm,
    Verdict,
)
from istiod.resolve.specs.jwt import CLOSED, JwtProvider, JwtSpec
from istiod.resolve.specs.listener import Direction, HttpConnection
from istiod.resolve.specs.match import ClaimMatch, HeaderMatch, MatchKind, QueryMatch, StringMatch
from istiod.resolve.specs.route import RouteConfigSpec, RouteMatch, VirtualHostSpec
from istiod.why.conditions import Facts, holds, judge_rules
from istiod.why.matching import find_virtual_host, header_matches, normalized_path, route_matches, template_matches
from istiod.why.request import Request, parse_request
from istiod.why.requests import client_address
from istiod.why.tokens import judge_tokens
from tests.integration.xds.test_jwt import Key

EXACT, PREFIX, REGEX, PRESENT = MatchKind.EXACT, MatchKind.PREFIX, MatchKind.REGEX, MatchKind.PRESENT
GET = parse_request("GET", "http://a.test/x/y?v=1&v=2", ["x-a: 1", "x-a: 2"])


@pytest.mark.parametrize(
    ("match", "found"),
    [
        (HeaderMatch("x-a", StringMatch(EXACT, "1,2")), True),
        (HeaderMatch("X-A", StringMatch(PRESENT)), True),
        (HeaderMatch("x-b", StringMatch(PRESENT)), False),
        (HeaderMatch("x-b", StringMatch(PRESENT), invert=True), True),
        (HeaderMatch("x-b", StringMatch(EXACT, "1"), invert=True), False),  # a missing header matches nothing
        (HeaderMatch("x-b", StringMatch(EXACT, "1"), invert=True, missing_is_empty=True), True),
        (HeaderMatch(":authority", StringMatch(EXACT, "A.TEST", ignore_case=True)), True),
        (HeaderMatch(":method", StringMatch(REGEX, "GE")), False),  # the whole text
    ],
)
def test_headers(match: HeaderMatch, found: bool) -> None:
    assert header_matches(match, GET) is found


@pytest.mark.parametrize(
    ("match", "found"),
    [
        (RouteMatch(StringMatch(EXACT, "/x/y")), True),
        (RouteMatch(StringMatch(PREFIX, "/X"), path_separated_prefix=True), False),
        (RouteMatch(StringMatch(PREFIX, "/X", ignore_case=True), path_separated_prefix=True), True),
        (RouteMatch(StringMatch(PREFIX, "/x/"), path_separated_prefix=True), True),
        (RouteMatch(StringMatch(PREFIX, "/x/yy")), False),
        (RouteMatch(query=(QueryMatch("v", StringMatch(EXACT, "1")),)), True),
        (RouteMatch(query=(QueryMatch("w", StringMatch(PRESENT)),)), False),
        (RouteMatch(claims=(ClaimMatch(("groups",), StringMatch(EXACT, "b")),)), True),
        (RouteMatch(claims=(ClaimMatch(("sub",), StringMatch(PRESENT), invert=True),)), True),
        (RouteMatch(template="/x/{rest}"), True),
        (RouteMatch(connect=True), False),
    ],
)
def test_routes(match: RouteMatch, found: bool) -> None:
    assert route_matches(match, GET, {"groups": ["a", "b"]}) is found


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("/a/*/c", "/a/b/c", True),
        ("/a/*/c", "/a/b/b/c", False),
        ("/a/**", "/a/b/c", True),
        ("/{x=a/*}/z", "/a/b/z", True),
        ("/a.b", "/axb", False),
    ],
)
def test_templates(template: str, path: str, found: bool) -> None:
    assert template_matches(template, path) is found


@pytest.mark.parametrize(
    ("authority", "found"),
    [
        ("a.test", "exact"),
        ("A.test:8080", "exact"),
        ("b.test", "below"),
        ("x.b.test", "longer"),
        ("a.x", "front"),
        ("a.long.x", "deep"),
        ("a.long.test", "below"),  # what stands in front decides first, however long
        ("other", "all"),
        ("[::1]:80", "six"),
    ],
)
def test_virtual_hosts(authority: str, found: str) -> None:
    domains = {
        "deep": "a.long.*",
        "all": "*",
        "front": "a.*",
        "below": "*.test",
        "longer": "*.b.test",
        "exact": "a.test",
        "six": "[::1]",
    }
    config = RouteConfigSpec("r", tuple(VirtualHostSpec(name, (domain,), ()) for name, domain in domains.items()))
    host = find_virtual_host(config, authority)
    assert host is not None
    assert host.name == found


@pytest.mark.parametrize(
    ("path", "how", "found"),
    [
        ("/a/../b?x=..", "BASE", "/b?x=.."),
        ("/a/./b/..", "BASE", "/a/"),
        ("/a//b", "BASE", "/a//b"),
        ("/a//b", "MERGE_SLASHES", "/a/b"),
        ("/a%2Fb", "DECODE_AND_MERGE_SLASHES", "/a/b"),
        ("/a/../b", "NONE", "/a/../b"),
        ("/../..", "BASE", "/"),
    ],
)
def test_paths_are_normalised(path: str, how: str, found: str) -> None:
    assert normalized_path(path, how) == found


ME = StringMatch(EXACT, "spiffe://d/ns/a/sa/b")
CLAIM = Metadata("envoy.filters.http.jwt_authn", ("payload", "sub"), StringMatch(EXACT, "ann"))
LIST = Metadata("envoy.filters.http.jwt_authn", ("payload", "aud"), StringMatch(EXACT, "x"), ValueForm.EITHER)


def facts(**fields: Any) -> Facts:
    request = parse_request("GET", "http://a.test/", **fields)
    return Facts(request, "10.0.0.1", 8080, claims={"sub": "ann", "aud": ["x", "y"]})


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (ALWAYS, True),
        (NEVER, False),
        (PeerName(ME), True),
        (Not(PeerName(ME)), False),
        (DestinationPort(8080), True),
        (CLAIM, True),
        (LIST, True),
        (Metadata("other", ("x",), ME), None),
        (PeerAddress("10.0.0.0/8"), None),
        (Not(PeerAddress("10.0.0.0/8")), None),
        (AllOf((PeerAddress("10.0.0.0/8"), NEVER)), False),  # nobody needs the address for that
        (AnyOf((PeerAddress("10.0.0.0/8"), ALWAYS)), True),
        (AnyOf((PeerAddress("10.0.0.0/8"), NEVER)), None),
    ],
)
def test_conditions_may_be_neither(condition: Condition, found: bool | None) -> None:
    assert holds(condition, facts(principal="d/ns/a/sa/b")) is found


def test_addresses_that_are_said() -> None:
    assert holds(PeerAddress("10.0.0.0/8"), facts(source="10.1.1.1")) is True
    assert holds(ClientAddress("10.0.0.0/8"), facts(source="10.1.1.1")) is True
    assert holds(ClientAddress("10.0.0.0/8"), facts()) is None


@pytest.mark.parametrize(
    ("hops", "remote", "found"),
    [(0, True, "9.9.9.9"), (1, True, "3.3.3.3"), (2, True, "2.2.2.2"), (3, True, "9.9.9.9"), (0, False, "3.3.3.3"),
     (1, False, "2.2.2.2")],
)  # fmt: skip
def test_whose_address_counts(hops: int, remote: bool, found: str) -> None:
    request = parse_request("GET", "http://a/", ["x-forwarded-for: 2.2.2.2, 3.3.3.3"], source="9.9.9.9")
    connection = HttpConnection("x", "r", Direction.INBOUND, use_remote_address=remote, trusted_hops=hops)
    assert client_address(request, connection) == found


def test_verdicts_of_rules() -> None:
    header = Header(HeaderMatch(":method", StringMatch(EXACT, "POST")))
    never, unsure = RuleSpec("no", header, ALWAYS), RuleSpec("maybe", ALWAYS, PeerAddress("10.0.0.0/8"))
    sure = RuleSpec("yes", ALWAYS, ALWAYS)

    def judged(verdict: Verdict, *rules: RuleSpec) -> bool | None:
        return judge_rules(RuleSet(verdict, rules), facts()).passes

    assert [judged(Verdict.ALLOW, *rules) for rules in ((never,), (never, sure), (unsure,))] == [False, True, None]
    assert [judged(Verdict.DENY, *rules) for rules in ((never,), (never, sure), (unsure,))] == [True, False, None]
    assert judged(Verdict.LOG, sure) is True


def test_tokens() -> None:
    key = Key("k")
    provider = JwtProvider("me", "{}", ("shop",), space_delimited=("scope",))

    def judge(token: str = "", spec: JwtSpec | None = None) -> tuple[bool, int]:
        lines = [f"authorization: Bearer {token}"] if token else []
        verdict = judge_tokens(spec or JwtSpec((provider,)), parse_request("GET", "http://a/", lines), 1_000.0)
        return verdict.passes, verdict.status

    assert judge()[0] is True
    assert judge(spec=CLOSED) == (False, 401)
    assert judge(key.token(aud="shop"))[0] is True
    assert judge(key.token(aud="bank")) == (False, 403)
    assert judge(key.token(aud="shop", exp=10)) == (False, 401)
    assert judge(key.token(aud="shop", iss="stranger")) == (False, 401)
    assert judge("rubbish") == (False, 401)
    assert judge(key.token(aud="shop"), JwtSpec((JwtProvider("me", ""),))) == (False, 401)
    placed = JwtSpec((JwtProvider("me", "{}", from_headers=(("x-token", ""),)),))
    assert judge("rubbish", placed)[0] is True  # where nobody looks
    request = parse_request("GET", "http://a/", [f"authorization: Bearer {key.token(aud='shop', scope='a b')}"])
    assert judge_tokens(JwtSpec((provider,)), request, 1_000.0).claims["scope"] == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "headers", "words"),
    [
        ("gopher://a", [], "no URL"),
        ("tcp://a", [], "no port"),
        ("http://a:x/", [], "no URL"),
        ("http://", [], "no URL"),
        ("http://a/", ["rubbish"], "no header"),
        ("http://a/" + "x" * 9_000, [], "longer"),
    ],
)
def test_wrong_requests(url: str, headers: list[str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parse_request("GET", url, headers)


@pytest.mark.parametrize(
    ("url", "authority", "port"),
    [("reviews:9080", "reviews:9080", 9080), ("https://a/", "a", 443), ("http://[::1]:81/", "[::1]:81", 81)],
)
def test_requests_as_curl_makes_them(url: str, authority: str, port: int) -> None:
    request: Request = parse_request("get", url)
    assert (request.authority, request.port, request.method, request.path) == (authority, port, "GET", "/")
