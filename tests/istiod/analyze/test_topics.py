# ruff: noqa: E501
"""Gateways, services, Sidecars, policies and metadata: for each code something that has it, and something near that has
not.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from istiod.analyze.analysis import analyze
from tests.istiod.analyze.conftest import Found, obj, pod, slices, snapshot_of

Said = Callable[..., Found]


def gw(servers: str, name: str = "g", selector: str = "{app: s}", namespace: str = "a") -> str:
    return obj("Gateway", name, f"{{selector: {selector}, servers: {servers}}}", namespace)


def server(host: str = "x.com", port: int = 80, more: str = "", protocol: str = "HTTP") -> str:
    return f"[{{port: {{number: {port}, name: p{port}, protocol: {protocol}}}, hosts: ['{host}']{more}}}]"


def tls(credential: str) -> str:
    return f", tls: {{mode: SIMPLE, credentialName: {credential}}}"


def svc(name: str, spec: str, namespace: str = "a", **meta: object) -> str:
    return obj("Service", name, spec, namespace, **meta)


def se(spec: str, name: str = "e", namespace: str = "a") -> str:
    return obj("ServiceEntry", name, f"{{{spec}}}", namespace)


def sidecar(spec: str, name: str = "c", namespace: str = "a") -> str:
    return obj("Sidecar", name, f"{{{spec}}}", namespace)


def pa(spec: str, name: str = "p", namespace: str = "a") -> str:
    return obj("PeerAuthentication", name, f"{{{spec}}}", namespace)


def ap(spec: str, namespace: str = "a") -> str:
    return obj("AuthorizationPolicy", "ap", f"{{{spec}}}", namespace)


def ra(spec: str = "jwtRules: [{issuer: 'https://i'}]") -> str:
    return obj("RequestAuthentication", "ra", f"{{{spec}}}")


def telemetry(spec: str, name: str = "m") -> str:
    return obj("Telemetry", name, f"{{{spec}}}")


def patch(operation: str, more: str = "") -> str:
    match = "{context: GATEWAY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}"
    return obj(
        "EnvoyFilter",
        "ef",
        f"{{{more}configPatches: [{{applyTo: HTTP_FILTER, match: {match}, patch: {{operation: {operation}, value: {{name: x}}}}}}]}}",
    )


def second(name: str, port: int) -> tuple[str, str]:
    """Another service of the pod of `s`."""
    ports = f"[{{name: {name}, port: {port}, targetPort: 8080}}]"
    service = svc("s2", f"{{clusterIP: 10.1.0.5, selector: {{app: s}}, ports: {ports}}}")
    return service, slices("s2", "10.0.0.1", ports=f"[{{name: {name}, port: 8080}}]")


TCP = svc("q", "{clusterIP: 10.1.0.6, selector: {app: q}, ports: [{name: tcp-q, port: 90, targetPort: 9090}]}")
TCP_WORKLOAD = (TCP, pod("q-1", "{app: q}", "10.0.0.6"), slices("q", "10.0.0.6", ports="[{name: tcp-q, port: 9090}]"))
REQUIRED = ap("rules: [{from: [{source: {requestPrincipals: ['*']}}]}]")
EXTERNAL = "location: MESH_EXTERNAL, resolution: STATIC, endpoints: [{address: 1.1.1.1}], ports: [{number: 90, name: t, protocol: %s}]"

ROWS = [
    ("SelectorMatchesNothing", "spec.selector", [gw(server(), selector="{app: none}")], [gw(server())]),
    ("GatewayPortNotInService", "spec.servers[0].port.number", [gw(server(port=81))], [gw(server(port=80)), gw(server(port=8080), "h")]),
    ("GatewayConflict", "spec.servers[0].hosts[0]", [gw(server()), gw(server(), "h")], [gw(server()), gw(server("y.com"), "h")]),
    ("GatewayConflict", "spec.servers[0].hosts[0]", [gw(server("a/x.com")), gw(server("*/x.com"), "h")], [gw(server("a/x.com")), gw(server("b/x.com"), "h")]),
    ("GatewayConflict", "spec.servers[0].hosts[0]", [gw(server()), gw(server(), "h", "{app: s, version: v1}")], [gw(server()), gw(server(), "h", "{app: t}")]),
    ("DuplicateCertificate", "spec.servers[0].tls", [gw(server("x.com", 443, tls("c"), "HTTPS")), gw(server("y.com", 443, tls("c"), "HTTPS"), "h")], [gw(server("x.com", 443, tls("c"), "HTTPS")), gw(server("y.com", 443, tls("d"), "HTTPS"), "h")]),
    ("PortNameUnknown", "spec.ports[0].name", [svc("o", "{clusterIP: 10.1.0.4, ports: [{name: web, port: 80}]}")], [svc("o", "{clusterIP: 10.1.0.4, ports: [{name: http-web, port: 80}, {name: web, port: 81, appProtocol: http}, {name: dns, port: 53, protocol: UDP}, {name: grpc-web, port: 82}]}")]),
    ("PortNameUnknown", "spec.ports[0].name", [svc("o", "{clusterIP: 10.1.0.4, ports: [{port: 80}]}")], []),
    ("ExternalNamePort", "spec.ports[0].name", [svc("o", "{type: ExternalName, externalName: x.com, ports: [{name: web, port: 80}]}")], [svc("o", "{type: ExternalName, externalName: x.com, ports: [{name: http, port: 80}]}")]),
    ("SelectorMatchesNothing", "spec.selector", [svc("o", "{clusterIP: 10.1.0.4, selector: {app: o}, ports: [{name: http, port: 80}]}")], [svc("o", "{clusterIP: 10.1.0.4, ports: [{name: http, port: 80}]}")]),
    ("SelectorMatchesNothing", "spec.workloadSelector.labels", [se("hosts: [e.com], workloadSelector: {labels: {app: o}}, resolution: STATIC, ports: [{number: 80, name: h, protocol: HTTP}]")], [se("hosts: [e.com], workloadSelector: {labels: {app: s}}, resolution: STATIC, ports: [{number: 80, name: h, protocol: HTTP}]")]),
    ("TargetPortNotFound", "spec.ports[0].targetPort", [svc("o", "{clusterIP: 10.1.0.4, selector: {app: o}, ports: [{name: http, port: 80, targetPort: web}]}"), pod("o-1", "{app: o}", "10.0.0.4", ports="[{name: http, containerPort: 80}]")], [svc("o", "{clusterIP: 10.1.0.4, selector: {app: o}, ports: [{name: http, port: 80, targetPort: http}]}"), pod("o-1", "{app: o}", "10.0.0.4", ports="[{name: http, containerPort: 80}]")]),
    ("ProtocolConflict", "ports[80]", [*second("tcp", 80)], [*second("http-x", 80)]),
    ("TargetPortConflict", "ports[81]", [*second("http-x", 81)], [*second("http-x", 80)]),
    ("AddressRequired", "spec.ports[0]", [se("hosts: [e.com], " + EXTERNAL % "TCP")], [se("hosts: [e.com], addresses: [240.0.0.9], " + EXTERNAL % "TCP")]),
    ("AddressRequired", "spec.ports[0]", [se("hosts: [e.com], " + EXTERNAL % "''")], [se("hosts: [e.com], " + EXTERNAL % "HTTP"), se("hosts: [f.com], " + (EXTERNAL % "TCP").replace("EXTERNAL", "INTERNAL"), "f")]),
    ("HostInSeveralNamespaces", "spec.hosts", [se("hosts: [e.com], " + EXTERNAL % "HTTP"), se("hosts: [e.com], " + EXTERNAL % "HTTP", namespace="b")], [se("hosts: [e.com], exportTo: [.], " + EXTERNAL % "HTTP"), se("hosts: [e.com], exportTo: [.], " + EXTERNAL % "HTTP", namespace="b")]),
    ("SidecarConflict", "spec.workloadSelector.labels", [sidecar("workloadSelector: {labels: {app: s}}, egress: [{hosts: ['*/*']}]"), sidecar("workloadSelector: {labels: {version: v1}}, egress: [{hosts: ['*/*']}]", "d")], [sidecar("workloadSelector: {labels: {version: v2}}, egress: [{hosts: ['*/*']}]"), sidecar("workloadSelector: {labels: {version: v1}}, egress: [{hosts: ['*/*']}]", "d")]),
    ("SeveralDefaultSidecars", "spec.workloadSelector", [sidecar("egress: [{hosts: ['*/*']}]"), sidecar("egress: [{hosts: ['*/*']}]", "d")], [sidecar("egress: [{hosts: ['*/*']}]"), sidecar("egress: [{hosts: ['*/*']}]", "d", "b")]),
    ("EgressMatchesNothing", "spec.egress[0].hosts[1]", [sidecar("egress: [{hosts: ['./*', 'b/s.a.svc.cluster.local']}]")], [sidecar("egress: [{hosts: ['./*', 'b/t.b.svc.cluster.local', '*/*.svc.cluster.local', '~/*', 'b/*']}]")]),
    ("SelectorMatchesNothing", "spec.workloadSelector.labels", [sidecar("workloadSelector: {labels: {app: none}}, egress: [{hosts: ['*/*']}]")], [sidecar("workloadSelector: {labels: {app: s}}, egress: [{hosts: ['*/*']}]")]),
    ("SelectorInRootNamespace", "spec.workloadSelector", [sidecar("workloadSelector: {labels: {app: s}}, egress: [{hosts: ['*/*']}]", namespace="istio-system")], [sidecar("egress: [{hosts: ['*/*']}]", namespace="istio-system")]),
    ("SelectorInRootNamespace", "spec.selector", [pa("selector: {matchLabels: {app: s}}, mtls: {mode: STRICT}", namespace="istio-system")], [pa("mtls: {mode: STRICT}", namespace="istio-system")]),
    ("SelectorMatchesNothing", "spec.selector.matchLabels", [pa("selector: {matchLabels: {app: none}}, mtls: {mode: STRICT}")], [pa("selector: {matchLabels: {app: s}}, mtls: {mode: STRICT}")]),
    ("SelectorMatchesNothing", "spec.selector.matchLabels", [ap("selector: {matchLabels: {app: none}}, rules: [{}]", "istio-system")], [ap("selector: {matchLabels: {app: s}}, rules: [{}]", "istio-system")]),
    ("PolicyConflict", "spec.selector", [pa("mtls: {mode: STRICT}"), pa("mtls: {mode: DISABLE}", "q")], [pa("mtls: {mode: STRICT}"), pa("selector: {matchLabels: {app: s}}, mtls: {mode: DISABLE}", "q")]),
    ("PolicyConflict", "spec.selector", [pa("selector: {matchLabels: {app: s}}, mtls: {mode: STRICT}"), pa("selector: {matchLabels: {version: v1}}, mtls: {mode: DISABLE}", "q")], [pa("selector: {matchLabels: {app: s}}, mtls: {mode: STRICT}"), pa("selector: {matchLabels: {app: t}}, mtls: {mode: DISABLE}", "q")]),
    ("PolicyForNoPort", "spec.portLevelMtls[80]", [pa("selector: {matchLabels: {app: s}}, portLevelMtls: {80: {mode: STRICT}}")], [pa("selector: {matchLabels: {app: s}}, portLevelMtls: {8080: {mode: STRICT}}")]),
    ("NamespaceNotFound", "spec.exportTo[0]", [obj("DestinationRule", "d", "{host: s, exportTo: [none]}")], [obj("DestinationRule", "d", "{host: s, exportTo: [b, .]}")]),
    ("NamespaceNotFound", "spec.rules[0].from[0].source.namespaces[0]", [ap("rules: [{from: [{source: {namespaces: [none]}}]}]")], [ap("rules: [{from: [{source: {namespaces: [b, 'b*', '*']}}]}]")]),
    ("NamespaceNotFound", "spec.rules[0].from[0].source.notNamespaces[0]", [ap("rules: [{from: [{source: {notNamespaces: ['*-none']}}]}]")], []),
    ("PrincipalNotFound", "spec.rules[0].from[0].source.principals[0]", [ap("rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/none]}}]}]")], [ap("rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/default, '*/sa/x', other/ns/x/sa/y]}}]}]")]),
    ("PrincipalNotFound", "spec.rules[0].from[0].source.principals[0]", [ap("rules: [{from: [{source: {principals: ['spiffe://cluster.local/ns/a/sa/default']}}]}]")], []),
    ("PrincipalNotFound", "spec.rules[0].from[0].source.serviceAccounts[0]", [ap("rules: [{from: [{source: {serviceAccounts: [none]}}]}]")], [ap("rules: [{from: [{source: {serviceAccounts: [a/default]}}]}]")]),
    ("HttpRuleOnTcp", "spec.rules[0]", [ap("selector: {matchLabels: {app: q}}, rules: [{to: [{operation: {methods: [GET]}}]}]"), *TCP_WORKLOAD], [ap("selector: {matchLabels: {app: s}}, rules: [{to: [{operation: {methods: [GET]}}]}]"), *TCP_WORKLOAD]),
    ("HttpRuleOnTcp", "spec.rules[0]", [ap("rules: [{to: [{operation: {methods: [GET]}}]}]"), *TCP_WORKLOAD], [ap("rules: [{to: [{operation: {methods: [GET], ports: ['8080']}}]}]"), *TCP_WORKLOAD]),
    ("TokenNotRequired", "spec.jwtRules", [ra()], [ra(), REQUIRED]),
    ("TokenOnTcp", "spec.selector.matchLabels", [ra("selector: {matchLabels: {app: q}}, jwtRules: [{issuer: 'https://i'}]"), *TCP_WORKLOAD], [ra("selector: {matchLabels: {app: s}}, jwtRules: [{issuer: 'https://i'}]"), *TCP_WORKLOAD]),
    ("KeysNotProtected", "spec.jwtRules[0].jwksUri", [ra("jwtRules: [{issuer: i, jwksUri: 'http://i/k'}]")], [ra("jwtRules: [{issuer: i, jwksUri: 'https://i/k'}]")]),
    ("ProviderNotFound", "spec.provider.name", [ap("action: CUSTOM, provider: {name: none}, rules: [{}]")], []),
    ("ProviderNotFound", "spec.tracing[0].providers[0].name", [telemetry("tracing: [{providers: [{name: none}]}]")], [telemetry("accessLogging: [{providers: [{name: envoy}]}], metrics: [{providers: [{name: prometheus}]}]")]),
    ("NoProvider", "spec.tracing[0].providers", [telemetry("tracing: [{randomSamplingPercentage: 5}]")], [telemetry("tracing: [{disableSpanReporting: true}]")]),
    ("PolicyConflict", "spec.selector", [telemetry("tracing: [{disableSpanReporting: true}]"), telemetry("tracing: [{disableSpanReporting: true}]", "n")], [telemetry("tracing: [{disableSpanReporting: true}]")]),
    ("PatchIsRelative", "spec.configPatches[0].patch.operation", [patch("INSERT_BEFORE")], [patch("INSERT_BEFORE", "priority: 5, "), ]),
    ("PatchIsRelative", "spec.configPatches[0].patch.operation", [patch("INSERT_AFTER")], [patch("INSERT_FIRST")]),
    ("SelectorMatchesNothing", "spec.workloadSelector.labels", [patch("INSERT_FIRST", "workloadSelector: {labels: {app: none}}, ")], [patch("INSERT_FIRST", "workloadSelector: {labels: {app: s}}, ")]),
    ("UnknownAnnotation", "metadata.annotations[networking.istio.io/exportTwo]", [svc("o", "{clusterIP: 10.1.0.4, ports: [{name: http, port: 80}]}", annotations={"networking.istio.io/exportTwo": "."})], [svc("o", "{clusterIP: 10.1.0.4, ports: [{name: http, port: 80}]}", annotations={"networking.istio.io/exportTo": ".", "example.com/exportTwo": "."})]),
    ("MisplacedAnnotation", "metadata.annotations[sidecar.istio.io/logLevel]", [svc("o", "{clusterIP: 10.1.0.4, ports: [{name: http, port: 80}]}", annotations={"sidecar.istio.io/logLevel": "debug"})], [obj("Pod", "o", "{status: {podIP: 10.0.0.4}}", annotations={"sidecar.istio.io/logLevel": "debug"})]),
    ("DeprecatedAnnotation", "metadata.annotations[sidecar.istio.io/inject]", [obj("Pod", "o", "{status: {podIP: 10.0.0.4}}", annotations={"sidecar.istio.io/inject": "true"})], [obj("Pod", "o", "{status: {podIP: 10.0.0.4}}", labels={"sidecar.istio.io/inject": "true"})]),
    ("InjectionLabelsConflict", "metadata.labels", [obj("Namespace", "n", labels={"istio-injection": "enabled", "istio.io/rev": "x"})], [obj("Namespace", "n", labels={"istio-injection": "enabled"})]),
    ("InjectionLabelsConflict", "metadata.labels", [obj("Namespace", "n", labels={"istio.io/dataplane-mode": "ambient", "istio.io/rev": "x"})], [obj("Namespace", "n", labels={"istio-injection": "disabled", "istio.io/rev": "x"})]),
]  # fmt: skip


@pytest.mark.parametrize(("code", "path", "objects", "near"), ROWS)
def test_code(said: Said, code: str, path: str, objects: list[str], near: list[str]) -> None:
    assert (code, path) in said(*objects)
    assert code not in {found for found, _ in said(*near)}


def test_the_small_mesh_has_nothing_wrong(said: Said) -> None:
    assert not said()


def test_a_provider_of_the_mesh(said: Said) -> None:
    mesh = "extensionProviders: [{name: mine, envoyExtAuthzGrpc: {service: s.a.svc.cluster.local, port: 80}}]"
    objects = (ap("action: CUSTOM, provider: {name: mine}, rules: [{}]"),)
    assert ("ProviderNotFound", "spec.provider.name") in said(*objects)
    assert not said(*objects, mesh=mesh)


def test_unknown_annotations_are_completed(said: Said) -> None:
    service = svc(
        "o",
        "{clusterIP: 10.1.0.4, ports: [{name: http, port: 80}]}",
        annotations={"networking.istio.io/exportTwo": "."},
    )
    (found,) = analyze(snapshot_of([service]))
    assert found.fix == "did you mean networking.istio.io/exportTo?"
