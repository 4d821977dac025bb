# ruff: noqa: E501 -- YAML in one line reads better
"""Routers: servers by selector and port, route names, TLS, bindings, and the SNI door between networks."""

from __future__ import annotations

from dataclasses import replace

from federation.model.names import ServiceKey
from federation.model.service import Protocol, ServicePort
from istiod.resolve.config import resolve_view
from istiod.resolve.specs.listener import HttpConnection
from istiod.resolve.specs.match import MatchKind, StringMatch
from istiod.resolve.specs.tls import SecretSource
from istiod.view.proxy import ProxyType, ServiceTarget

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: %s, namespace: %s}
spec: {selector: {istio: ingressgateway}, servers: %s}
---
"""
VS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s, namespace: %s}
spec: %s
---
"""
LABELS = {"istio": "ingressgateway"}
C = "outbound|80||c.other.svc.cluster.local"


def router(view, **fields):
    fields.setdefault("labels", LABELS)
    return view(type=ProxyType.ROUTER, namespace="istio-system", agentless=False, **fields)


def test_http_server_and_binding(snapshot, view):
    world = snapshot(
        GATEWAY
        % (
            "web",
            "apps",
            "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com, other/x.example.com]}]",
        )
        + VS
        % ("shop", "apps", "{hosts: [shop.example.com], gateways: [web], http: [{route: [{destination: {host: b}}]}]}")
        + VS % ("x", "apps", "{hosts: [x.example.com], gateways: [web], http: [{route: [{destination: {host: b}}]}]}")
        + VS % ("mesh", "apps", "{hosts: [shop.example.com], http: [{directResponse: {status: 299}}]}")
    )
    config = resolve_view(world, router(view))
    (listener,) = config.listeners
    assert (listener.name, listener.port, listener.bind_to_port) == ("0.0.0.0_80", 80, True)
    handler = listener.chains[0].handler
    assert isinstance(handler, HttpConnection)
    assert (handler.routes, handler.use_remote_address) == ("http.80", True)
    (routes,) = config.routes
    assert [(host.name, host.domains) for host in routes.virtual_hosts] == [
        ("shop.example.com:80", ("shop.example.com",))
    ]
    assert routes.virtual_hosts[0].routes[0].action.clusters[0].name == "outbound|80||b.apps.svc.cluster.local"
    assert "PassthroughCluster" not in {cluster.name for cluster in config.clusters}
    assert resolve_view(world, router(view, labels={"istio": "else"})).listeners == ()


def test_rules_for_one_host_add_up_and_the_catch_all_goes_last(snapshot, view):
    world = snapshot(
        GATEWAY % ("web", "apps", "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]")
        + VS % ("a", "apps", "{hosts: [s.example.com], gateways: [web], http: [{route: [{destination: {host: b}}]}]}")
        + VS
        % (
            "b",
            "apps",
            "{hosts: [s.example.com], gateways: [web], http: [{match: [{uri: {prefix: /p}}], directResponse: {status: 231}}]}",
        ),
        isthmus={"defaults": "resilient"},
    )
    (routes,) = resolve_view(world, router(view)).routes
    paths = [route.match.path.value for route in routes.virtual_hosts[0].routes]
    assert paths == ["/p", "/", "/"], "both routes of the catch-all (idempotent methods first) stay behind"


def test_gateway_without_rules_answers_404_and_two_gateways_share_a_port(snapshot, view):
    servers = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [%s.example.com]}]"
    alone = snapshot(GATEWAY % ("one", "apps", servers % "one"))
    (routes,) = resolve_view(alone, router(view)).routes
    assert [(host.name, host.domains, host.routes) for host in routes.virtual_hosts] == [("blackhole:80", ("*",), ())]
    both = snapshot(
        GATEWAY % ("one", "apps", servers % "one")
        + GATEWAY % ("two", "other", servers % "two")
        + VS % ("one", "apps", "{hosts: [one.example.com], gateways: [one], http: [{directResponse: {status: 230}}]}")
        + VS % ("two", "other", "{hosts: [two.example.com], gateways: [two], http: [{directResponse: {status: 231}}]}")
    )
    config = resolve_view(both, router(view))
    assert len(config.listeners) == 1
    assert [host.name for host in config.routes[0].virtual_hosts] == ["one.example.com:80", "two.example.com:80"]


def test_a_rule_for_every_host_gets_all_hosts_of_a_server(snapshot, view):
    servers = (
        "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com, other/b.example.com, c.example.com]}]"
    )
    rule = VS % ("all", "apps", "{hosts: ['*'], gateways: [web], http: [{directResponse: {status: 200}}]}")
    (routes,) = resolve_view(snapshot(GATEWAY % ("web", "apps", servers) + rule), router(view)).routes
    assert [host.domains for host in routes.virtual_hosts] == [("a.example.com",), ("c.example.com",)]


def test_a_rule_for_a_wildcard_holds_for_the_narrower_hosts_of_a_server_too(snapshot, view):
    servers = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com', '*.a.example.com']}]"
    rule = VS % ("%s", "apps", "{hosts: ['%s'], gateways: [web], http: [{directResponse: {status: %d}}]}")
    rules = rule % ("a", "*.example.com", 230) + rule % ("b", "*.a.example.com", 231)
    (routes,) = resolve_view(snapshot(GATEWAY % ("web", "apps", servers) + rules), router(view)).routes
    said = {host.domains[0]: [route.action.status for route in host.routes] for host in routes.virtual_hosts}
    assert said == {"*.example.com": [230], "*.a.example.com": [230, 231]}, "the older rule decides"


def test_plaintext_is_served_beside_older_tls_but_not_the_other_way_round(snapshot, view):
    https = GATEWAY % (
        "%s",
        "apps",
        "[{port: {number: 80, name: tls, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: a}}]",
    )
    http = GATEWAY % ("%s", "apps", "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]")
    config = resolve_view(snapshot(https % "a" + http % "b"), router(view))
    assert [chain.match.server_names for chain in config.listeners[0].chains] == [("a.example.com",), ()]
    assert not config.findings
    config = resolve_view(snapshot(http % "a" + https % "b"), router(view))
    assert [chain.tls for chain in config.listeners[0].chains] == [None]
    assert [finding.code for finding in config.findings] == ["GatewayPortConflict"]


def test_a_server_name_that_is_taken_keeps_out_the_whole_server(snapshot, view):
    https = GATEWAY % (
        "%s",
        "apps",
        "[{port: {number: 443, name: %s, protocol: HTTPS}, hosts: [%s], tls: {mode: SIMPLE, credentialName: a}}]",
    )
    world = snapshot(https % ("a", "a", "a.example.com") + https % ("b", "b", "a.example.com, b.example.com"))
    config = resolve_view(world, router(view))
    assert [chain.match.server_names for chain in config.listeners[0].chains] == [("a.example.com",)]
    assert [route.name for route in config.routes] == ["https.443.a.a.apps"]
    assert [(finding.code, finding.path) for finding in config.findings] == [
        ("GatewayHostConflict", "spec.servers[0].hosts")
    ]


def test_of_several_rules_for_a_plain_tcp_server_the_first_has_all(snapshot, view):
    rule = VS % (
        "%s",
        "apps",
        "{hosts: [%s.test], gateways: [web], tcp: [{%s route: [{destination: {host: b, port: {number: 9000}}}]}]}",
    )
    world = snapshot(
        GATEWAY % ("web", "apps", "[{port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}]")
        + rule % ("a", "a", "match: [{destinationSubnets: [10.9.0.0/16]}],")
        + rule % ("b", "b", "")
    )
    (chain,) = resolve_view(world, router(view)).listeners[0].chains
    assert (chain.config.rsplit("/", 1)[1], chain.match.destinations) == ("a", ())


def test_unknown_cipher_suites_are_left_out(snapshot, view):
    tls = "{mode: SIMPLE, credentialName: a, cipherSuites: [NOPE, AES128-SHA, AES128-SHA]}"
    servers = f"[{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], tls: {tls}}}]"
    (listener,) = resolve_view(snapshot(GATEWAY % ("web", "apps", servers)), router(view)).listeners
    assert listener.chains[0].tls.cipher_suites == ("AES128-SHA",)
    # A secret that nobody has must not hold back the other listeners.
    assert listener.chains[0].tls.certificates[0].optional


def test_pins_narrow_the_clients_of_a_mutual_server(snapshot, view):
    pin = "ab" * 32
    tls = f"{{mode: MUTUAL, credentialName: a, verifyCertificateHash: ['{pin}']}}"
    servers = f"[{{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], tls: {tls}}}]"
    (listener,) = resolve_view(snapshot(GATEWAY % ("web", "apps", servers)), router(view)).listeners
    assert listener.chains[0].tls.certificate_hashes == (pin,)


def test_a_port_that_every_proxy_listens_on_is_not_opened(snapshot, view):
    servers = "[{port: {number: 15021, name: http, protocol: HTTP}, hosts: ['*']}]"
    config = resolve_view(snapshot(GATEWAY % ("web", "apps", servers)), router(view))
    assert config.listeners == ()
    assert [(finding.code, finding.path) for finding in config.findings] == [
        ("ReservedPort", "spec.servers[0].port.number")
    ]


def test_a_port_of_the_router_s_service_is_opened_as_its_target_port(snapshot, view):
    def served(number, there):
        port = ServicePort(number, f"http-{number}", Protocol.HTTP, there)
        return ServiceTarget(ServiceKey("ingress.test", "istio-system"), port, there)

    servers = "[{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']}, {port: {number: 81, name: b, protocol: HTTP}, hosts: ['*']}]"
    rule = VS % (
        "all",
        "apps",
        "{hosts: [a.test], gateways: [web], http: [{match: [{port: 80}], directResponse: {status: 200}}]}",
    )
    asked = router(view, targets=(served(80, 8080), served(80, 8081)))
    config = resolve_view(snapshot(GATEWAY % ("web", "apps", servers) + rule), asked)
    assert [listener.port for listener in config.listeners] == [81, 8080], "of several targets the first"
    routes = {route.name: route for route in config.routes}
    assert routes["http.8080"].virtual_hosts[0].domains == ("a.test",), "rules name the service's port"


def test_https_servers_by_server_name(snapshot, view):
    world = snapshot(
        GATEWAY
        % (
            "web",
            "apps",
            "[{port: {number: 443, name: one, protocol: HTTPS}, hosts: [one.example.com], "
            "tls: {mode: SIMPLE, serverCertificate: /c.crt, privateKey: /c.key}}, "
            "{port: {number: 443, name: two, protocol: HTTPS}, hosts: [two.example.com], "
            "tls: {mode: MUTUAL, credentialName: two, subjectAltNames: [user.example.com], minProtocolVersion: TLSV1_3}}]",
        )
    )
    config = resolve_view(world, router(view))
    one, two = config.listeners[0].chains
    assert config.listeners[0].tls_inspector
    assert one.match.server_names == ("one.example.com",)
    assert one.handler.routes == "https.443.one.web.apps"
    assert (one.tls.certificates[0].name, one.tls.certificates[0].source) == (
        "file-cert:/c.crt~/c.key",
        SecretSource.SDS_GRPC,
    )
    assert not one.tls.require_client_certificate
    assert one.tls.alpn == ("h2", "http/1.1")
    assert (two.tls.certificates[0].name, two.tls.roots.name) == ("kubernetes://two", "kubernetes://two-cacert")
    assert two.tls.san_matches == (StringMatch(MatchKind.EXACT, "user.example.com"),)
    assert (two.tls.require_client_certificate, two.tls.minimum) == (True, "TLSv1_3")
    assert sorted(routes.name for routes in config.routes) == ["https.443.one.web.apps", "https.443.two.web.apps"]


def test_https_redirect(snapshot, view):
    world = snapshot(
        GATEWAY
        % (
            "web",
            "apps",
            "[{port: {number: 80, name: http, protocol: HTTP}, hosts: [s.example.com], tls: {httpsRedirect: true}}]",
        )
        + VS % ("s", "apps", "{hosts: [s.example.com], gateways: [web], http: [{directResponse: {status: 230}}]}")
    )
    (routes,) = resolve_view(world, router(view)).routes
    assert [(host.name, host.require_tls) for host in routes.virtual_hosts] == [("s.example.com:80", True)]


def test_https_redirect_is_of_one_server(snapshot, view):
    servers = "[{port: {number: 80, name: a, protocol: HTTP}, hosts: [s.example.com], tls: {httpsRedirect: true}}, "
    servers += "{port: {number: 80, name: b, protocol: HTTP}, hosts: [p.example.com]}]"
    rules = "{hosts: [s.example.com, p.example.com], gateways: [web], http: [{directResponse: {status: 230}}]}"
    (routes,) = resolve_view(
        snapshot(GATEWAY % ("web", "apps", servers) + VS % ("s", "apps", rules)), router(view)
    ).routes
    assert {host.name: host.require_tls for host in routes.virtual_hosts} == {
        "s.example.com:80": True,
        "p.example.com:80": False,
    }


def test_tls_passthrough_and_tcp(snapshot, view):
    world = snapshot(
        GATEWAY
        % (
            "web",
            "apps",
            "[{port: {number: 443, name: tls, protocol: TLS}, hosts: ['*.example.com'], tls: {mode: PASSTHROUGH}}, "
            "{port: {number: 5432, name: tcp, protocol: TCP}, hosts: ['*']}]",
        )
        + VS
        % (
            "s",
            "apps",
            "{hosts: ['*.example.com'], gateways: [web], tls: [{match: [{sniHosts: [s.example.com]}], route: [{destination: {host: b, port: {number: 8443}}}]}]}",
        )
        + VS
        % (
            "t",
            "apps",
            "{hosts: ['*'], gateways: [web], tcp: [{match: [{port: 5432}], route: [{destination: {host: b, port: {number: 9000}}}]}]}",
        )
    )
    listeners = {listener.port: listener for listener in resolve_view(world, router(view)).listeners}
    (tls,) = listeners[443].chains
    assert (tls.match.server_names, tls.tls) == (("s.example.com",), None)
    assert tls.handler.clusters == (("outbound|8443||b.apps.svc.cluster.local", 1),)
    (tcp,) = listeners[5432].chains
    assert tcp.handler.clusters == (("outbound|9000||b.apps.svc.cluster.local", 1),)
    assert not listeners[5432].tls_inspector


def test_a_server_of_another_protocol_on_a_taken_port_is_named(snapshot, view):
    world = snapshot(
        GATEWAY % ("a", "apps", "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]")
        + GATEWAY % ("b", "apps", "[{port: {number: 80, name: tcp, protocol: TCP}, hosts: ['*']}]")
    )
    config = resolve_view(world, router(view))
    assert [finding.code for finding in config.findings] == ["GatewayPortConflict"]
    assert isinstance(config.listeners[0].chains[0].handler, HttpConnection)


CROSS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: cross-network, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers: [{port: {number: 15443, name: tls, protocol: TLS}, hosts: ["*.local"], tls: {mode: AUTO_PASSTHROUGH}}]
"""
EASTWEST = {"istio": "eastwestgateway", "topology.istio.io/network": "network2"}


def test_sni_door(snapshot, view):
    who = router(view, labels=EASTWEST, network="network2", requested_networks=("network2",))
    config = resolve_view(snapshot(CROSS), who)
    (listener,) = config.listeners
    (chain,) = listener.chains
    assert (listener.port, chain.sni_cluster, chain.tls) == (15443, True, None)
    assert "istio" in chain.match.application_protocols
    assert "outbound_.80_._.c.other.svc.cluster.local" in chain.match.server_names
    assert chain.handler.clusters == (("BlackHoleCluster", 1),)
    assert chain.handler.max_connect_attempts == 3
    names = {cluster.name for cluster in config.clusters}
    assert set(chain.match.server_names) <= names
    assert set(chain.match.server_names) <= {endpoints.name for endpoints in config.endpoints}


def test_a_server_may_listen_at_a_socket(snapshot, view):
    world = snapshot(
        GATEWAY
        % (
            "web",
            "apps",
            '[{bind: "unix:///run/web.sock", port: {number: 0, name: http, protocol: HTTP}, hosts: ["*"]}]',
        )
    )
    (listener,) = resolve_view(world, router(view)).listeners
    assert (listener.address, listener.port, listener.additional_addresses) == ("unix:///run/web.sock", 0, ())


def test_sni_door_without_a_gateway_object_leads_to_exported_services_only(snapshot, view):
    world = snapshot()
    exported = {
        key: replace(service, clusters=("cluster1",)) if service.name == "c" else service
        for key, service in world.services.items()
    }
    who = router(view, network="network2", labels={}, requested_networks=("network2",))
    (listener,) = resolve_view(replace(world, services=exported), who).listeners
    assert {name.rpartition("_.")[2] for name in listener.chains[0].match.server_names} == {"c.other.svc.cluster.local"}
    assert resolve_view(world, who).listeners == ()
    assert resolve_view(replace(world, services=exported), router(view, network="network2", labels={})).listeners == ()


def test_proxyless_client(snapshot, view):
    config = resolve_view(
        snapshot(
            VS % ("b", "apps", "{hosts: [b], http: [{route: [{destination: {host: c.other.svc.cluster.local}}]}]}")
        ),
        view(type=ProxyType.GRPC),
    )
    listeners = {listener.name: listener for listener in config.listeners}
    assert listeners["b.apps.svc.cluster.local:80"].api
    assert listeners["b:80"].chains[0].handler.routes == "outbound|80||b.apps.svc.cluster.local"
    routes = {routes.name: routes for routes in config.routes}["outbound|80||b.apps.svc.cluster.local"]
    assert routes.virtual_hosts[0].routes[0].action.clusters[0].name == C


def test_a_server_name_of_two_namespaces_is_one(snapshot, view):
    servers = (
        "[{port: {number: 443, name: t, protocol: HTTPS}, hosts: [apps/shop.test, other/shop.test], "
        "tls: {mode: SIMPLE, serverCertificate: /a, privateKey: /b}}]"
    )
    (listener,) = resolve_view(snapshot(GATEWAY % ("web", "apps", servers)), router(view)).listeners
    assert [chain.match.server_names for chain in listener.chains] == [("shop.test",)]


def test_rules_at_a_gateway_are_private_ones_first_then_exported_then_public_ones(snapshot, view):
    def rule(name: str, namespace: str, export_to: str, status: int) -> str:
        http = f"[{{match: [{{uri: {{prefix: /{name}}}}}], directResponse: {{status: {status}}}}}]"
        spec = f"{{hosts: [s.test], gateways: [istio-system/web], exportTo: [{export_to}], http: {http}}}"
        return VS % (name, namespace, spec)

    servers = "[{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]"
    rules = (
        rule("a", "other", "'*'", 231) + rule("b", "other", "istio-system", 232) + rule("c", "istio-system", "'.'", 233)
    )
    (routes,) = resolve_view(snapshot(GATEWAY % ("web", "istio-system", servers) + rules), router(view)).routes
    assert [route.action.status for route in routes.virtual_hosts[0].routes] == [233, 232, 231]


def test_of_rules_and_servers_for_the_same_bytes_the_first_holds(snapshot, view):
    server = "[{port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}]"
    rule = "{hosts: ['*'], gateways: [one, two], tcp: [{route: [{destination: {host: %s, port: {number: 9000}}}]}]}"
    world = snapshot(
        GATEWAY % ("one", "apps", server)
        + GATEWAY % ("two", "apps", server)
        + VS % ("to-a", "apps", rule % "a")
        + VS % ("to-b", "apps", rule % "b")
    )
    (listener,) = resolve_view(world, router(view)).listeners
    (chain,) = listener.chains
    assert chain.handler.clusters == (("outbound|9000||a.apps.svc.cluster.local", 1),)


def test_labels_and_namespace_of_callers_are_not_asked_at_a_gateway(snapshot, view):
    match = "[{sourceLabels: {app: a}, sourceNamespace: apps}]"
    world = snapshot(
        GATEWAY % ("one", "apps", "[{port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}]")
        + VS
        % (
            "v",
            "apps",
            f"{{hosts: ['*'], gateways: [one], tcp: [{{match: {match}, route: [{{destination: {{host: b}}}}]}}]}}",
        )
    )
    (listener,) = resolve_view(world, router(view)).listeners
    assert listener.chains[0].handler.clusters == (("outbound|9000||b.apps.svc.cluster.local", 1),)
