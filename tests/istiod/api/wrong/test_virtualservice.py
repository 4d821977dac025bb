# ruff: noqa: E501
"""Wrong VirtualService specs, and what is said of them."""

from __future__ import annotations

import pytest

from federation.model.findings import Severity
from tests.istiod.api.wrong.conftest import E, Row, W, check

ROWS: list[Row] = [
    (E, 'spec', 'has no http, tls or tcp route', 'hosts: [a.com]\n'),
    (E, 'spec.http[0]', 'has none of route, redirect, directResponse and delegate', 'hosts: [a.com]\nhttp: [{}]'),
    (E, 'spec.http[0]', 'has route and redirect', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], redirect: {uri: /}}]'),
    (E, 'spec.hosts[0]', "'*' would take all traffic of sidecars", "hosts: ['*']\nhttp: [{route: [{destination: {host: b}}]}]"),
    (E, 'spec.hosts[1]', "'a' is listed twice", 'hosts: [a, a]\nhttp: [{route: [{destination: {host: b}}]}]'),
    (E, 'spec.hosts[1]', "'x.a.com' and '*.a.com' overlap", "hosts: ['*.a.com', x.a.com]\nhttp: [{route: [{destination: {host: b}}]}]"),
    (E, 'spec.hosts[0]', "'a_b' is no host", 'hosts: [a_b]\nhttp: [{route: [{destination: {host: b}}]}]'),
    (E, 'spec.hosts[0]', "'a.*.com' is no host", "hosts: ['a.*.com']\nhttp: [{route: [{destination: {host: b}}]}]"),
    (E, 'spec.http[0].delegate', 'stands in a VirtualService without hosts', 'http: [{delegate: {name: x}}]'),
    (E, 'spec.gateways', 'is given without hosts: a VirtualService that others delegate to has http routes alone', 'gateways: [g]\nhttp: [{route: [{destination: {host: b}}]}]'),
    (E, 'spec.gateways[0]', "'b/c/d' is no namespace/name", 'hosts: [a]\ngateways: [b/c/d]\nhttp: [{route: [{destination: {host: b}}]}]'),
    (W, 'spec.gateways[0]', "'g.ns.svc.cluster.local' is an old form", 'hosts: [a]\ngateways: [g.ns.svc.cluster.local]\nhttp: [{route: [{destination: {host: b}}]}]'),
    (E, 'spec.http[0].route', 'has only weights of 0', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}, weight: 0}, {destination: {host: c}}]}]'),
    (E, 'spec.http[0].route[0].weight', '-5: input should be greater than or equal to 0', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}, weight: -5}]}]'),
    (E, 'spec.http[0].route[0].destination.host', 'is missing', 'hosts: [a.com]\nhttp: [{route: [{destination: {}}]}]'),
    (E, 'spec.http[0].route[0].destination.host', 'is empty', "hosts: [a.com]\nhttp: [{route: [{destination: {host: ''}}]}]"),
    (E, 'spec.http[0].route[0].destination.host', "'*' is no host", "hosts: [a.com]\nhttp: [{route: [{destination: {host: '*'}}]}]"),
    (E, 'spec.http[0].route[0].destination.subset', "'v 1' is no name", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b, subset: 'v 1'}}]}]"),
    (E, 'spec.http[0].route[0].destination.subst', 'is no field', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b, subst: v1}}]}]'),
    (E, 'spec.http[0].route[0].destination.port.number', '0: input should be greater than or equal to 1', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b, port: {number: 0}}}]}]'),
    (E, 'spec.http[0].match[0].uri', 'has more than one of exact, prefix and regex', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{uri: {exact: a, prefix: b}}]}]'),
    (E, 'spec.http[0].match[0].headers[x].regex', "'a(?=b)' is no regular expression of RE2: '(?=' is not supported", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{headers: {x: {regex: 'a(?=b)'}}}]}]"),
    (E, 'spec.http[0].match[0].headers[x].regex', 'is empty', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{headers: {x: {regex: ''}}}]}]"),
    (E, 'spec.http[0].match[0].headers[x].prefix', 'is empty', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{headers: {x: {prefix: ''}}}]}]"),
    (E, 'spec.http[0].match[0].headers[x y]', 'is no name of a header', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{headers: {'x y': {exact: a}}}]}]"),
    (E, 'spec.http[0].match[0].headers[:path]', 'is no name of a header', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{headers: {':path': {exact: a}}}]}]"),
    (E, 'spec.http[0].match[0].queryParams', 'has no name', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{queryParams: {'': {exact: a}}}]}]"),
    (E, 'spec.http[0].match[0].sourceNamespace', "'A_b' is no namespace", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{sourceNamespace: A_b}]}]'),
    (E, 'spec.http[0].match[0].sourceLabels.a b', 'is no key of a label', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{sourceLabels: {'a b': c}}]}]"),
    (E, 'spec.http[0].match[0].gateways[0]', "'a b' is no name of a Gateway", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{gateways: ['a b']}]}]"),
    (E, 'spec.http[0].match[0].port', '70000: input should be less than or equal to 65535', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{port: 70000}]}]'),
    (E, 'spec.http[0].timeout', "'5x': a duration like 10s, 1.5s, 100ms or 1h30m is wanted", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], timeout: 5x}]'),
    (E, 'spec.http[0].timeout', '5: a duration like 10s, 1.5s, 100ms or 1h30m is wanted', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], timeout: 5}]'),
    (W, 'spec.http[0].timeout', 'is 0s, which Istio refuses; here it means none', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], timeout: 0s}]'),
    (E, 'spec.http[0].timeout', 'is shorter than 1ms', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], timeout: 100us}]'),
    (E, 'spec.http[0].timeout', 'has parts of a millisecond', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], timeout: 1.5ms}]'),
    (W, 'spec.http[0].retries.perTryTimeout', "is longer than the route's timeout", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], timeout: 1s, retries: {attempts: 1, perTryTimeout: 2s}}]'),
    (E, 'spec.http[0].retries.attempts', '-1: input should be greater than or equal to 0', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], retries: {attempts: -1}}]'),
    (E, 'spec.http[0].retries.attempts', 'is 0, and the rest says how to retry', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], retries: {perTryTimeout: 2s}}]'),
    (E, 'spec.http[0].retries.retryOn', "'never' is no condition to retry on", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], retries: {attempts: 1, retryOn: 'never'}}]"),
    (E, 'spec.http[0].retries.retryOn', "' 503' is no condition to retry on", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], retries: {attempts: 1, retryOn: '5xx, 503'}}]"),
    (E, 'spec.http[0].fault', 'is empty', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {}}]'),
    (E, 'spec.http[0].fault.abort.httpStatus', 'is 99', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {abort: {httpStatus: 99}}}]'),
    (W, 'spec.http[0].fault.abort.httpStatus', 'is missing, so nothing is aborted', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {abort: {percentage: {value: 5}}}}]'),
    (E, 'spec.http[0].fault.abort.grpcStatus', "'NOPE' is no status of gRPC", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {abort: {grpcStatus: NOPE}}}]'),
    (E, 'spec.http[0].fault.abort', 'has httpStatus and grpcStatus', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {abort: {httpStatus: 500, grpcStatus: UNKNOWN}}}]'),
    (E, 'spec.http[0].fault.delay.percentage.value', '101: input should be less than or equal to 100', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {delay: {percentage: {value: 101}, fixedDelay: 1s}}}]'),
    (E, 'spec.http[0].fault.delay.percentage.value', 'is 1e-05, below what can be counted', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {delay: {percentage: {value: 0.00001}, fixedDelay: 1s}}}]'),
    (W, 'spec.http[0].fault.delay.fixedDelay', 'is missing, so nothing is delayed', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], fault: {delay: {percentage: {value: 5}}}}]'),
    (E, 'spec.http[0].redirect.redirectCode', 'is 200', 'hosts: [a.com]\nhttp: [{redirect: {uri: /, redirectCode: 200}}]'),
    (E, 'spec.http[0].redirect', 'has both uri and prefixRewrite', 'hosts: [a.com]\nhttp: [{redirect: {uri: /a, prefixRewrite: /b}}]'),
    (E, 'spec.http[0].match[0].uri', 'is no prefix, and redirect.prefixRewrite is given', 'hosts: [a.com]\nhttp: [{match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /b}}]'),
    (E, 'spec.http[0].redirect', 'leads nowhere', 'hosts: [a.com]\nhttp: [{redirect: {}}]'),
    (E, 'spec.http[0].redirect.scheme', "'ftp' is no scheme", 'hosts: [a.com]\nhttp: [{redirect: {scheme: ftp}}]'),
    (E, 'spec.http[0].fault', 'is given together with redirect', 'hosts: [a.com]\nhttp: [{redirect: {uri: /}, fault: {abort: {httpStatus: 500}}}]'),
    (E, 'spec.http[0].directResponse.status', 'is 100', 'hosts: [a.com]\nhttp: [{directResponse: {status: 100}}]'),
    (E, 'spec.http[0].directResponse.body.bytes', "'a*b': bytes in base64 are wanted", "hosts: [a.com]\nhttp: [{directResponse: {status: 200, body: {bytes: 'a*b'}}}]"),
    (E, 'spec.http[0].rewrite', 'is given together with directResponse', 'hosts: [a.com]\nhttp: [{directResponse: {status: 200}, rewrite: {uri: /}}]'),
    (E, 'spec.http[0].rewrite', 'is empty', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], rewrite: {}}]'),
    (E, 'spec.http[0].rewrite', 'has both uri and uriRegexRewrite', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], rewrite: {uri: /, uriRegexRewrite: {match: a, rewrite: b}}}]'),
    (E, 'spec.http[0].rewrite.uriRegexRewrite.match', "'[' is no regular expression of RE2: unterminated character set at position 0", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], rewrite: {uriRegexRewrite: {match: '[', rewrite: b}}}]"),
    (E, 'spec.http[0].rewrite.uriRegexRewrite.rewrite', 'is empty', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], rewrite: {uriRegexRewrite: {match: a, rewrite: ''}}}]"),
    (E, 'spec.http[0].headers.request.set[Host]', 'changes the authority, as spec.http[0].rewrite.authority does', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], rewrite: {authority: x}, headers: {request: {set: {Host: y}}}}]'),
    (E, 'spec.http[0].mirrors', 'is given together with mirror', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], mirror: {host: b}, mirrors: [{destination: {host: c}}]}]'),
    (W, 'spec.http[0].mirrorPercent', 'is deprecated', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], mirror: {host: b}, mirrorPercent: 5}]'),
    (E, 'spec.http[0].mirrors[0].destination.host', 'is empty', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], mirrors: [{destination: {host: ''}}]}]"),
    (E, 'spec.http[0].corsPolicy.allowMethods[0]', "'get' is no method", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], corsPolicy: {allowMethods: [get]}}]'),
    (E, 'spec.http[0].corsPolicy.allowOrigins[0]', 'is empty', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], corsPolicy: {allowOrigins: [{exact: ''}]}}]"),
    (E, 'spec.http[0].corsPolicy.allowHeaders[0]', "'a b' is no name of a header", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], corsPolicy: {allowHeaders: ['a b']}}]"),
    (E, 'spec.http[0].corsPolicy.maxAge', 'has parts of a second', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], corsPolicy: {maxAge: 1.5s}}]'),
    (E, 'spec.http[0].corsPolicy.unmatchedPreflights', "'MAYBE' is unknown", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], corsPolicy: {unmatchedPreflights: MAYBE}}]'),
    (E, 'spec.tcp[0].route', 'is empty', 'hosts: [a.com]\ntcp: [{match: [{port: 1}]}]'),
    (E, 'spec.tcp[0].match[0].destinationSubnets[0]', "'x' is neither an IP address nor a CIDR", 'hosts: [a.com]\ntcp: [{match: [{destinationSubnets: [x]}], route: [{destination: {host: b}}]}]'),
    (E, 'spec.tls[0].match[0].sniHosts[0]', "'b.com' is none of the hosts", 'hosts: [a.com]\ntls: [{match: [{sniHosts: [b.com]}], route: [{destination: {host: b}}]}]'),
    (E, 'spec.tls[0].match[0].sniHosts', 'is empty', 'hosts: [a.com]\ntls: [{match: [{sniHosts: []}], route: [{destination: {host: b}}]}]'),
    (E, 'spec.tls[0].match[0].sniHosts[0]', "'a b' is no host", "hosts: [a.com]\ntls: [{match: [{sniHosts: ['a b']}], route: [{destination: {host: b}}]}]"),
    (W, 'spec.tls[0].match[0].sniHosts[0]', "'10.0.0.1' is an address, which clients do not send as a server name", 'hosts: [a.com]\ntls: [{match: [{sniHosts: [10.0.0.1]}], route: [{destination: {host: b}}]}]'),
    (E, 'spec.tls[0].match', 'is empty', 'hosts: [a.com]\ntls: [{match: [], route: [{destination: {host: b}}]}]'),
    (E, 'spec.http[0].headers.request.set[:path]', "':path' cannot be changed", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], headers: {request: {set: {':path': /x}}}}]"),
    (E, 'spec.http[0].headers.request.remove[0]', "'host' cannot be changed", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], headers: {request: {remove: [host]}}}]'),
    (E, 'spec.http[0].headers.response.set[host]', "'host' cannot be changed", 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], headers: {response: {set: {host: x}}}}]'),
    (E, 'spec.http[0].route[0].headers.request.add[x]', "is no format string: '%' at character 4 begins no command", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}, headers: {request: {add: {x: '100%'}}}}]}]"),
    (E, 'spec.http[0].headers.response.add[x]', 'has more than one line', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], headers: {response: {add: {x: "a\\nb"}}}}]'),
    (E, 'spec.http[0].rewrite.authority', 'has more than one line', 'hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], rewrite: {authority: "a\\nb"}}]'),
    (E, 'spec.http[0].match[0].headers[@request.auth.claims.sub]', 'tests a claim, which only gateways know', "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}}], match: [{headers: {'@request.auth.claims.sub': {exact: a}}}]}]"),
    (E, 'spec.exportTo[0]', "'~' is for services alone", "hosts: [a.com]\nexportTo: ['~']\nhttp: [{route: [{destination: {host: b}}]}]"),
    (E, 'spec.exportTo[0]', "'*' stands beside others", "hosts: [a.com]\nexportTo: ['*', a]\nhttp: [{route: [{destination: {host: b}}]}]"),
    (E, 'spec.exportTo[1]', "'a' is listed twice", 'hosts: [a.com]\nexportTo: [a, a]\nhttp: [{route: [{destination: {host: b}}]}]'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("VirtualService", row)


@pytest.mark.parametrize(
    ("size", "severity", "message"),
    [(200_000, W, "has 200000 bytes, which every proxy gets"), (1_100_000, E, "has 1100000 bytes, more than 1048576")],
)
def test_large_bodies(size: int, severity: Severity, message: str) -> None:
    spec = f"hosts: [a.com]\nhttp: [{{directResponse: {{status: 200, body: {{string: {'a' * size}}}}}}}]"
    check("VirtualService", (severity, "spec.http[0].directResponse.body", message, spec))


def test_long_regular_expressions() -> None:
    match = f"match: [{{method: {{regex: '{'a' * 1025}'}}}}]"
    spec = f"hosts: [a.com]\nhttp: [{{route: [{{destination: {{host: b}}}}], {match}}}]"
    path, message = "spec.http[0].match[0].method.regex", "has 1025 characters, more than 1024"
    check("VirtualService", (E, path, message, spec))
