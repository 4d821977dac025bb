# ruff: noqa: E501
"""Rules of HTTPRoute and GRPCRoute as routes of VirtualServices: precedence, filters, backends."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from istiod.api.gatewayapi.filters import HeaderFilter, RedirectFilter
from istiod.api.kinds import Kind
from istiod.api.virtualservice import HTTPRoute, VirtualService
from istiod.gatewayapi.filters import literal_headers, redirect
from istiod.resolve.gateway_semantics import replaced_prefix
from istiod.snapshot import Snapshot
from tests.istiod.gatewayapi.conftest import gateway, grant, route, short, status_of

Translated = Callable[[str], Snapshot]
BACKEND = "backendRefs: [{name: a, port: 80}]"


def virtual_service(snapshot: Snapshot) -> VirtualService:
    (item,) = snapshot.tables[Kind.VIRTUAL_SERVICE].values()
    spec: VirtualService = item.spec
    return spec


def only(snapshot: Snapshot) -> HTTPRoute:
    (found,) = virtual_service(snapshot).http
    return found


def matching(*texts: str) -> str:
    return f"{{matches: [{', '.join(f'{{{text}}}' for text in texts)}], {BACKEND}}}"


def test_routes_of_a_host_are_ordered_by_how_specific_they_are(translated: Translated) -> None:
    rules = (
        matching("path: {value: /}"),
        matching("path: {value: /a}"),
        matching("path: {value: /a}, queryParams: [{name: q, value: v}]"),
        matching("path: {value: /a}, headers: [{name: h, value: v}]"),
        matching("path: {value: /a}, headers: [{name: h, value: v}, {name: i, value: v}]"),
        matching("path: {value: /a}, method: GET"),
        matching("path: {type: RegularExpression, value: '/regex.*'}"),
        matching("path: {value: /longer}"),
        matching("path: {type: Exact, value: /e}"),
        matching("method: GET"),
    )
    snapshot = translated(gateway() + route(rules=", ".join(rules)))
    order = [int(item.name.rpartition(".")[2]) for item in virtual_service(snapshot).http]
    assert order == [8, 7, 5, 4, 3, 2, 1, 6, 9, 0]


def test_the_older_route_stands_first_then_the_name(translated: Translated) -> None:
    snapshot = translated(
        gateway()
        + route("b", created="2025-01-01T00:00:00Z")
        + route("a", created="2025-01-01T00:00:00Z")
        + route("z", created="2024-01-01T00:00:00Z", rules=f"{{{BACKEND}}}, {{{BACKEND}}}")
    )
    names = [item.name for item in virtual_service(snapshot).http]
    assert names == ["apps.z.0", "apps.z.1", "apps.a.0", "apps.b.0"]


def test_matches_of_calls(translated: Translated) -> None:
    methods = (
        "{service: p.S, method: M}",
        "{service: p.S}",
        "{method: M}",
        "{type: RegularExpression, service: 'p.*'}",
    )
    rules = ", ".join(matching(f"method: {method}") for method in methods) + f", {{{BACKEND}}}"
    snapshot = translated(gateway() + route(kind="GRPCRoute", rules=rules))
    uris = [item.match[0].uri for item in virtual_service(snapshot).http]
    assert [(u.exact, u.prefix, u.regex) for u in uris if u is not None] == [
        ("/p.S/M", None, None),
        (None, "/p.S", None),
        (None, None, "/p.*/[^/]+"),
        (None, None, "/[^/]+/M"),
        (None, "/", None),
    ]


@pytest.mark.parametrize(
    ("backend", "reason", "path", "host"),
    [
        ("name: a, port: 80", "ResolvedRefs", "", "a.apps.svc.cluster.local"),
        ("name: x, port: 80", "!BackendNotFound", ".name", "unresolved.gateway-api.invalid"),
        ("name: a, port: 81", "!BackendNotFound", ".port", "a.apps.svc.cluster.local"),
        ("name: c, namespace: other, port: 80", "!RefNotPermitted", "", "unresolved.gateway-api.invalid"),
        ("group: x, kind: Bucket, name: a", "!InvalidKind", ".kind", "unresolved.gateway-api.invalid"),
        (
            "group: networking.istio.io, kind: Hostname, name: c.other.svc.cluster.local, port: 80",
            "ResolvedRefs",
            "",
            "c.other.svc.cluster.local",
        ),
        (
            "group: networking.istio.io, kind: Hostname, name: x.test, port: 80",
            "!BackendNotFound",
            ".name",
            "unresolved.gateway-api.invalid",
        ),
    ],
)
def test_backends(translated: Translated, backend: str, reason: str, path: str, host: str) -> None:
    snapshot = translated(gateway() + route(rules=f"{{backendRefs: [{{{backend}}}]}}"))
    (parent,) = status_of(snapshot, "HTTPRoute apps/r").parents
    assert short(parent.conditions) == {"Accepted": "Accepted", "ResolvedRefs": reason}
    found = [f.path for f in snapshot.findings if f.code == reason[1:]]
    assert found == ([f"spec.rules[0].backendRefs[0]{path}"] if reason.startswith("!") else [])
    assert only(snapshot).route[0].destination.host == host


def test_a_grant_is_for_its_kinds_and_names(translated: Translated) -> None:
    rules = "{backendRefs: [{name: c, namespace: other, port: 80}]}"
    for text, permitted in (
        (grant(), True),
        (grant(name="c"), True),
        (grant(name="d"), False),
        (grant("GRPCRoute"), False),
        (grant(to="Secret"), False),
        (grant(namespace="apps"), False),
    ):
        snapshot = translated(gateway() + route(rules=rules) + text)
        assert (only(snapshot).route[0].destination.host == "c.other.svc.cluster.local") is permitted, text


@pytest.mark.parametrize(
    "rule",
    [
        "{}",
        "{backendRefs: [{name: a, port: 80, weight: 0}]}",
        "{filters: [{type: URLRewrite, urlRewrite: {hostname: b.test}}]}",
    ],
)
def test_a_rule_that_leads_nowhere_answers_500(translated: Translated, rule: str) -> None:
    found = only(translated(gateway() + route(rules=rule)))
    assert found.direct_response is not None
    assert (found.direct_response.status, found.route) == (500, ())


def test_a_filter_that_is_not_followed_fails_its_rule_alone(translated: Translated) -> None:
    strange = "{matches: [{path: {value: /s}}], filters: [{type: ExtensionRef, extensionRef: {group: g, kind: k, name: n}}], backendRefs: [{name: a, port: 80}]}"
    snapshot = translated(gateway() + route(rules=f"{strange}, {{{BACKEND}}}"))
    bad, good = virtual_service(snapshot).http
    assert bad.direct_response is not None
    assert bad.direct_response.status == 500
    assert good.route
    (parent,) = status_of(snapshot, "HTTPRoute apps/r").parents
    assert short(parent.conditions) == {
        "Accepted": "Accepted",
        "ResolvedRefs": "ResolvedRefs",
        "PartiallyInvalid": "UnsupportedValue",
    }
    (parent,) = status_of(translated(gateway() + route(rules=strange)), "HTTPRoute apps/r").parents
    assert short(parent.conditions)["Accepted"] == "!UnsupportedValue"


@pytest.mark.parametrize(
    ("said", "timeout", "retries"),
    [
        ("timeouts: {request: 5s}", 5.0, None),
        ("timeouts: {request: 0s}", None, None),
        ("timeouts: {request: 5s, backendRequest: 1s}", 1.0, None),
        ("timeouts: {backendRequest: 500ms}", 0.5, None),
        ("timeouts: {request: 5s, backendRequest: 1s}, retry: {}", 5.0, (2, 1.0, None, "")),
        ("retry: {attempts: 0}", None, (0, None, None, "")),
        ("retry: {attempts: 3, codes: [500, 503], backoff: 10ms}", None, (3, None, 0.01, ",500,503")),
    ],
)
def test_times(translated: Translated, said: str, timeout: float | None, retries: tuple[object, ...] | None) -> None:
    found = only(translated(gateway() + route(rules=f"{{{said}, {BACKEND}}}")))
    assert found.timeout == timeout
    if retries is None:
        assert found.retries is None
        return
    assert found.retries is not None
    attempts, per_try, backoff, codes = retries
    assert (found.retries.attempts, found.retries.per_try_timeout, found.retries.backoff) == (
        attempts,
        per_try,
        backoff,
    )
    assert found.retries.retry_on == f"connect-failure,refused-stream,unavailable,cancelled{codes}"


def test_mirrors_and_headers_of_backends(translated: Translated) -> None:
    mirrors = ", ".join(
        f"{{type: RequestMirror, requestMirror: {{backendRef: {{name: {name}, port: 80}}{share}}}}}"
        for name, share in (
            ("a", ""),
            ("b", ", percent: 5"),
            ("b", ", fraction: {numerator: 1, denominator: 8}"),
            ("x", ""),
        )
    )
    header = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: y}]}}"
    rule = f"{{filters: [{mirrors}], backendRefs: [{{name: a, port: 80, weight: 2, filters: [{header}]}}, {{name: b, port: 80}}]}}"
    found = only(translated(gateway() + route(rules=rule)))
    assert [(m.destination.host[0], m.percentage.value) for m in found.mirrors if m.percentage] == [
        ("a", 100.0),
        ("b", 5.0),
        ("b", 12.5),
    ]
    first, second = found.route
    assert (first.weight, second.weight) == (2, 1)
    assert first.headers is not None
    assert first.headers.request is not None
    assert first.headers.request.set == {"x": "y"}
    assert second.headers is None


@pytest.mark.parametrize(
    ("prefix", "new", "path", "expected"),
    [
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo/", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "/", "/foo/bar", "/bar"),
        ("/foo", "", "/foo/", "/"),
        ("/foo", "", "/foo", "/"),
        ("/foo", "/", "/foo/", "/"),
        ("/foo", "/", "/foo", "/"),
        ("/", "/xyz", "/foo", "/xyz/foo"),
        ("/a.b", "/x", "/a.b/c", "/x/c"),
    ],
)
def test_a_prefix_is_replaced_as_the_standard_shows(prefix: str, new: str, path: str, expected: str) -> None:
    pattern, substitution = replaced_prefix(prefix, new)
    assert re.sub(pattern, substitution, path) == expected


@pytest.mark.parametrize(
    ("said", "listener", "port"),
    [
        ({}, (8080, "http"), 8080),
        ({}, (80, "http"), None),
        ({}, (443, "https"), None),
        ({}, (443, "http"), 443),
        ({"scheme": "https"}, (8080, "http"), None),
        ({"scheme": "https", "port": 443}, (80, "http"), None),
        ({"scheme": "https", "port": 8443}, (80, "http"), 8443),
        ({"port": 80}, (8080, "http"), None),
        ({"port": 80}, (443, "https"), 80),
        ({}, (0, "http"), None),
    ],
)
def test_the_port_of_a_redirect(said: dict[str, object], listener: tuple[int, str], port: int | None) -> None:
    assert redirect(RedirectFilter.model_validate(said), *listener).port == port


@pytest.mark.parametrize(
    ("value", "sent"),
    [("a", "a"), ("100%", "100%%"), ("%REQ(x)%", "%REQ(x)%"), ("%NOPE%", "%%NOPE%%"), ("50%%", "50%%")],
)
def test_percent_signs_of_header_values(value: str, sent: str) -> None:
    said = HeaderFilter.model_validate({"set": [{"name": "x", "value": value}]})
    assert literal_headers(said).set == {"x": sent}


def test_origins(translated: Translated) -> None:
    cors = "{type: CORS, cors: {allowOrigins: ['*', 'https://a.test', 'https://*.b.test'], allowCredentials: true}}"
    found = only(translated(gateway() + route(rules=f"{{filters: [{cors}], {BACKEND}}}"))).cors_policy
    assert found is not None
    assert [(o.exact, o.regex) for o in found.allow_origins] == [
        ("*", None),
        ("https://a.test", None),
        (None, r"https://[^/]+\.b\.test"),
    ]
    assert (found.max_age, found.allow_credentials) == (5.0, True)
