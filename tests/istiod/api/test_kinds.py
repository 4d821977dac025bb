# ruff: noqa: E501
"""Wrong specs of each kind, and what is said of them: one row a rule."""

from __future__ import annotations

import pytest
import yaml

from federation.model.findings import Severity
from istiod.api.kinds import KINDS
from istiod.api.meta import Invalid, Object
from istiod.api.parse import parse_documents

E, W = Severity.ERROR, Severity.WARNING

SE = "hosts: [a.com]\nports: [{number: 80, name: http}]\n"
VS = "hosts: [a.com]\n"
DR = "host: a.com\n"
GW = "servers: [{port: {number: 443, name: p, protocol: %s}, hosts: [%s]%s}]"


def http(text: str) -> str:
    return f"{VS}http: [{{{text}}}]"


def route(text: str) -> str:
    return http(f"route: [{{destination: {{host: b}}}}], {text}")


ROWS = [
    ("ServiceEntry", "hosts: []\nports: [{number: 80, name: http}]", E, "spec.hosts", "is empty"),
    ("ServiceEntry", "ports: []", E, "spec.hosts", "is missing"),
    ("ServiceEntry", "hosts: ['*']\nports: [{number: 80, name: http}]", E, "spec.hosts[0]", "'*' is no host"),
    ("ServiceEntry", "hosts: ['*.a.com']\nresolution: DNS\nports: [{number: 80, name: h}]", E, "spec.hosts[0]", "'*.a.com' cannot be looked up in DNS"),
    ("ServiceEntry", "hosts: [a.com]", W, "spec.ports", "is empty"),
    ("ServiceEntry", "hosts: [a.com]\nports: [{number: 80, name: a}, {number: 80, name: b}]", E, "spec.ports[1].number", "80 is also the port number at spec.ports[0].number"),
    ("ServiceEntry", "hosts: [a.com]\nports: [{number: 80, name: a}, {number: 81, name: a}]", E, "spec.ports[1].name", "'a' is also the port name at spec.ports[0].name"),
    ("ServiceEntry", "hosts: [a.com]\nports: [{number: 70000, name: a}]", E, "spec.ports[0].number", "70000: input should be less than or equal to 65535"),
    ("ServiceEntry", SE + "addresses: [10.0.0.300]", E, "spec.addresses[0]", "'10.0.0.300' is neither an IP address nor a CIDR"),
    ("ServiceEntry", SE + "addresses: [10.0.0.0/8]\nresolution: DNS", E, "spec.addresses[0]", "'10.0.0.0/8' is a CIDR, with resolution DNS"),
    ("ServiceEntry", SE + "resolution: STATC", E, "spec.resolution", "'STATC' is none of NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS"),
    ("ServiceEntry", SE + "resolution: STATIC", W, "spec.endpoints", "is empty with resolution STATIC"),
    ("ServiceEntry", SE + "endpoints: [{address: 1.1.1.1}]", E, "spec.endpoints", "are given with resolution NONE"),
    ("ServiceEntry", SE + "resolution: STATIC\nendpoints: [{address: b.com}]", E, "spec.endpoints[0].address", "'b.com' is no IP address"),
    ("ServiceEntry", SE + "resolution: STATIC\nendpoints: [{}]", E, "spec.endpoints[0].address", "is empty"),
    ("ServiceEntry", SE + "resolution: STATIC\nendpoints: [{address: 1.1.1.1, weight: -1}]", E, "spec.endpoints[0].weight", "-1: input should be greater than or equal to 0"),
    ("ServiceEntry", SE + "resolution: STATIC\nendpoints: [{address: 1.1.1.1, ports: {grpc: 1}}]", E, "spec.endpoints[0].ports", "'grpc' is no port of the entry"),
    ("ServiceEntry", SE + "resolution: STATIC\nendpoints: [{address: 'unix:///a', ports: {http: 1}}]", E, "spec.endpoints[0].ports", "are given with a unix:// address"),
    ("ServiceEntry", SE + "resolution: STATIC\nendpoints: [{address: 1.1.1.1}]\nworkloadSelector: {labels: {a: b}}", E, "spec.endpoints", "are given together with workloadSelector"),
    ("ServiceEntry", SE + "resolution: DNS_ROUND_ROBIN\nendpoints: [{address: a.b}, {address: a.c}]", E, "spec.endpoints", "are several with resolution DNS_ROUND_ROBIN"),
    ("ServiceEntry", SE + "exportTo: [A/b]", E, "spec.exportTo[0]", "'A/b' is no namespace"),
    ("ServiceEntry", SE + "resolutoin: DNS", E, "spec.resolutoin", "is no field"),
    ("WorkloadEntry", "{}", E, "spec.address", "is empty"),
    ("VirtualService", VS, E, "spec", "has no http, tls or tcp route"),
    ("VirtualService", http(""), E, "spec.http[0]", "has none of route, redirect, directResponse and delegate"),
    ("VirtualService", route("redirect: {uri: /}"), E, "spec.http[0]", "has route and redirect"),
    ("VirtualService", "hosts: ['*']\n" + route("").removeprefix(VS), E, "spec.hosts[0]", "'*' would take all traffic of sidecars"),
    ("VirtualService", "hosts: [a, a]\n" + route("").removeprefix(VS), E, "spec.hosts[1]", "'a' is listed twice"),
    ("VirtualService", "http: [{delegate: {name: x}}]", E, "spec.http[0].delegate", "stands in a VirtualService without hosts"),
    ("VirtualService", http("route: [{destination: {host: b}, weight: 0}, {destination: {host: c}}]"), E, "spec.http[0].route", "has only weights of 0"),
    ("VirtualService", http("route: [{destination: {host: b}, weight: -5}]"), E, "spec.http[0].route[0].weight", "-5: input should be greater than or equal to 0"),
    ("VirtualService", http("route: [{destination: {}}]"), E, "spec.http[0].route[0].destination.host", "is missing"),
    ("VirtualService", http("route: [{destination: {host: b, subst: v1}}]"), E, "spec.http[0].route[0].destination.subst", "is no field"),
    ("VirtualService", route("match: [{uri: {exact: a, prefix: b}}]"), E, "spec.http[0].match[0].uri", "has more than one of exact, prefix and regex"),
    ("VirtualService", route("match: [{headers: {x: {regex: 'a(?=b)'}}}]"), E, "spec.http[0].match[0].headers[x].regex", "'a(?=b)' is no regular expression of RE2: '(?=' is not supported"),
    ("VirtualService", route("timeout: 5x"), E, "spec.http[0].timeout", "'5x': a duration like 10s, 1.5s, 100ms or 1h30m is wanted"),
    ("VirtualService", route("timeout: 5"), E, "spec.http[0].timeout", "5: a duration like 10s, 1.5s, 100ms or 1h30m is wanted"),
    ("VirtualService", route("timeout: 1s, retries: {attempts: 1, perTryTimeout: 2s}"), W, "spec.http[0].retries.perTryTimeout", "is longer than the route's timeout"),
    ("VirtualService", route("retries: {attempts: -1}"), E, "spec.http[0].retries.attempts", "-1: input should be greater than or equal to 0"),
    ("VirtualService", route("fault: {abort: {httpStatus: 99}}"), E, "spec.http[0].fault.abort.httpStatus", "is 99"),
    ("VirtualService", route("fault: {abort: {percentage: {value: 5}}}"), E, "spec.http[0].fault.abort.httpStatus", "is missing"),
    ("VirtualService", route("fault: {delay: {percentage: {value: 101}, fixedDelay: 1s}}"), E, "spec.http[0].fault.delay.percentage.value", "101: input should be less than or equal to 100"),
    ("VirtualService", route("fault: {delay: {percentage: {value: 5}}}"), E, "spec.http[0].fault.delay.fixedDelay", "is missing"),
    ("VirtualService", http("redirect: {redirectCode: 200}"), E, "spec.http[0].redirect.redirectCode", "is 200"),
    ("VirtualService", http("directResponse: {status: 100}"), E, "spec.http[0].directResponse.status", "is 100"),
    ("VirtualService", VS + "tcp: [{match: [{port: 1}]}]", E, "spec.tcp[0].route", "is empty"),
    ("VirtualService", VS + "tcp: [{match: [{destinationSubnets: [x]}], route: [{destination: {host: b}}]}]", E, "spec.tcp[0].match[0].destinationSubnets[0]", "'x' is neither an IP address nor a CIDR"),
    ("VirtualService", VS + "tls: [{match: [{sniHosts: [b.com]}], route: [{destination: {host: b}}]}]", W, "spec.tls[0].match[0].sniHosts[0]", "'b.com' is none of the hosts"),
    ("VirtualService", VS + "tls: [{match: [{sniHosts: []}], route: [{destination: {host: b}}]}]", E, "spec.tls[0].match[0].sniHosts", "is empty"),
    ("VirtualService", route("headers: {request: {set: {':path': /x}}}"), E, "spec.http[0].headers.request.set[:path]", "':path' cannot be changed"),
    ("VirtualService", route("headers: {request: {remove: [host]}}"), E, "spec.http[0].headers.request.remove[0]", "'host' cannot be changed"),
    ("VirtualService", route("headers: {response: {set: {host: x}}}"), E, "spec.http[0].headers.response.set[host]", "'host' cannot be changed"),
    ("VirtualService", http("route: [{destination: {host: b}, headers: {request: {add: {x: '100%'}}}}]"), E, "spec.http[0].route[0].headers.request.add[x]", "is no format string: '%' at character 4 begins no command"),
    ("VirtualService", route("headers: {response: {add: {x: \"a\\nb\"}}}"), E, "spec.http[0].headers.response.add[x]", "has more than one line"),
    ("VirtualService", route("rewrite: {authority: \"a\\nb\"}"), E, "spec.http[0].rewrite.authority", "has more than one line"),
    ("VirtualService", route("match: [{queryParams: {'': {exact: a}}}]"), E, "spec.http[0].match[0].queryParams", "has no name"),
    ("DestinationRule", "host: ''", E, "spec.host", "is empty"),
    ("DestinationRule", DR + "subsets: [{labels: {a: b}}]", E, "spec.subsets[0].name", "is missing"),
    ("DestinationRule", DR + "subsets: [{name: 'a|b'}]", E, "spec.subsets[0].name", "'a|b' is no name"),
    ("DestinationRule", DR + "subsets: [{name: v1}, {name: v1}]", E, "spec.subsets[1].name", "'v1' is also the subset name at spec.subsets[0].name"),
    ("DestinationRule", DR + "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, consistentHash: {useSourceIp: true}}}", E, "spec.trafficPolicy.loadBalancer", "has both simple and consistentHash"),
    ("DestinationRule", DR + "trafficPolicy: {loadBalancer: {consistentHash: {}}}", E, "spec.trafficPolicy.loadBalancer.consistentHash", "needs exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName"),
    ("DestinationRule", DR + "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 1000}}}}", E, "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize", "1000 is no prime number up to 5000011"),
    ("DestinationRule", DR + "trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 60}}]}}}", E, "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to", "adds up to 60"),
    ("DestinationRule", DR + "trafficPolicy: {outlierDetection: {interval: 0s}}", E, "spec.trafficPolicy.outlierDetection.interval", "is 0s"),
    ("DestinationRule", DR + "trafficPolicy: {outlierDetection: {consecutiveErrors: 1}}", W, "spec.trafficPolicy.outlierDetection.consecutiveErrors", "is deprecated and has no effect"),
    ("DestinationRule", DR + "trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}", E, "spec.trafficPolicy.outlierDetection.maxEjectionPercent", "101: input should be less than or equal to 100"),
    ("DestinationRule", DR + "trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}", E, "spec.trafficPolicy.connectionPool.tcp.maxConnections", "-1: input should be greater than or equal to 0"),
    ("DestinationRule", DR + "trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}", E, "spec.trafficPolicy.connectionPool.tcp.connectTimeout", "is 0s"),
    ("DestinationRule", DR + "trafficPolicy: {tls: {mode: MUTUAL}}", E, "spec.trafficPolicy.tls", "is MUTUAL without clientCertificate and privateKey, or credentialName"),
    ("DestinationRule", DR + "trafficPolicy: {tls: {mode: ISTIO_MUTUAL, caCertificates: x}}", E, "spec.trafficPolicy.tls", "is ISTIO_MUTUAL, which uses the mesh's certificates, and names others"),
    ("DestinationRule", DR + "trafficPolicy: {portLevelSettings: [{}]}", E, "spec.trafficPolicy.portLevelSettings[0].port", "is missing"),
    ("DestinationRule", DR + "trafficPolicy: {portLevelSettings: [{port: {number: 1}}, {port: {number: 1}}]}", E, "spec.trafficPolicy.portLevelSettings[1].port.number", "1 is also the port number at spec.trafficPolicy.portLevelSettings[0].port.number"),
    ("DestinationRule", DR + "trafficPolicy: {loadBalancer: {localityLbSetting: {failoverPriority: [a]}}}", W, "spec.trafficPolicy.outlierDetection", "is missing, so locality failover has no signal of its own"),
    ("DestinationRule", DR + "trafficPolicy: {tunnel: {protocol: GET, targetHost: a, targetPort: 1}}", E, "spec.trafficPolicy.tunnel.protocol", "'GET' is unknown"),
    ("Sidecar", "outboundTrafficPolicy: {egressProxy: {host: a, port: {number: 1}}}", E, "spec.outboundTrafficPolicy.egressProxy", "is given in mode REGISTRY_ONLY"),
    ("Sidecar", "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a}}", E, "spec.outboundTrafficPolicy.egressProxy.port", "is missing"),
    ("Gateway", GW % ("HTTPS", "a", ", tls: {mode: SIMPLE, credentialName: a, verifyCertificateHash: [ab]}"), E, "spec.servers[0].tls.verifyCertificateHash[0]", "'ab' is no SHA-256"),
    ("Gateway", "servers: []", E, "spec.servers", "is empty"),
    ("Gateway", GW % ("HTTPX", "a", ""), E, "spec.servers[0].port.protocol", "'HTTPX' is unknown"),
    ("Gateway", GW % ("HTTP", "", ""), E, "spec.servers[0].hosts", "is empty"),
    ("Gateway", GW % ("HTTP", "a*b", ""), E, "spec.servers[0].hosts[0]", "'a*b' is no host"),
    ("Gateway", GW % ("HTTPS", "a", ""), E, "spec.servers[0].tls", "is missing on a port of protocol HTTPS"),
    ("Gateway", GW % ("HTTPS", "a", ", tls: {mode: SIMPLE}"), E, "spec.servers[0].tls", "is SIMPLE without a certificate"),
    ("Gateway", GW % ("HTTPS", "a", ", tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLS1}"), E, "spec.servers[0].tls.minProtocolVersion", "'TLS1' is none of TLS_AUTO, TLSV1_0, TLSV1_1, TLSV1_2, TLSV1_3"),
    ("Gateway", GW % ("HTTPS", "a", ", tls: {mode: SIMPLE, credentialName: a, cipherSuites: [NOPE]}"), W, "spec.servers[0].tls.cipherSuites[0]", "'NOPE' is unknown and left out"),
    ("Gateway", "servers: [{port: {number: 1, name: a, protocol: TCP}, hosts: [a]}, {port: {number: 2, name: a, protocol: TCP}, hosts: [a]}]", E, "spec.servers[1].port.name", "'a' is also the port name at spec.servers[0].port.name"),
    ("Sidecar", "egress: [{hosts: [a]}]", E, "spec.egress[0].hosts[0]", "'a' has not the form namespace/host"),
    ("Sidecar", "egress: [{hosts: []}]", E, "spec.egress[0].hosts", "is empty"),
    ("Sidecar", "egress: [{hosts: ['*/*']}, {hosts: ['*/*']}]", E, "spec.egress[0]", "has no port but is not the last"),
    ("Sidecar", "egress: [{port: {number: 1}, hosts: ['*/*']}, {port: {number: 1}, hosts: ['*/*']}]", E, "spec.egress[1].port.number", "1 is also the port number at spec.egress[0].port.number"),
    ("Sidecar", "ingress: [{port: {number: 80}, defaultEndpoint: '10.0.0.1:80'}]", E, "spec.ingress[0].defaultEndpoint", "'10.0.0.1:80' is no endpoint of the workload"),
    ("Sidecar", "ingress: [{port: {}}]", E, "spec.ingress[0].port.number", "is missing"),
    ("PeerAuthentication", "mtls: {mode: STRIKT}", E, "spec.mtls.mode", "'STRIKT' is none of UNSET, DISABLE, PERMISSIVE, STRICT"),
    ("PeerAuthentication", "portLevelMtls: {80: {mode: STRICT}}", E, "spec.portLevelMtls", "is given without a selector"),
    ("PeerAuthentication", "selector: {matchLabels: {a: b}}\nportLevelMtls: {0: {mode: STRICT}}", E, "spec.portLevelMtls[0]", "is no port"),
    ("PeerAuthentication", "selector: {labels: {a: b}}", E, "spec.selector.labels", "is no field"),
    ("Service", "ports: [{port: 0}]", E, "spec.ports[0].port", "0: input should be greater than or equal to 1"),
]  # fmt: skip


def text_of(kind: str, spec: str) -> str:
    group = next(iter(KINDS[kind].groups))
    document = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind, "metadata": {"name": "x", "namespace": "ns"}}
    return yaml.safe_dump({**document, "spec": yaml.safe_load(spec)})


@pytest.mark.parametrize(("kind", "spec", "severity", "path", "message"), ROWS)
def test_wrong(kind: str, spec: str, severity: Severity, path: str, message: str) -> None:
    parsed = parse_documents(text_of(kind, spec), "f.yaml")
    assert [(one.severity, one.object, one.path, one.message) for one in parsed.findings] == [
        (severity, f"{kind} ns/x", path, message)
    ]
    assert parsed.findings[0].fix
    if severity is W:
        assert isinstance(parsed.objects[0], Object)
    elif kind == "PeerAuthentication":
        assert isinstance(parsed.objects[0], Invalid)
    else:
        assert parsed.objects == ()


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("VirtualService", "hosts: ['*']\ngateways: [gw]\nhttp: [{route: [{destination: {host: b}}]}]"),
        ("VirtualService", route("match: [{uri: {regex: '/a/[0-9]{1,3}(?i)x\\z'}, headers: {x: {}, y: null}}]")),
        ("VirtualService", route("timeout: 1h30m, retries: null")),
        ("VirtualService", route("headers: {request: {set: {Host: x, x-a: '%REQ(:path)% 100%%'}}}")),
        ("VirtualService", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}, weight: 0}, {destination: {host: c}, weight: 1}]}]"),
        ("DestinationRule", DR + "traffic_policy: {load_balancer: {simple: LEAST_REQUEST}}"),
        ("DestinationRule", DR + "workloadSelector: {matchLabels: {a: b}}\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}"),
        ("Sidecar", "egress: [{port: {number: 1}, hosts: ['./*']}, {hosts: ['~/*']}]"),
        ("Service", "ports: [{port: 53, name: dns, protocol: UDP}, {port: 53, name: dns-tcp}]"),
        ("ServiceEntry", SE + "resolution: STATIC\nendpoints: [{network: n2, weight: 3}, {address: '::1'}]"),
        ("PeerAuthentication", "selector: {matchLabels: {a: b}}\nportLevelMtls: {80: {mode: DISABLE}}"),
    ],
)  # fmt: skip
def test_right(kind: str, spec: str) -> None:
    parsed = parse_documents(text_of(kind, spec), "f.yaml")
    assert parsed.findings == ()
    assert isinstance(parsed.objects[0], Object)
