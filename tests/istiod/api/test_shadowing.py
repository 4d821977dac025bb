"""Routes that can never be used, and those that only look so."""

from __future__ import annotations

import pytest

from federation.model.findings import Severity
from tests.istiod.api.wrong.conftest import parse_spec

TO = "route: [{destination: {host: b}}]"


def said(spec: str) -> list[tuple[str, str]]:
    """Codes and paths of the findings about a VirtualService, none of which keeps it from counting."""
    findings = parse_spec("VirtualService", f"hosts: [a.com]\n{spec}").findings
    assert all(finding.severity is not Severity.ERROR for finding in findings)
    return [(finding.code, finding.path) for finding in findings]


def two(first: str, second: str) -> list[tuple[str, str]]:
    """Findings about two HTTP routes, each with one match ("" = none)."""
    routes = [f"{{{f'match: [{{{text}}}], ' if text else ''}{TO}}}" for text in (first, second)]
    return said(f"http: [{', '.join(routes)}]")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        ("", "uri: {exact: /a}"),
        ("uri: {prefix: /}", "headers: {x: {exact: y}}"),
        ("uri: {prefix: /a}", "uri: {prefix: /ab}"),
        ("uri: {prefix: /a}", "uri: {exact: /a/b}, method: {exact: GET}"),
        ("uri: {prefix: /A}, ignoreUriCase: true", "uri: {prefix: /ab}"),
        ("uri: {exact: /a}", "uri: {exact: /a}, name: other"),
        ("headers: {x: {}}", "headers: {x: {regex: 'a.*'}}"),
        ("headers: {x: {prefix: a}}", "headers: {x: {exact: ab}, y: {exact: c}}"),
        ("queryParams: {q: {exact: a}}", "queryParams: {q: {exact: a}}, uri: {prefix: /b}"),
        ("withoutHeaders: {x: {exact: a}}", "withoutHeaders: {x: {exact: a}}, uri: {prefix: /b}"),
        ("sourceLabels: {a: b}", "sourceLabels: {a: b, c: d}"),
        ("uri: {prefix: /a}", "uri: {prefix: /a}, port: 80"),
        ("uri: {prefix: /a}", "uri: {prefix: /a}, gateways: [mesh]"),
    ],
)
def test_unreachable(first: str, second: str) -> None:
    assert two(first, second) == [("UnreachableRoute", "spec.http[1]")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("uri: {exact: /a}", ""),
        ("uri: {prefix: /ab}", "uri: {prefix: /a}"),
        ("uri: {prefix: /a}, method: {exact: GET}", "uri: {prefix: /a/b}"),
        ("uri: {prefix: /ab}", "uri: {prefix: /AB}, ignoreUriCase: true"),
        ("uri: {regex: '/a.*'}", "uri: {prefix: /ab}"),
        ("port: 80", "port: 81"),
        ("port: 80", ""),
        ("headers: {x: {exact: a}}", "headers: {x: {prefix: a}}"),
        ("headers: {x: {exact: a}}", "queryParams: {x: {exact: a}}"),
        ("withoutHeaders: {x: {}}", "withoutHeaders: {x: {exact: a}}"),
        ("sourceLabels: {a: b}", "sourceLabels: {a: c}"),
        ("sourceLabels: {a: b}", "gateways: [mesh], sourceLabels: {a: b}"),
        ("sourceNamespace: x", "sourceNamespace: y"),
        ("gateways: [mesh]", "gateways: [g]"),
        ("gateways: [mesh]", "uri: {prefix: /}"),
    ],
)
def test_reachable(first: str, second: str) -> None:
    assert two(first, second) == []


def test_one_match_of_several() -> None:
    first = f"{{match: [{{uri: {{prefix: /a}}}}], {TO}}}"
    second = f"{{match: [{{uri: {{exact: /ab}}}}, {{uri: {{exact: /b}}}}], {TO}}}"
    assert said(f"http: [{first}, {second}]") == [("IneffectiveMatch", "spec.http[1].match[0]")]


def test_two_routes_together_hide_a_third() -> None:
    first, second = (f"{{match: [{{uri: {{prefix: {path}}}}}], {TO}}}" for path in ("/a", "/b"))
    third = f"{{match: [{{uri: {{exact: /ab}}}}, {{uri: {{exact: /bc}}}}], {TO}}}"
    assert said(f"http: [{first}, {second}, {third}]") == [("UnreachableRoute", "spec.http[2]")]


def test_a_delegate_hides_nothing() -> None:
    assert said(f"http: [{{delegate: {{name: d}}}}, {{{TO}}}]") == []


def test_bytes() -> None:
    assert said(f"tcp: [{{{TO}}}, {{match: [{{port: 80}}], {TO}}}]") == [("UnreachableRoute", "spec.tcp[1]")]
    assert said(f"tcp: [{{match: [{{port: 80}}], {TO}}}, {{{TO}}}]") == []
    tls = f"{{match: [{{sniHosts: [a.com], port: 443}}], {TO}}}"
    assert said(f"tls: [{tls}, {tls}]") == [("UnreachableRoute", "spec.tls[1]")]
    assert said(f"tls: [{tls}, {tls.replace('443', '444')}]") == []
