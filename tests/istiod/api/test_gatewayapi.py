# ruff: noqa: E501
"""Wrong objects of the Gateway API's kinds, and what is said of them: one row a rule, shared shapes made for each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from istiod.api.kinds import KINDS, Kind
from istiod.api.meta import Object
from istiod.api.parse import parse_documents

Row = tuple[str, str, str, str]  # kind, spec, path, message

BACKEND = "backendRefs: [{name: a, port: 80}]"
LONG = "x" * 254
RULES = {
    "HTTPRoute": "rules: [{%s}]",
    "GRPCRoute": "rules: [{%s}]",
    "TLSRoute": "rules: [{%s}]",
    "TCPRoute": "rules: [{%s}]",
}
GOOD = {
    **{kind: rules % BACKEND for kind, rules in RULES.items()},
    "GatewayClass": "controllerName: istio.io/gateway-controller",
    "Gateway": "{gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}",
    "ReferenceGrant": "{from: [{group: g, kind: HTTPRoute, namespace: a}], to: [{group: '', kind: Service}]}",
    "BackendTLSPolicy": "{targetRefs: [{group: '', kind: Service, name: a}], validation: {hostname: a.test, wellKnownCACertificates: System}}",
}


def parents(kind: str) -> Iterator[Row]:
    """What every kind of route may get wrong about its parents and backends."""
    rules = RULES[kind]
    rest = rules % BACKEND
    yield kind, f"{{parentRefs: [{{}}], {rest}}}", "spec.parentRefs[0].name", "is missing"
    yield kind, f"{{parentRefs: [{{name: ''}}], {rest}}}", "spec.parentRefs[0].name", "has 0 characters"
    yield (
        kind,
        f"{{parentRefs: [{{name: a, namespace: A_B}}], {rest}}}",
        "spec.parentRefs[0].namespace",
        "'A_B' is no namespace",
    )
    yield (
        kind,
        f"{{parentRefs: [{{name: a, port: 0}}], {rest}}}",
        "spec.parentRefs[0].port",
        "0: input should be greater than or equal to 1",
    )
    yield (
        kind,
        f"{{parentRefs: [{{name: a, sectionName: A_B}}], {rest}}}",
        "spec.parentRefs[0].sectionName",
        "'A_B' is no name of a section",
    )
    yield kind, f"{{parentRefs: [{{name: a}}, {{name: a}}], {rest}}}", "spec.parentRefs[1]", "'a' is listed twice"
    yield (
        kind,
        f"{{parentRefs: [{{name: a}}, {{name: a, sectionName: b}}], {rest}}}",
        "spec.parentRefs[1]",
        "'a' is also listed as a whole",
    )
    yield kind, f"{{parentRef: [], {rest}}}", "spec.parentRef", "is no field"
    yield kind, rules % "backendRefs: [{port: 80}]", "spec.rules[0].backendRefs[0].name", "is missing"
    yield kind, rules % "backendRefs: [{name: a}]", "spec.rules[0].backendRefs[0].port", "is missing"
    yield (
        kind,
        rules % "backendRefs: [{name: a, port: 70000}]",
        "spec.rules[0].backendRefs[0].port",
        "70000: input should be less than or equal to 65535",
    )
    yield (
        kind,
        rules % "backendRefs: [{name: a, port: 80, weight: -1}]",
        "spec.rules[0].backendRefs[0].weight",
        "-1: input should be greater than or equal to 0",
    )
    yield (
        kind,
        rules % "backendRefs: [{name: a, port: 80, weight: 1000001}]",
        "spec.rules[0].backendRefs[0].weight",
        "1000001: input should be less than or equal to 1000000",
    )
    yield (
        kind,
        rules % "backendRefs: [{name: a, port: 80, namespace: A}]",
        "spec.rules[0].backendRefs[0].namespace",
        "'A' is no namespace",
    )
    yield kind, rules % ("name: A_B, " + BACKEND), "spec.rules[0].name", "'A_B' is no name"
    yield kind, f"rules: [{{name: a, {BACKEND}}}, {{name: a, {BACKEND}}}]", "spec.rules[1].name", "'a' is used twice"
    yield kind, f"rules: [{', '.join([f'{{{BACKEND}}}'] * 17)}]", "spec.rules", "has 17 entries"


def hostnames(kind: str) -> Iterator[Row]:
    """What kinds of routes with hosts may get wrong about them."""
    rest = RULES[kind] % BACKEND
    for host, message in (
        ("A.test", "'A.test' is no host"),
        ("a.*.test", "'a.*.test' is no host"),
        ("10.0.0.1", "'10.0.0.1' is an address"),
    ):
        yield kind, f"{{hostnames: ['{host}'], {rest}}}", "spec.hostnames[0]", message
    yield (
        kind,
        f"{{hostnames: [{', '.join(f'h{n}.test' for n in range(17))}], {rest}}}",
        "spec.hostnames",
        "has 17 entries",
    )


def filters(kind: str) -> Iterator[Row]:
    """What the kinds of routes with filters may get wrong about those that both have."""
    for text, path, message in (
        ("type: Nope", ".type", None),
        ("type: RequestHeaderModifier", ".requestHeaderModifier", "is missing for type RequestHeaderModifier"),
        (
            "type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}}, requestHeaderModifier: {}",
            ".requestHeaderModifier",
            "is given for type RequestMirror",
        ),
        (
            "type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a b', value: c}]}",
            ".requestHeaderModifier.set[0].name",
            "'a b' is no name of a header",
        ),
        (
            'type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: "b\\nc"}]}',
            ".requestHeaderModifier.set[0].value",
            "is empty, too long, or has more than one line",
        ),
        (
            "type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}, {name: A, value: c}]}",
            ".requestHeaderModifier.set[1].name",
            "'A' is there twice",
        ),
        (
            "type: RequestHeaderModifier, requestHeaderModifier: {remove: [host]}",
            ".requestHeaderModifier.remove[0]",
            "'host' cannot be removed",
        ),
        (
            "type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: host, value: a}]}",
            ".responseHeaderModifier.set[0].name",
            "'host' is no header of answers",
        ),
        (
            "type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 101}",
            ".requestMirror.percent",
            "101: input should be less than or equal to 100",
        ),
        (
            "type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 1}}",
            ".requestMirror",
            "has both percent and fraction",
        ),
        (
            "type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, fraction: {numerator: 2, denominator: 1}}",
            ".requestMirror.fraction",
            "is more than the whole",
        ),
    ):
        names = "RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, ExtensionRef"
        names += ", RequestRedirect, URLRewrite, CORS, ExternalAuth" if kind == "HTTPRoute" else ""
        said = message or f"'Nope' is none of {names}"
        yield kind, RULES[kind] % f"filters: [{{{text}}}], {BACKEND}", f"spec.rules[0].filters[0]{path}", said
    twice = "{type: RequestHeaderModifier, requestHeaderModifier: {}}"
    yield (
        kind,
        RULES[kind] % f"filters: [{twice}, {twice}], {BACKEND}",
        "spec.rules[0].filters[1].type",
        "RequestHeaderModifier is there twice",
    )
    yield (
        kind,
        RULES[kind] % f"sessionPersistence: {{type: Nope}}, {BACKEND}",
        "spec.rules[0].sessionPersistence.type",
        "'Nope' is none of Cookie, Header",
    )
    yield (
        kind,
        RULES[kind] % f"sessionPersistence: {{cookieConfig: {{lifetimeType: Permanent}}}}, {BACKEND}",
        "spec.rules[0].sessionPersistence.absoluteTimeout",
        "is missing for a permanent cookie",
    )


def http(rule: str, path: str, message: str) -> Row:
    return "HTTPRoute", RULES["HTTPRoute"] % rule, f"spec.rules[0]{path}", message


def match(text: str, path: str, message: str) -> Row:
    return http(f"matches: [{{{text}}}], {BACKEND}", f".matches[0]{path}", message)


def http_filter(text: str, path: str, message: str) -> Row:
    return http(f"filters: [{{{text}}}]", f".filters[0]{path}", message)


def grpc(text: str, path: str, message: str) -> Row:
    return (
        "GRPCRoute",
        RULES["GRPCRoute"] % f"matches: [{{{text}}}], {BACKEND}",
        f"spec.rules[0].matches[0]{path}",
        message,
    )


def listener(text: str, path: str, message: str) -> Row:
    return (
        "Gateway",
        f"{{gatewayClassName: istio, listeners: [{{name: a, port: 80, {text}}}]}}",
        f"spec.listeners[0]{path}",
        message,
    )


def policy(validation: str, path: str, message: str) -> Row:
    return (
        "BackendTLSPolicy",
        f"{{targetRefs: [{{group: '', kind: Service, name: a}}], validation: {{{validation}}}}}",
        f"spec.validation{path}",
        message,
    )


def target(targets: str, path: str, message: str) -> Row:
    return (
        "BackendTLSPolicy",
        f"{{targetRefs: [{targets}], validation: {{hostname: a.test, wellKnownCACertificates: System}}}}",
        f"spec.targetRefs{path}",
        message,
    )


def grant(source: str, to: str, path: str, message: str) -> Row:
    return "ReferenceGrant", f"{{from: [{source}], to: [{to}]}}", f"spec{path}", message


FROM, TO = "{group: g, kind: HTTPRoute, namespace: a}", "{group: '', kind: Service}"
SERVICE = "{group: '', kind: Service, name: a}"
CLASS = "controllerName: istio.io/gateway-controller"
OWN: list[Row] = [
    match("path: {value: a}", ".path.value", "'a' is no absolute path"),
    match("path: {value: /a//b}", ".path.value", "has '//', which no request keeps"),
    match("path: {type: Exact, value: /a/..}", ".path.value", "has '/..', which no request keeps"),
    match(
        "path: {type: RegularExpression, value: '(?=a)'}",
        ".path.value",
        "'(?=a)' is no regular expression of RE2: '(?=' is not supported",
    ),
    match("path: {type: Prefix, value: /}", ".path.type", "'Prefix' is none of Exact, PathPrefix, RegularExpression"),
    match("path: {value: '/a?b'}", ".path.value", "'/a?b' has characters that no path has"),
    match("method: get", ".method", "'get' is no method"),
    match("headers: [{name: a}]", ".headers[0].value", "is missing"),
    match("headers: [{name: ':a', value: b}]", ".headers[0].name", "':a' is no name of a header"),
    match(
        "queryParams: [{name: a, value: '['  , type: RegularExpression}]",
        ".queryParams[0].value",
        "'[' is no regular expression of RE2: unterminated character set at position 0",
    ),
    http(
        f"timeouts: {{request: 1.5s}}, {BACKEND}",
        ".timeouts.request",
        "'1.5s': a duration of h, m, s and ms without fractions is wanted, like 10s or 1m30s",
    ),
    http(
        f"timeouts: {{request: 1s, backendRequest: 2s}}, {BACKEND}",
        ".timeouts.backendRequest",
        "is longer than timeouts.request",
    ),
    http(f"retry: {{codes: [200]}}, {BACKEND}", ".retry.codes[0]", "is 200"),
    http(
        f"filters: [{{type: RequestRedirect, requestRedirect: {{}}}}], {BACKEND}",
        ".backendRefs",
        "is given beside a RequestRedirect",
    ),
    http(
        "filters: [{type: RequestRedirect, requestRedirect: {}}, {type: URLRewrite, urlRewrite: {}}]",
        ".filters",
        "has both RequestRedirect and URLRewrite",
    ),
    http_filter("type: RequestRedirect, requestRedirect: {statusCode: 300}", ".requestRedirect.statusCode", "is 300"),
    http_filter(
        "type: RequestRedirect, requestRedirect: {scheme: ftp}",
        ".requestRedirect.scheme",
        "'ftp' is none of http, https",
    ),
    http_filter(
        "type: RequestRedirect, requestRedirect: {hostname: '*.a'}", ".requestRedirect.hostname", "'*.a' is no host"
    ),
    http_filter(
        "type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath}}",
        ".requestRedirect.path.replaceFullPath",
        "is missing for type ReplaceFullPath",
    ),
    http_filter(
        "type: RequestRedirect, requestRedirect: {path: {type: Nope}}",
        ".requestRedirect.path.type",
        "'Nope' is none of ReplaceFullPath, ReplacePrefixMatch",
    ),
    http_filter("type: CORS, cors: {allowOrigins: [a]}", ".cors.allowOrigins[0]", "'a' is no origin"),
    http_filter("type: CORS, cors: {allowMethods: ['*', GET]}", ".cors.allowMethods", "has '*' and others"),
    http_filter("type: CORS, cors: {maxAge: 0}", ".cors.maxAge", "0: input should be greater than or equal to 1"),
    http(
        f"matches: [{{path: {{type: Exact, value: /a}}}}], filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: /b}}}}}}], {BACKEND}",
        ".filters[0].urlRewrite.path",
        "replaces a prefix where not exactly one prefix is matched",
    ),
    ("HTTPRoute", "rules: []", "spec.rules", "is empty"),
    grpc("method: {}", ".method", "has neither service nor method"),
    grpc("method: {service: a-b}", ".method.service", "'a-b' is no name of a service"),
    grpc("method: {method: a.b}", ".method.method", "'a.b' is no name of a method"),
    grpc(
        "method: {type: RegularExpression, service: '['}",
        ".method.service",
        "'[' is no regular expression of RE2: unterminated character set at position 0",
    ),
    grpc("path: {value: /}", ".path", "is no field"),
    ("TLSRoute", "rules: []", "spec.rules", "is empty"),
    ("TLSRoute", "rules: [{backendRefs: []}]", "spec.rules[0].backendRefs", "is empty"),
    ("TCPRoute", "rules: []", "spec.rules", "is empty"),
    ("TCPRoute", "rules: [{}]", "spec.rules[0].backendRefs", "is missing"),
    (
        "TCPRoute",
        "{hostnames: [a.test], rules: [{backendRefs: [{name: a, port: 1}]}]}",
        "spec.hostnames",
        "is no field",
    ),
    ("GatewayClass", "{}", "spec.controllerName", "is missing"),
    ("GatewayClass", "controllerName: ''", "spec.controllerName", "'' is no name of a controller"),
    ("GatewayClass", "controllerName: istio", "spec.controllerName", "'istio' is no name of a controller"),
    ("GatewayClass", "controllerName: Istio.io/x", "spec.controllerName", "'Istio.io/x' is no name of a controller"),
    ("GatewayClass", "controllerName: istio.io/", "spec.controllerName", "'istio.io/' is no name of a controller"),
    ("GatewayClass", "controllerName: 5", "spec.controllerName", "5 is no text"),
    ("GatewayClass", "controllerName: [a]", "spec.controllerName", "a list: input should be a valid string"),
    (
        "GatewayClass",
        f"controllerName: a.b/{LONG}",
        "spec.controllerName",
        f"'a.b/{'x' * 76}' is no name of a controller",
    ),
    ("GatewayClass", f"{{{CLASS}, description: {'x' * 65}}}", "spec.description", "has 65 characters"),
    ("GatewayClass", f"{{{CLASS}, parametersRef: {{name: a}}}}", "spec.parametersRef.kind", "is missing"),
    ("GatewayClass", f"{{{CLASS}, parametersRef: {{kind: a}}}}", "spec.parametersRef.name", "is missing"),
    ("GatewayClass", f"{{{CLASS}, parametersRef: {{kind: '', name: a}}}}", "spec.parametersRef.kind", "is empty"),
    (
        "GatewayClass",
        f"{{{CLASS}, parametersRef: {{kind: a, name: ''}}}}",
        "spec.parametersRef.name",
        "has 0 characters",
    ),
    (
        "GatewayClass",
        f"{{{CLASS}, parametersRef: {{kind: a, name: b, namespace: C}}}}",
        "spec.parametersRef.namespace",
        "'C' is no namespace",
    ),
    ("GatewayClass", f"{{{CLASS}, parametersRef: x}}", "spec.parametersRef", "'x' is no mapping"),
    ("GatewayClass", f"{{{CLASS}, controller: x}}", "spec.controller", "is no field"),
    ("Gateway", "{gatewayClassName: istio}", "spec.listeners", "is missing"),
    ("Gateway", "{gatewayClassName: istio, listeners: []}", "spec.listeners", "is empty"),
    ("Gateway", "{listeners: [{name: a, port: 80, protocol: HTTP}]}", "spec.gatewayClassName", "is missing"),
    (
        "Gateway",
        "{gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}, {name: a, port: 81, protocol: HTTP}]}",
        "spec.listeners[1].name",
        "'a' is also the name of listeners[0]",
    ),
    (
        "Gateway",
        "{gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}]}",
        "spec.listeners[1]",
        "has the port, protocol and hostname of listeners[0]",
    ),
    (
        "Gateway",
        "{gatewayClassName: istio, addresses: [{type: Hostname, value: '*.a'}], listeners: [{name: a, port: 80, protocol: HTTP}]}",
        "spec.addresses[0].value",
        "'*.a' is no host",
    ),
    (
        "Gateway",
        "{gatewayClassName: istio, listeners: [{name: A_B, port: 80, protocol: HTTP}]}",
        "spec.listeners[0].name",
        "'A_B' is no name",
    ),
    (
        "Gateway",
        "{gatewayClassName: istio, listeners: [{name: a, port: 0, protocol: HTTP}]}",
        "spec.listeners[0].port",
        "0: input should be greater than or equal to 1",
    ),
    listener("protocol: HTTP, hostname: A", ".hostname", "'A' is no host"),
    listener("protocol: TCP, hostname: a.test", ".hostname", "is given for protocol TCP"),
    listener("protocol: HTTP, tls: {certificateRefs: [{name: a}]}", ".tls", "is given for protocol HTTP"),
    listener("protocol: HTTPS, tls: {mode: Passthrough}", ".tls.mode", "is Passthrough for protocol HTTPS"),
    listener("protocol: HTTPS, tls: {}", ".tls.certificateRefs", "is empty in mode Terminate"),
    listener("protocol: TLS, tls: {mode: SIMPLE}", ".tls.mode", "'SIMPLE' is none of Terminate, Passthrough"),
    listener(
        "protocol: HTTPS, tls: {certificateRefs: [{name: ''}]}", ".tls.certificateRefs[0].name", "has 0 characters"
    ),
    listener(
        "protocol: HTTPS, tls: {certificateRefs: [{name: a, namespace: B}]}",
        ".tls.certificateRefs[0].namespace",
        "'B' is no namespace",
    ),
    listener(
        "protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}",
        ".allowedRoutes.namespaces.selector",
        "is missing for from: Selector",
    ),
    listener(
        "protocol: HTTP, allowedRoutes: {namespaces: {from: Some}}",
        ".allowedRoutes.namespaces.from",
        "'Some' is none of All, Same, Selector, None",
    ),
    listener(
        "protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: a, operator: In}]}}}",
        ".allowedRoutes.namespaces.selector.matchExpressions[0].values",
        "is empty for operator In",
    ),
    grant("", TO, ".from", "is empty"),
    grant(FROM, "", ".to", "is empty"),
    grant("{kind: HTTPRoute, namespace: a}", TO, ".from[0].group", "is missing"),
    grant("{group: g, namespace: a}", TO, ".from[0].kind", "is missing"),
    grant("{group: g, kind: HTTPRoute}", TO, ".from[0].namespace", "is missing"),
    grant("{group: g, kind: '', namespace: a}", TO, ".from[0].kind", "is empty"),
    grant("{group: g, kind: HTTPRoute, namespace: ''}", TO, ".from[0].namespace", "is empty"),
    grant("{group: g, kind: HTTPRoute, namespace: A}", TO, ".from[0].namespace", "'A' is no namespace"),
    grant("{group: g, kind: HTTPRoute, namespace: a, name: b}", TO, ".from[0].name", "is no field"),
    grant(FROM, "{kind: Service}", ".to[0].group", "is missing"),
    grant(FROM, "{group: ''}", ".to[0].kind", "is missing"),
    grant(FROM, "{group: '', kind: ''}", ".to[0].kind", "is empty"),
    grant(FROM, "{group: '', kind: Service, name: ''}", ".to[0].name", "has 0 characters"),
    grant(FROM, "{group: '', kind: Service, namespace: a}", ".to[0].namespace", "is no field"),
    grant(", ".join([FROM] * 17), TO, ".from", "has 17 entries"),
    ("ReferenceGrant", f"to: [{TO}]", "spec.from", "is missing"),
    target("", "", "is empty"),
    target("{kind: Service, name: a}", "[0].group", "is missing"),
    target("{group: '', name: a}", "[0].kind", "is missing"),
    target("{group: '', kind: Service}", "[0].name", "is missing"),
    target("{group: '', kind: '', name: a}", "[0].kind", "is empty"),
    target(f"{SERVICE}, {SERVICE}", "[1]", "'a' is listed twice"),
    target(f"{SERVICE}, {{group: '', kind: Service, name: a, sectionName: b}}", "[1]", "'a' is also listed as a whole"),
    target("{group: '', kind: Service, name: a, namespace: b}", "[0].namespace", "is no field"),
    policy("wellKnownCACertificates: System", ".hostname", "is missing"),
    policy("hostname: '*.a', wellKnownCACertificates: System", ".hostname", "'*.a' is no host"),
    policy("hostname: 10.0.0.1, wellKnownCACertificates: System", ".hostname", "'10.0.0.1' is an address"),
    policy("hostname: a.test", "", "has neither caCertificateRefs nor wellKnownCACertificates"),
    policy(
        "hostname: a.test, wellKnownCACertificates: System, caCertificateRefs: [{group: '', kind: ConfigMap, name: a}]",
        "",
        "has both caCertificateRefs and wellKnownCACertificates",
    ),
    policy("hostname: a.test, wellKnownCACertificates: Mine", ".wellKnownCACertificates", "'Mine' is unknown"),
    policy(
        "hostname: a.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: ''}]",
        ".caCertificateRefs[0].name",
        "has 0 characters",
    ),
    policy(
        "hostname: a.test, caCertificateRefs: [{kind: ConfigMap, name: a}]", ".caCertificateRefs[0].group", "is missing"
    ),
    policy(
        "hostname: a.test, wellKnownCACertificates: System, subjectAltNames: [{type: IP}]",
        ".subjectAltNames[0].type",
        "'IP' is none of Hostname, URI",
    ),
    policy(
        "hostname: a.test, wellKnownCACertificates: System, subjectAltNames: [{type: URI}]",
        ".subjectAltNames[0].uri",
        "is missing for type URI",
    ),
    policy(
        "hostname: a.test, wellKnownCACertificates: System, subjectAltNames: [{type: Hostname, hostname: a.test, uri: 'x:y'}]",
        ".subjectAltNames[0].uri",
        "is given for type Hostname",
    ),
]
ROWS: list[Row] = [
    *(row for kind in RULES for row in parents(kind)),
    *(row for kind in RULES if kind != "TCPRoute" for row in hostnames(kind)),
    *(row for kind in ("HTTPRoute", "GRPCRoute") for row in filters(kind)),
    *OWN,
]


def document(kind: str, spec: str, version: str = "v1") -> str:
    namespace = {} if kind == "GatewayClass" else {"namespace": "n"}
    metadata = {"name": "x", **namespace}
    return yaml.safe_dump(
        {
            "apiVersion": f"gateway.networking.k8s.io/{version}",
            "kind": kind,
            "metadata": metadata,
            "spec": yaml.safe_load(spec),
        }
    )


@pytest.mark.parametrize(("kind", "spec", "path", "message"), ROWS)
def test_wrong_objects(kind: str, spec: str, path: str, message: str) -> None:
    parsed = parse_documents(document(kind, spec), "f")
    name = f"{kind} x" if kind == "GatewayClass" else f"{kind} n/x"
    assert [(f.object, f.path, f.message) for f in parsed.findings] == [(name, path, message)]
    assert all(f.fix for f in parsed.findings)
    assert parsed.objects == ()


def test_every_kind_has_a_table() -> None:
    counts = Counter(kind for kind, *_ in ROWS)
    assert set(counts) == set(GOOD)
    assert min(counts.values()) >= 15, counts


@pytest.mark.parametrize(("kind", "spec"), GOOD.items())
@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha2", "v1alpha3"])
def test_every_version_is_read(kind: str, spec: str, version: str) -> None:
    parsed = parse_documents(document(kind, spec, version), "f")
    assert parsed.findings == ()
    (found,) = parsed.objects
    assert isinstance(found, Object)
    assert KINDS[found.kind].called in ("", kind)


def test_the_two_kinds_called_gateway_are_kept_apart() -> None:
    (kubernetes,) = parse_documents(document("Gateway", GOOD["Gateway"]), "f").objects
    assert kubernetes.kind == Kind.KUBERNETES_GATEWAY


def test_what_crds_leave_out_is_their_default() -> None:
    (route,) = parse_documents(document("HTTPRoute", "rules: [{backendRefs: [{name: a, port: 80}]}]"), "f").objects
    assert isinstance(route, Object)
    (rule,) = route.spec.rules
    assert rule.backend_refs[0].weight == 1
    assert route.spec.parent_refs == ()
