# ruff: noqa: E501 -- YAML in one line reads better
"""Outbound listeners: names, protocols, conflicts, server names, TCP rules, scopes."""

from __future__ import annotations

import pytest

from federation.model.labels import Labels
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint
from istiod.resolve.outbound import outbound
from istiod.resolve.scope import scope_of
from istiod.resolve.specs.listener import HttpConnection, ListenerSpec, TcpProxy, TunnelSpec

VS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: apps}
spec:
  hosts: [b.apps.svc.cluster.local]
"""


def service(name: str, port: ServicePort, **fields) -> Service:
    host = fields.pop("host", f"{name}.test")
    fields.setdefault("resolution", Resolution.ENDPOINTS)
    return Service(ServiceKey(host, "apps"), name, (port,), origin=Origin.SERVICE_ENTRY, **fields)


def listeners(world, who) -> dict[str, ListenerSpec]:
    found = outbound(world, who, scope_of(world, who)).listeners
    assert len({listener.name for listener in found}) == len(found)
    return {listener.name: listener for listener in found}


def clusters(listener: ListenerSpec) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [
        (chain.match.server_names or chain.match.destinations, tuple(name for name, _ in chain.handler.clusters))
        for chain in listener.chains
        if not isinstance(chain.handler, HttpConnection)
    ]


def test_http_ports_share_a_listener_and_bytes_have_one_per_address(snapshot, view):
    found = listeners(snapshot(), view())
    assert sorted(found) == sorted(
        ["0.0.0.0_80", "virtualOutbound", *(f"10.255.0.{n}_{port}" for n in (1, 2, 3) for port in (9000, 8443))]
    )
    http = found["0.0.0.0_80"]
    assert http.chains[0].handler.routes == "80"
    assert http.chains[0].match.application_protocols == ("http/1.1", "h2c")
    assert (http.http_inspector, http.bind_to_port) == (True, False)
    assert http.default_chain.name == "PassthroughFilterChain"
    tcp = found["10.255.0.2_9000"]
    assert clusters(tcp) == [((), ("outbound|9000||b.apps.svc.cluster.local",))]
    # A server that speaks first must not be waited for.
    assert not tcp.http_inspector
    assert not tcp.tls_inspector
    assert tcp.default_chain is None
    assert tcp.chains[0].handler.max_connect_attempts is None
    resilient = listeners(snapshot(isthmus={"defaults": "resilient"}), view())["10.255.0.2_9000"]
    assert resilient.chains[0].handler.max_connect_attempts == 3


@pytest.mark.parametrize(
    ("mode", "cluster"), [("ALLOW_ANY", "PassthroughCluster"), ("REGISTRY_ONLY", "BlackHoleCluster")]
)
def test_strangers(snapshot, view, mode, cluster):
    found = listeners(snapshot(outboundTrafficPolicy={"mode": mode}), view())
    capture = found["virtualOutbound"]
    assert [chain.name for chain in capture.chains] == ["virtualOutbound-blackhole", "virtualOutbound-catchall-tcp"]
    assert (capture.port, capture.use_original_dst) == (15001, True)
    assert capture.chains[1].handler.clusters == ((cluster, 1),)
    assert found["0.0.0.0_80"].default_chain.handler.clusters == ((cluster, 1),)


def test_undeclared_protocol_is_detected_at_its_own_address(snapshot, view):
    auto = service("auto", ServicePort(9090, "auto", Protocol.AUTO), vips=("10.255.1.1",))
    found = listeners(snapshot(services=[auto]), view())["10.255.1.1_9090"]
    assert found.chains[0].handler.routes == "auto.test:9090"
    # It would wait for five bytes, which a short word of a TCP protocol does not have.
    assert (found.http_inspector, found.tls_inspector) == (True, False)
    assert found.http_inspector
    assert not found.tls_inspector  # it would wait for more bytes than a short line has
    # The default chain, as Envoy would not come back to one without a transport after the HTTP chain's "raw_buffer".
    assert (clusters(found), found.default_chain.handler.clusters) == ([], (("outbound|9090||auto.test", 1),))


def test_bytes_of_a_service_with_addresses_of_another_family_are_not_caught(snapshot, view):
    port = ServicePort(9000, "tcp", Protocol.TCP)
    six = service("six", port, vips=("2001:db8::1",))
    assert set(listeners(snapshot(services=[six]), view())) == {"virtualOutbound"}


def test_an_address_that_the_mesh_gave_is_for_those_whose_dns_answers_with_it(snapshot, view):
    port = ServicePort(9000, "tcp", Protocol.TCP)
    given = service("x", port, vips=("240.240.0.9",), auto_vip=True)
    assert "240.240.0.9_9000" in listeners(snapshot(services=[given]), view(dns_capture=True))
    assert set(listeners(snapshot(services=[given]), view())) == {"0.0.0.0_9000", "virtualOutbound"}


def test_callers_of_resolution_none_choose_among_selected_workloads(snapshot, view):
    tcp = ServicePort(9000, "tcp", Protocol.TCP, 9000)
    chosen = service("x", tcp, resolution=Resolution.PASSTHROUGH, selector=Labels({"app": "x"}))
    members = {chosen.key: (Endpoint("10.0.0.7", (("tcp", 9000),)), Endpoint("name.test", (("tcp", 9000),)))}
    found = listeners(snapshot(services=[chosen], endpoints=members), view())
    assert set(found) == {"10.0.0.7_9000", "virtualOutbound"}
    assert set(listeners(snapshot(services=[chosen]), view())) == {"virtualOutbound"}


def test_http_and_tcp_without_address_share_a_detecting_listener(snapshot, view):
    http = service("web", ServicePort(9000, "http", Protocol.HTTP))
    tcp = service("db", ServicePort(9000, "tcp", Protocol.TCP))
    found = listeners(snapshot(services=[http, tcp]), view())["0.0.0.0_9000"]
    assert found.chains[0].handler.routes == "9000"
    assert (clusters(found), found.default_chain.handler.clusters) == ([], (("outbound|9000||db.test", 1),))


@pytest.mark.parametrize(
    ("older", "younger", "bytes_of", "detected"),
    [
        (Protocol.HTTP, Protocol.AUTO, "", True),
        (Protocol.AUTO, Protocol.HTTP, "one.test", True),
        (Protocol.AUTO, Protocol.AUTO, "one.test", True),
        (Protocol.TCP, Protocol.AUTO, "one.test", True),
        (Protocol.MYSQL, Protocol.HTTP, "one.test", False),
        (Protocol.HTTP, Protocol.MYSQL, "", True),
    ],
)
def test_what_cannot_share_a_listener_leaves_it_to_the_older(snapshot, view, older, younger, bytes_of, detected):
    services = [
        service("one", ServicePort(9900, "p", older), created="2024-01-01T00:00:00Z"),
        service("two", ServicePort(9900, "p", younger), created="2024-01-02T00:00:00Z"),
    ]
    listener = listeners(snapshot(services=services), view())["0.0.0.0_9900"]
    chains = [*listener.chains, *([listener.default_chain] if listener.default_chain else [])]
    to = [name for chain in chains if isinstance(chain.handler, TcpProxy) for name, _ in chain.handler.clusters]
    assert to == [f"outbound|9900||{bytes_of}" if bytes_of else "PassthroughCluster"]
    assert listener.http_inspector is detected


def test_members_that_a_selector_chooses_are_dialed_themselves(snapshot, view):
    members = service(
        "m", ServicePort(9900, "p", Protocol.TCP), resolution=Resolution.PASSTHROUGH, selector={"app": "m"}
    )
    endpoints = {members.key: (Endpoint("10.0.0.7", (("p", 9900),)),)}
    found = listeners(snapshot(services=[members], endpoints=endpoints), view())
    assert set(found) == {"10.0.0.7_9900", "virtualOutbound"}


def test_a_port_that_every_proxy_listens_on_is_left_alone(snapshot, view):
    ports = [ServicePort(15001, "http", Protocol.HTTP), ServicePort(15021, "tcp", Protocol.TCP)]
    services = [service(port.name, port) for port in ports]
    services.append(service("vip", ServicePort(15006, "tcp", Protocol.TCP), vips=("10.255.1.1",)))
    world, who = snapshot(services=services), view()
    built = outbound(world, who, scope_of(world, who))
    assert [listener.name for listener in built.listeners] == ["10.255.1.1_15006", "virtualOutbound"]
    assert [(finding.code, finding.path) for finding in built.findings] == [
        ("ReservedPort", "spec.ports[http]"),
        ("ReservedPort", "spec.ports[tcp]"),
    ]


def test_of_two_claims_on_the_same_bytes_the_older_wins_and_the_other_is_named(snapshot, view):
    one, two = (service(name, ServicePort(9000, "tcp", Protocol.TCP)) for name in ("one", "two"))
    world, who = snapshot(services=[one, two]), view()
    built = outbound(world, who, scope_of(world, who))
    assert clusters(built.listeners[0]) == [((), ("outbound|9000||one.test",))]
    assert [(finding.code, "two.test" in finding.message) for finding in built.findings] == [("ListenerConflict", True)]


def test_tls_without_an_address_is_told_apart_by_server_name(snapshot, view):
    port = ServicePort(443, "tls", Protocol.TLS)
    worlds = [service("x", port), service("wild", port, host="*.wild.test"), service("vip", port, vips=("10.255.1.1",))]
    found = listeners(snapshot(services=worlds), view())
    assert clusters(found["0.0.0.0_443"]) == [
        (("x.test",), ("outbound|443||x.test",)),
        (("*.wild.test",), ("outbound|443||*.wild.test",)),
    ]
    assert found["0.0.0.0_443"].tls_inspector
    assert clusters(found["10.255.1.1_443"]) == [((), ("outbound|443||vip.test",))]


def test_a_range_is_matched_on_the_shared_listener(snapshot, view):
    net = service(
        "net", ServicePort(6379, "tcp", Protocol.TCP), vips=("10.9.0.0/16",), resolution=Resolution.PASSTHROUGH
    )
    assert clusters(listeners(snapshot(services=[net]), view())["0.0.0.0_6379"]) == [
        (("10.9.0.0/16",), ("outbound|6379||net.test",))
    ]


def test_bytes_of_a_headless_service_are_caught_per_member(snapshot, view):
    db = service("db", ServicePort(5432, "tcp", Protocol.TCP), headless=True, resolution=Resolution.PASSTHROUGH)
    members = {db.key: tuple(Endpoint(f"10.244.0.{n}", (("tcp", 5432),)) for n in (5, 6))}
    found = listeners(snapshot(services=[db], endpoints=members), view())
    assert sorted(found) == ["10.244.0.5_5432", "10.244.0.6_5432", "virtualOutbound"]


def test_tcp_rule_with_weights_and_source_labels(snapshot, view):
    rule = VS + (
        "  tcp:\n"
        "  - match: [{port: 9000, sourceLabels: {app: d}}]\n"
        "    route: [{destination: {host: a}}]\n"
        "  - match: [{port: 9000}]\n"
        "    route: [{destination: {host: a}, weight: 1}, {destination: {host: c.other.svc.cluster.local}, weight: 3}]\n"
    )
    listener = listeners(snapshot(rule), view())["10.255.0.2_9000"]
    assert listener.chains[0].handler.clusters == (
        ("outbound|9000||a.apps.svc.cluster.local", 1),
        ("outbound|9000||c.other.svc.cluster.local", 3),
    )
    other = listeners(snapshot(rule), view(labels={"app": "d"}))["10.255.0.2_9000"]
    assert clusters(other) == [((), ("outbound|9000||a.apps.svc.cluster.local",))]


def test_a_rules_policy_reaches_the_proxy_of_bytes(snapshot, view):
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: apps}
spec:
  host: b.apps.svc.cluster.local
  trafficPolicy:
    connectionPool: {tcp: {idleTimeout: 0s}}
    tunnel: {protocol: POST, targetHost: far.test, targetPort: 443}
"""
    proxy = listeners(snapshot(rule), view())["10.255.0.2_9000"].chains[0].handler
    assert (proxy.idle_timeout, proxy.tunnel) == (0.0, TunnelSpec("far.test:443", post=True))


def test_strangers_go_to_the_egress_proxy(snapshot, view):
    sidecar = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: apps}
spec: {outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: b, port: {number: 9000}}}}
"""
    found = listeners(snapshot(sidecar), view())
    proxy = (("outbound|9000||b.apps.svc.cluster.local", 1),)
    assert found["virtualOutbound"].chains[1].handler.clusters == proxy
    assert found["0.0.0.0_80"].default_chain.handler.clusters == proxy


def test_tls_rule_by_server_name(snapshot, view):
    rule = VS + (
        "  tls:\n"
        "  - match: [{port: 8443, sniHosts: [b.apps.svc.cluster.local]}]\n"
        "    route: [{destination: {host: c.other.svc.cluster.local}}]\n"
    )
    listener = listeners(snapshot(rule), view())["10.255.0.2_8443"]
    assert clusters(listener) == [(("b.apps.svc.cluster.local",), ("outbound|8443||c.other.svc.cluster.local",))]


@pytest.mark.parametrize(("exact", "wide", "first"), [("x", "y", "c"), ("y", "x", "d")])
def test_the_oldest_rule_for_bytes_holds_however_exact_its_host(snapshot, view, exact, wide, first):
    tcp = "  tcp: [{match: [{port: 9000}], route: [{destination: {host: %s.other.svc.cluster.local}}]}]\n"
    one = VS.replace("name: v", f"name: {exact}") + tcp % "c"
    other = VS.replace("name: v", f"name: {wide}").replace("[b.apps.svc.cluster.local]", "['*.local']") + tcp % "d"
    listener = listeners(snapshot(f"{one}---{other}"), view())["10.255.0.2_9000"]
    assert clusters(listener)[0][1] == (f"outbound|9000||{first}.other.svc.cluster.local",)


def test_a_rule_for_a_name_within_a_wildcard_host_speaks_for_its_bytes(snapshot, view):
    world = snapshot(
        VS.replace("b.apps.svc.cluster.local", "one.wild.test")
        + "  tls: [{match: [{sniHosts: [one.wild.test]}], route: [{destination: {host: c.other.svc.cluster.local}}]}]\n",
        services=[
            service(
                "wild", ServicePort(8443, "tls", Protocol.TLS), host="*.wild.test", resolution=Resolution.PASSTHROUGH
            )
        ],
    )
    listener = listeners(world, view())["0.0.0.0_8443"]
    assert clusters(listener) == [(("one.wild.test",), ("outbound|8443||c.other.svc.cluster.local",))]


def test_a_server_name_that_a_second_rule_repeats_stays_with_the_first(snapshot, view):
    tls = "  tls:\n  - match: [{sniHosts: [%s]}]\n    route: [{destination: {host: %s.other.svc.cluster.local}}]\n"
    first = VS + tls % ("b.apps.svc.cluster.local", "c")
    second = VS.replace("name: v,", "name: z,").replace("hosts: [", "hosts: [x.apps.svc.cluster.local, ")
    second += tls % ("x.apps.svc.cluster.local, b.apps.svc.cluster.local", "d")
    listener = listeners(snapshot(f"{first}---{second}"), view())["10.255.0.2_8443"]
    assert clusters(listener) == [
        (("b.apps.svc.cluster.local",), ("outbound|8443||c.other.svc.cluster.local",)),
        (("x.apps.svc.cluster.local",), ("outbound|8443||d.other.svc.cluster.local",)),
    ]


SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: apps}
spec:
  egress:
  - {port: {number: 81, name: http-81, protocol: HTTP}, hosts: ["other/*"]}
  - {hosts: ["./*"]}
"""


def test_a_sidecar_port_is_locked_for_its_hosts(snapshot, view):
    ports = tuple(ServicePort(number, f"http{number}", Protocol.HTTP) for number in (80, 81))
    services = [
        Service(
            ServiceKey(f"{name}.{namespace}.svc.cluster.local", namespace),
            name,
            ports,
            Resolution.ENDPOINTS,
            Origin.KUBERNETES,
        )
        for name, namespace in (("b", "apps"), ("c", "other"))
    ]
    world, who = snapshot(SIDECAR, services=services), view()
    scope = scope_of(world, who)
    built = outbound(world, who, scope)
    by_name = {need.name: [service.name for service in need.listener.services] for need in built.routes}
    assert by_name == {"80": ["b"], "81": ["c"]}
    assert {service.name for service in scope.services} == {"b", "c"}


def test_views_that_differ_in_place_only_share_a_scope(snapshot, view):
    world = snapshot()
    assert scope_of(world, view(cluster="x", network="n1")) is scope_of(world, view(cluster="y", network="n2"))
    assert scope_of(world, view()) is not scope_of(world, view(labels={"app": "z"}))


def test_other_protocols_stay_off_a_sidecar_port(snapshot, view):
    other = service("db", ServicePort(81, "tcp", Protocol.TCP))
    mine = Service(
        ServiceKey("c.other.svc.cluster.local", "other"),
        "c",
        (ServicePort(81, "http", Protocol.HTTP),),
        Resolution.ENDPOINTS,
        Origin.KUBERNETES,
    )
    listener = listeners(snapshot(SIDECAR, services=[mine, other]), view())["0.0.0.0_81"]
    assert clusters(listener) == []


def test_a_rules_destination_is_known_though_the_sidecar_does_not_list_it(snapshot, view):
    text = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: apps}
spec: {egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b, namespace: apps}
spec: {hosts: [b], http: [{route: [{destination: {host: c.other.svc.cluster.local}}]}]}
"""
    scope = scope_of(snapshot(text), view())
    assert sorted(service.name for service in scope.services) == ["a", "b", "c"]
    assert sorted(service.name for service in scope.listeners[0].services) == ["a", "b"]


def chains_of(world, who, port: int) -> list[tuple]:
    """Destinations, sources, and where to, of each chain; the default chain comes last."""
    found = listeners(world, who)[f"10.255.0.2_{port}"]
    chains = [*found.chains, *([found.default_chain] if found.default_chain else [])]
    return [
        (chain.match.destinations, chain.match.sources, tuple(name for name, _ in chain.handler.clusters))
        for chain in chains
    ]


def test_a_tcp_rule_may_look_at_where_the_connection_goes_and_comes_from(snapshot, view):
    rule = VS + (
        "  tcp:\n"
        "  - match: [{port: 9000, destinationSubnets: [10.0.0.0/8], sourceSubnet: 10.244.0.0/16}]\n"
        "    route: [{destination: {host: a}}]\n"
    )
    a, b = ("outbound|9000||a.apps.svc.cluster.local",), ("outbound|9000||b.apps.svc.cluster.local",)
    assert chains_of(snapshot(rule), view(), 9000) == [(("10.0.0.0/8",), ("10.244.0.0/16",), a), ((), (), b)]


def test_a_tcp_rule_leaves_tls_alone(snapshot, view):
    rule = VS + "  tcp:\n  - route: [{destination: {host: a}}]\n"
    assert chains_of(snapshot(rule), view(), 8443)[-1][2] == ("outbound|8443||b.apps.svc.cluster.local",)
    assert chains_of(snapshot(rule), view(), 9000) == [((), (), ("outbound|9000||a.apps.svc.cluster.local",))]


def test_a_tls_rule_holds_where_all_of_a_match_does(snapshot, view):
    rule = VS + (
        "  tls:\n"
        "  - match: [{port: 8443, sniHosts: [b.apps.svc.cluster.local], sourceLabels: {app: d}}]\n"
        "    route: [{destination: {host: c.other.svc.cluster.local}}]\n"
    )
    own, other = ("outbound|8443||b.apps.svc.cluster.local",), ("outbound|8443||c.other.svc.cluster.local",)
    assert {found[2] for found in chains_of(snapshot(rule), view(), 8443)} == {own}
    assert chains_of(snapshot(rule), view(labels={"app": "d"}), 8443)[0][2] == other
