# ruff: noqa: E501
"""VirtualServices and DestinationRules: for each code something that has it, and something near that has not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.istiod.analyze.conftest import Found, obj, pod, slices

Said = Callable[..., Found]


def vs(spec: str, name: str = "v", namespace: str = "a", **meta: object) -> str:
    return obj("VirtualService", name, spec, namespace, **meta)


def to(destination: str, more: str = "", head: str = "hosts: [s]") -> str:
    return vs(f"{{{head}, http: [{{route: [{{destination: {{{destination}}}}}]{more}}}]}}")


def dr(spec: str, name: str = "d", namespace: str = "a") -> str:
    return obj("DestinationRule", name, f"{{{spec}}}", namespace)


def gw(servers: str, name: str = "g", selector: str = "{app: s}", namespace: str = "a") -> str:
    return obj("Gateway", name, f"{{selector: {selector}, servers: {servers}}}", namespace)


HTTP_SERVER = "[{port: {number: 80, name: h, protocol: HTTP}, hosts: ['%s']}]"
PASSED = "[{port: {number: 443, name: t, protocol: TLS}, hosts: ['x.com'], tls: {mode: PASSTHROUGH}}]"
AT_G = "hosts: [x.com], gateways: [g]"
SUBSETS = dr("host: s, subsets: [{name: v1, labels: {version: v1}}]")
D = "spec.http[0].route[0].destination"
PRIVATE = obj(
    "Service",
    "p",
    "{clusterIP: 10.1.0.9, ports: [{name: http, port: 80}]}",
    "b",
    annotations={"networking.istio.io/exportTo": "."},
)
WILD = obj(
    "ServiceEntry",
    "w",
    "{hosts: ['*.w.com'], resolution: NONE, addresses: [240.0.0.1], ports: [{number: 80, name: http, protocol: HTTP}]}",
)
TCP_ONLY = obj("Service", "q", "{clusterIP: 10.1.0.8, ports: [{name: tcp-q, port: 80}]}")
PEER_STRICT = obj("PeerAuthentication", "p", "{mtls: {mode: STRICT}}")
PEER_DISABLE = obj("PeerAuthentication", "p", "{mtls: {mode: DISABLE}}")

ROWS = [
    ("HostNotFound", f"{D}.host", [to("host: nope")], [to("host: s")]),
    ("HostNotFound", f"{D}.host", [to("host: w.com")], [to("host: x.w.com"), WILD]),
    ("HostNotFound", "spec.http[0].mirror.host", [to("host: s", ", mirror: {host: nope}")], [to("host: s", ", mirror: {host: t.b.svc.cluster.local}")]),
    ("HostNotFound", "spec.http[0].mirrors[0].destination.host", [to("host: s", ", mirrors: [{destination: {host: nope}}]")], []),
    ("HostNotFound", "spec.tcp[0].route[0].destination.host", [vs("{hosts: [s], tcp: [{route: [{destination: {host: nope}}]}]}")], []),
    ("HostNotFound", "spec.tls[0].route[0].destination.host", [vs("{hosts: [s.com], tls: [{match: [{sniHosts: [s.com]}], route: [{destination: {host: nope}}]}]}")], []),
    ("HostNotVisible", f"{D}.host", [to("host: p.b.svc.cluster.local"), PRIVATE], [to("host: t.b.svc.cluster.local"), PRIVATE]),
    ("SubsetNotFound", f"{D}.subset", [to("host: s, subset: v2"), SUBSETS], [to("host: s, subset: v1"), SUBSETS]),
    ("SubsetNotFound", f"{D}.subset", [to("host: s, subset: v1"), dr("host: s.a.svc.cluster.local, exportTo: [.], subsets: [{name: v1, labels: {version: v1}}]", namespace="b")], []),
    ("PortNotFound", f"{D}.port.number", [to("host: s, port: {number: 81}")], [to("host: s, port: {number: 80}")]),
    ("PortRequired", D, [to("host: t.b.svc.cluster.local", head=AT_G), gw(HTTP_SERVER % "x.com")], [to("host: t.b.svc.cluster.local")]),
    ("GatewayNotFound", "spec.gateways[0]", [to("host: s", head=AT_G)], [to("host: s", head=AT_G), gw(HTTP_SERVER % "x.com")]),
    ("GatewayNotFound", "spec.gateways[0]", [to("host: s", head="hosts: [x.com], gateways: [b/g]"), gw(HTTP_SERVER % "x.com")], [to("host: s", head="hosts: [s], gateways: [mesh]")]),
    ("DelegateNotFound", "spec.http[0].delegate", [vs("{hosts: [s], http: [{delegate: {name: d}}]}")], [vs("{hosts: [s], http: [{delegate: {name: d}}]}"), vs("{http: [{route: [{destination: {host: s}}]}]}", "d")]),
    ("DelegateNotFound", "spec.http[0].delegate", [vs("{hosts: [s], http: [{delegate: {name: d}}]}"), vs("{hosts: [x.com], gateways: [g], http: [{route: [{destination: {host: s}}]}]}", "d")], []),
    ("HostNotInGateway", "spec.gateways[0]", [to("host: s", head=AT_G), gw(HTTP_SERVER % "y.com")], [to("host: s", head=AT_G), gw(HTTP_SERVER % "*.com")]),
    ("HostNotInGateway", "spec.gateways[0]", [to("host: s", head=AT_G), gw(HTTP_SERVER % "b/x.com")], [to("host: s", head=AT_G), gw(HTTP_SERVER % "./x.com")]),
    ("HostMatchesNothing", "spec.hosts[0]", [to("host: s", head="hosts: [nope]")], [to("host: s", head="hosts: [s.a.svc.cluster.local]")]),
    ("HostMatchesNothing", "spec.hosts[0]", [to("host: s", head="hosts: ['*.nope.com']")], [to("host: s", head="hosts: ['*.b.svc.cluster.local']")]),
    ("VirtualServiceConflict", "spec.hosts", [to("host: s"), vs("{hosts: [s.a.svc.cluster.local], http: [{route: [{destination: {host: s}}]}]}", "w", "b")], [to("host: s"), vs("{hosts: [s.a.svc.cluster.local], exportTo: [.], http: [{route: [{destination: {host: t}}]}]}", "w", "b"), vs("{hosts: [s], exportTo: [.], http: [{route: [{destination: {host: s}}]}]}")]),
    ("DuplicateRouteName", "spec.http[1].name", [vs("{hosts: [s], http: [{name: n, match: [{uri: {exact: /a}}], route: [{destination: {host: s}}]}, {name: n, route: [{destination: {host: s}}]}]}")], [vs("{hosts: [s], http: [{name: n, match: [{uri: {exact: /a}}], route: [{destination: {host: s}}]}, {name: m, route: [{destination: {host: s}}]}]}")]),
    ("RouteWithoutHttp", "spec.hosts[0]", [to("host: q", head="hosts: [q]"), TCP_ONLY], [to("host: t.b.svc.cluster.local", head="hosts: [t.b.svc.cluster.local]")]),
    ("RouteNotForServer", "spec.gateways[0]", [to("host: s", head=AT_G), gw(PASSED)], [vs("{hosts: [x.com], gateways: [g], tls: [{match: [{sniHosts: [x.com]}], route: [{destination: {host: s}}]}]}"), gw(PASSED)]),
    ("SubsetNotAtGateway", D, [to("host: s", head=AT_G), gw(HTTP_SERVER % "x.com"), vs("{hosts: [s], http: [{route: [{destination: {host: s, subset: v1}}]}]}", "w"), SUBSETS], [to("host: s, subset: v1", head=AT_G), gw(HTTP_SERVER % "x.com"), vs("{hosts: [s], http: [{route: [{destination: {host: s, subset: v1}}]}]}", "w"), SUBSETS]),
    ("ClaimWithoutAuthentication", "spec.http[0].match[0].headers[@request.auth.claims.sub]", [to("host: s", ", match: [{headers: {'@request.auth.claims.sub': {exact: a}}}]", AT_G), gw(HTTP_SERVER % "x.com")], [to("host: s", ", match: [{headers: {'@request.auth.claims.sub': {exact: a}}}]", AT_G), gw(HTTP_SERVER % "x.com"), obj("RequestAuthentication", "r", "{selector: {matchLabels: {app: s}}, jwtRules: [{issuer: 'https://i'}]}")]),
    ("RuleMatchesNothing", "spec.host", [dr("host: nope")], [dr("host: '*.b.svc.cluster.local'")]),
    ("SubsetWithoutPods", "spec.subsets[0].labels", [dr("host: s, subsets: [{name: v2, labels: {version: v2}}]")], [SUBSETS]),
    ("RuleConflict", "spec.trafficPolicy", [dr("host: s, trafficPolicy: {loadBalancer: {simple: RANDOM}}"), dr("host: s.a.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}", "e")], [dr("host: s, trafficPolicy: {loadBalancer: {simple: RANDOM}}"), dr("host: s, subsets: [{name: v1, labels: {version: v1}}]", "e")]),
    ("RuleConflict", "spec.subsets[0]", [SUBSETS, dr("host: s, subsets: [{name: v1, labels: {app: s}}]", "e")], [SUBSETS, dr("host: s, subsets: [{name: v1, labels: {app: s}}], workloadSelector: {matchLabels: {app: s}}", "e")]),
    ("MtlsConflict", "spec.trafficPolicy.tls.mode", [dr("host: s, trafficPolicy: {tls: {mode: DISABLE}}"), PEER_STRICT], [dr("host: s, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}"), PEER_STRICT]),
    ("MtlsConflict", "spec.trafficPolicy.tls.mode", [dr("host: s, trafficPolicy: {tls: {mode: SIMPLE}}"), PEER_STRICT], [dr("host: s, trafficPolicy: {tls: {mode: SIMPLE}}")]),
    ("MtlsConflict", "spec.trafficPolicy.tls.mode", [dr("host: s, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}"), PEER_DISABLE], [dr("host: s, trafficPolicy: {loadBalancer: {simple: RANDOM}}"), PEER_DISABLE]),
    ("MtlsConflict", "spec.trafficPolicy.portLevelSettings[0].tls.mode", [dr("host: s, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}"), obj("PeerAuthentication", "p", "{selector: {matchLabels: {app: s}}, portLevelMtls: {8080: {mode: STRICT}}}")], [dr("host: s, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}"), obj("PeerAuthentication", "p", "{selector: {matchLabels: {app: s}}, portLevelMtls: {8081: {mode: STRICT}}}")]),
    ("ServerNotVerified", "spec.trafficPolicy.tls", [dr("host: s, trafficPolicy: {tls: {mode: SIMPLE}}")], [dr("host: s, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca.pem}}")]),
    ("PolicyForNoPort", "spec.trafficPolicy.portLevelSettings[0].port.number", [dr("host: s, trafficPolicy: {portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: RANDOM}}]}")], [dr("host: s, trafficPolicy: {portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]}")]),
]  # fmt: skip


@pytest.mark.parametrize(("code", "path", "objects", "near"), ROWS)
def test_code(said: Said, code: str, path: str, objects: list[str], near: list[str]) -> None:
    assert (code, path) in said(*objects)
    assert code not in {found for found, _ in said(*near)}


def test_a_pod_without_sidecar_enforces_nothing(said: Said) -> None:
    plain = (
        obj("Service", "u", "{clusterIP: 10.1.0.7, selector: {app: u}, ports: [{name: http, port: 80}]}"),
        pod("u-1", "{app: u}", "10.0.0.9"),
        slices("u", "10.0.0.9"),
        dr("host: u, trafficPolicy: {tls: {mode: DISABLE}}"),
    )
    assert not said(*plain, PEER_STRICT)


def test_nothing_is_said_of_what_is_not_in_the_input(said: Said) -> None:
    """VirtualServices and rules alone: neither services nor pods are known."""
    assert not said(to("host: nope, subset: v9"), dr("host: nope, subsets: [{name: v9, labels: {a: b}}]"), base=())
    assert not said(to("host: nope, subset: v9"), base=())


def test_subsets_are_those_of_rules_also_without_services(said: Said) -> None:
    rule = dr("host: s, subsets: [{name: v9, labels: {a: b}}]")
    assert said(to("host: s.a.svc.cluster.local, subset: v8"), rule, base=()) == {("SubsetNotFound", f"{D}.subset")}
