# ruff: noqa: E501
"""What an AuthorizationPolicy may say: every wrong one is named at its field, and closes what it selects."""

from __future__ import annotations

import pytest
import yaml

from federation.model.findings import Severity
from istiod.api.authorization_attributes import Attribute, AttributeKey, parse_key
from istiod.api.meta import Invalid, Object
from istiod.api.parse import Parsed, parse_documents

E, W = Severity.ERROR, Severity.WARNING


def parsed(spec: str, version: str = "v1") -> Parsed:
    document = {
        "apiVersion": f"security.istio.io/{version}",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "x", "namespace": "ns"},
        "spec": yaml.safe_load(spec),
    }
    return parse_documents(yaml.safe_dump(document), "f.yaml")


def source(text: str) -> str:
    return f"rules: [{{from: [{{source: {{{text}}}}}]}}]"


def operation(text: str) -> str:
    return f"rules: [{{to: [{{operation: {{{text}}}}}]}}]"


def when(text: str) -> str:
    return f"rules: [{{when: [{{{text}}}]}}]"


SOURCE, OPERATION, WHEN = "spec.rules[0].from[0].source", "spec.rules[0].to[0].operation", "spec.rules[0].when[0]"
CUSTOM = "action: CUSTOM\nprovider: {name: p}\n"
ALIKE = "[x/a, x/b, x/c, x/d, x/e, x/f, x/g, x/h, x/i, x/j, x/k, x/l, x/m, x/n, x/o, x/p, x/q]"

ROWS = [
    # spec, severity, path, message
    ("action: PERMIT", E, "spec.action", "'PERMIT' is none of ALLOW, DENY, AUDIT, CUSTOM"),
    ("action: DENY", E, "spec.rules", "is empty, so action DENY never happens"),
    ("action: CUSTOM\nprovider: {name: p}", E, "spec.rules", "is empty, so action CUSTOM never happens"),
    ("action: CUSTOM\nrules: [{}]", E, "spec.provider.name", "is missing for action CUSTOM"),
    ("provider: {name: p}", E, "spec.provider", "is given with action ALLOW"),
    ("selector: {matchLabels: {app: 'a*'}}", E, "spec.selector.matchLabels.app", "has a wildcard, which labels do not know"),
    ("selector: {matchLabels: {a: b}}\ntargetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: g}", E, "spec", "has selector and targetRef"),
    ("targetRefs: [{group: apps, kind: Deployment, name: d}]", E, "spec.targetRefs[0].kind", "'apps/Deployment' takes no policies"),
    ("selector: {}\ntargetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: a}]", E, "spec", "has selector and targetRefs"),
    ("rules: [{from: []}]", W, "spec.rules[0].from", "is empty, so it counts as not given"),
    ("rules: [{to: []}]", W, "spec.rules[0].to", "is empty, so it counts as not given"),
    ("rules: [{from: [{}]}]", E, SOURCE, "is missing"),
    (source(""), E, SOURCE, "is empty"),
    (operation(""), E, OPERATION, "is empty"),
    (source("principal: [a]"), E, f"{SOURCE}.principal", "is no field"),
    (source("principals: ['']"), E, f"{SOURCE}.principals[0]", "is empty"),
    (source("principals: a"), E, f"{SOURCE}.principals", "'a' is no list"),
    (source("principals: ['*a*']"), W, f"{SOURCE}.principals[0]", "'*a*' has a '*' that stands for itself"),
    (source("namespaces: [Shop]"), W, f"{SOURCE}.namespaces[0]", "'Shop' is the name of no namespace"),
    (source(f"notNamespaces: [{'a' * 64}]"), E, f"{SOURCE}.notNamespaces[0]", f"'{'a' * 64}' is no namespace"),
    (source("trustDomains: [a/ns/b]"), E, f"{SOURCE}.trustDomains[0]", "'a/ns/b' is no trust domain"),
    (when("key: source.trustDomain, values: [a/b]"), E, f"{WHEN}.values[0]", "'a/b' is no trust domain"),
    (source("namespaces: ['*a*b*c*']"), E, f"{SOURCE}.namespaces[0]", "'*a*b*c*' has more than 3 '*'"),
    (source("ipBlocks: [10.0.0]"), E, f"{SOURCE}.ipBlocks[0]", "'10.0.0' is neither an IP address nor a CIDR"),
    (source("notIpBlocks: [10.0.0.0/255.0.0.0]"), E, f"{SOURCE}.notIpBlocks[0]", "'10.0.0.0/255.0.0.0' is neither an IP address nor a CIDR"),
    (source("remoteIpBlocks: ['fe80::1%eth0']"), E, f"{SOURCE}.remoteIpBlocks[0]", "'fe80::1%eth0' is neither an IP address nor a CIDR"),
    (source("serviceAccounts: ['a*']"), E, f"{SOURCE}.serviceAccounts[0]", "'a*' has a wildcard, which accounts do not know"),
    (source("serviceAccounts: [a/b/c]"), E, f"{SOURCE}.serviceAccounts[0]", "'a/b/c' is no service account"),
    (source("notServiceAccounts: [/b]"), E, f"{SOURCE}.notServiceAccounts[0]", "'/b' is no service account"),
    (source(f"serviceAccounts: {ALIKE}"), E, f"{SOURCE}.serviceAccounts", "has more than 16 entries"),
    (source("serviceAccounts: [a], namespaces: [b]"), E, SOURCE, "has serviceAccounts beside principals or namespaces"),
    (operation("ports: ['70000']"), E, f"{OPERATION}.ports[0]", "'70000' is no port"),
    (operation("ports: [80]"), E, f"{OPERATION}.ports[0]", "80 is no text"),
    (operation("notPorts: [http]"), E, f"{OPERATION}.notPorts[0]", "'http' is no port"),
    (operation("methods: [get]"), W, f"{OPERATION}.methods[0]", "'get' is the method of no request"),
    (operation("paths: ['/a/{*}/b{**}']"), E, f"{OPERATION}.paths[0]", "'/a/{*}/b{**}' is no path template: 'b{**}' is not a whole segment"),
    (operation("paths: ['/{**}/{*}']"), E, f"{OPERATION}.paths[0]", "'/{**}/{*}' is no path template: {**} must be the last of its operators"),
    (operation("paths: ['a/{*}']"), E, f"{OPERATION}.paths[0]", "'a/{*}' is no path template: it does not begin with '/'"),
    (operation("paths: ['/a//{*}']"), E, f"{OPERATION}.paths[0]", "'/a//{*}' is no path template: it has an empty segment"),
    (operation("notPaths: ['/a*/{*}']"), E, f"{OPERATION}.notPaths[0]", "'/a*/{*}' is no path template: segment 'a*' has characters that a template may not have"),
    (operation("paths: ['/users/{id}']"), E, f"{OPERATION}.paths[0]", "'/users/{id}' is no path template: braces stand for {*} and {**} alone"),
    (operation("paths: ['/a/*/b']"), W, f"{OPERATION}.paths[0]", "'/a/*/b' has a '*' that stands for itself"),
    (when("key: '', values: [a]"), E, f"{WHEN}.key", "'' is no attribute"),
    (when("key: 'request.header[x]', values: [a]"), E, f"{WHEN}.key", "'request.header[x]' is no attribute"),
    (when("key: request.headers, values: [a]"), E, f"{WHEN}.key", "'request.headers' has no name in brackets"),
    (when("key: 'request.auth.claims[]', values: [a]"), E, f"{WHEN}.key", "'request.auth.claims[]' has no name in brackets"),
    (when("key: 'destination.labels[app]', values: [a]"), E, f"{WHEN}.key", "'destination.labels[app]' is no longer an attribute"),
    (when("key: source.ip"), E, WHEN, "has neither values nor notValues"),
    (when("key: source.ip, values: [x]"), E, f"{WHEN}.values[0]", "'x' is neither an IP address nor a CIDR"),
    (when("key: destination.port, notValues: ['-1']"), E, f"{WHEN}.notValues[0]", "'-1' is no port"),
    (when("key: 'request.headers[x]', values: ['']"), E, f"{WHEN}.values[0]", "is empty"),
    (CUSTOM + source("principals: [a]"), E, f"{SOURCE}.principals", "is not supported with action CUSTOM"),
    (CUSTOM + when("key: source.trustDomain, values: [a]"), E, f"{WHEN}.key", "'source.trustDomain' is not supported with action CUSTOM"),
    (CUSTOM + when("key: 'request.auth.claims[iss]', values: [a]"), E, f"{WHEN}.key", "'request.auth.claims[iss]' is not supported with action CUSTOM"),
    ("action: DENY\n" + operation("methods: [GET]"), W, "spec.rules[0]", "has only HTTP fields, so it denies everything on TCP ports"),
    ("action: DENY\n" + source("requestPrincipals: [a]"), W, "spec.rules[0]", "has only HTTP fields, so it denies everything on TCP ports"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "severity", "path", "message"), ROWS)
def test_wrong(spec: str, severity: Severity, path: str, message: str) -> None:
    found = parsed(spec)
    assert [(one.severity, one.object, one.path, one.message) for one in found.findings] == [
        (severity, "AuthorizationPolicy ns/x", path, message)
    ]
    assert found.findings[0].fix
    assert [type(item) for item in found.objects] == [Invalid if severity is E else Object]


def test_all_errors_are_said_at_once() -> None:
    found = parsed(
        "action: DENY\nrules:\n- from: [{source: {ipBlocks: [x]}}]\n  to: [{operation: {ports: [y]}}]\n- {when: [{key: x}]}"
    )
    assert [one.path for one in found.findings] == [
        f"{SOURCE}.ipBlocks[0]",
        f"{OPERATION}.ports[0]",
        "spec.rules[1].when[0].key",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        "{}",
        "action: ALLOW\nrules: []",
        "action: AUDIT\nrules: [{}]",
        "action: DENY\nrules: [{from: [{source: {notNamespaces: [foo]}}]}]",
        "action: DENY\n" + operation("methods: [GET], ports: ['80']"),
        CUSTOM + operation("paths: ['/admin*', '*.json', '*']"),
        CUSTOM + source("ipBlocks: [10.0.0.0/8, '::1'], notRemoteIpBlocks: ['2001:db8::/32']"),
        source("principals: ['*', cluster.local/ns/a/sa/b, '*/sa/b', 'x/*'], trustDomains: ['*.mesh']"),
        source("serviceAccounts: [a, b/c], trustDomains: [east.mesh]"),
        operation("paths: ['/{*}', '/a/{**}', '/a/{*}/b/{**}/c.js', '/a/{*}/', /literal]"),
        operation("hosts: ['*.example.com', 'example.com:*']"),
        when("key: 'request.auth.claims[a][b]', values: [x]"),
        when("key: 'experimental.envoy.filters.network.mysql_proxy[db.table]', values: ['[update]']"),
        when("key: source.serviceAccount, notValues: [a/b]"),
        when("key: source.trustDomain, values: ['*.mesh'], notValues: [west.mesh]"),
        "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}]",
        "selector: {matchLabels: {a: b}}\nrules: [{from: null, to: null}]",
    ],
)
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_right(spec: str, version: str) -> None:
    found = parsed(spec, version)
    assert found.findings == ()
    assert isinstance(found.objects[0], Object)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("source.ip", AttributeKey(Attribute.SOURCE_IP)),
        ("source.ip[x]", None),
        ("request.headers[:authority]", AttributeKey(Attribute.HEADER, (":authority",))),
        ("request.headersx[y]", None),
        ("request.experimental.inline.headers[x-a]", AttributeKey(Attribute.INLINE_HEADER, ("x-a",))),
        ("request.auth.claims[iss]", AttributeKey(Attribute.CLAIM, ("iss",))),
        ("request.auth.claims[realm][roles]", AttributeKey(Attribute.CLAIM, ("realm", "roles"))),
        ("request.auth.claims[https://x.test/a]", AttributeKey(Attribute.CLAIM, ("https://x.test/a",))),
        ("request.auth.claims[a]b]", AttributeKey(Attribute.CLAIM, ("a]b",))),
        ("experimental.envoy.filters.a.b[c]", AttributeKey(Attribute.FILTER, ("envoy.filters.a.b", "c"))),
        ("experimental.envoy.filters.[c]", None),
        ("experimental.envoy.filters.a", None),
    ],
)
def test_keys(key: str, expected: AttributeKey | None) -> None:
    assert parse_key(key) == expected
