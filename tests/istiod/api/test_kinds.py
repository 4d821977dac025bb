# ruff: noqa: E501
"""Specs that Istio takes, at the edges of its rules. Wrong ones are in `wrong/`, one file a kind."""

from __future__ import annotations

import pytest
import yaml

from istiod.api.kinds import KINDS
from istiod.api.meta import Object
from istiod.api.parse import parse_documents

SE = "hosts: [a.com]\nports: [{number: 80, name: http}]\n"
VS = "hosts: [a.com]\n"
DR = "host: a.com\n"
GW = "servers: [{port: {number: 443, name: p, protocol: %s}, hosts: [%s]%s}]"


def http(text: str) -> str:
    return f"{VS}http: [{{{text}}}]"


def route(text: str) -> str:
    return http(f"route: [{{destination: {{host: b}}}}], {text}")


def text_of(kind: str, spec: str) -> str:
    group = next(iter(KINDS[kind].groups))
    document = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind, "metadata": {"name": "x", "namespace": "ns"}}
    return yaml.safe_dump({**document, "spec": yaml.safe_load(spec)})


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("VirtualService", "hosts: ['*']\ngateways: [gw]\nhttp: [{route: [{destination: {host: b}}]}]"),
        ("VirtualService", route("match: [{uri: {regex: '/a/[0-9]{1,3}(?i)x\\z'}, headers: {x: {}, y: null}}]")),
        ("VirtualService", route("timeout: 1h30m, retries: null")),
        ("VirtualService", route("headers: {request: {set: {Host: x, x-a: '%REQ(:path)% 100%%'}}}")),
        ("VirtualService", "hosts: [a.com]\nhttp: [{route: [{destination: {host: b}, weight: 0}, {destination: {host: c}, weight: 1}]}]"),
        ("VirtualService", "hosts: ['*.a.com', b.com, 10.0.0.1]\nhttp: [{route: [{destination: {host: b}}]}]"),
        ("VirtualService", "hosts: ['outbound_.80_._.b.a.com']\ngateways: [a/g]\ntls: [{match: [{sniHosts: ['outbound_.80_._.b.a.com']}], route: [{destination: {host: b}}]}]"),
        ("VirtualService", route("match: [{withoutHeaders: {x: {regex: '*'}}, uri: {prefix: ''}}]")),
        ("VirtualService", route("retries: {attempts: 0}, mirror: {host: b, subset: v1}, mirrorPercentage: {value: 0.0001}")),
        ("VirtualService", route("retries: {attempts: 2, retryOn: 'gateway-error,503,cancelled', perTryTimeout: 1ms}")),
        ("VirtualService", "http: [{match: [{uri: {regex: '/a.*'}}], route: [{destination: {host: b}}]}]"),
        ("VirtualService", "hosts: [a.com]\nexportTo: ['.', b]\nhttp: [{redirect: {uri: /, derivePort: FROM_REQUEST_PORT}}]"),
        ("DestinationRule", DR + "exportTo: ['*']\ntrafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: 'a/*', to: {a/b: 99, '*': 1}}, {from: '*', to: {a: 100}}]}}}"),
        ("DestinationRule", DR + "trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}, tunnel: {targetHost: 10.0.0.1, targetPort: 1}}"),
        ("DestinationRule", "host: '*.a.com'\nworkloadSelector: {matchLabels: {a: b}}\nexportTo: ['.']"),
        ("Gateway", GW % ("HTTP", "'*', './a.com', 'ns/*.b.com', 10.0.0.1", ", tls: {httpsRedirect: true}")),
        ("Gateway", GW % ("TLS", "'*.global'", ", tls: {mode: AUTO_PASSTHROUGH}")),
        ("Gateway", GW % ("HTTPS", "a.com", ", tls: {mode: ISTIO_MUTUAL}")),
        ("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP, name: h}, bind: 0.0.0.0, defaultEndpoint: 'unix:///a'}]"),
        ("Sidecar", "egress: [{port: {number: 0, protocol: HTTP}, bind: 'unix://@abstract', captureMode: NONE, hosts: ['ns/a.com']}]"),
        ("ServiceEntry", "hosts: ['*.a.com', b.com]\nresolution: NONE\naddresses: [10.0.0.0/8]\nports: [{number: 1, name: x, protocol: TCP}]\nexportTo: ['~']"),
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
