"""Inbound chains: port protocol x mutual TLS mode, names, secrets, and the ports nobody declared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation.model.names import ServiceKey
from federation.model.service import Protocol, ServicePort
from istiod.resolve.connection import MESH_ANY, MESH_HTTP, MESH_TCP
from istiod.resolve.inbound import inbound_listener
from istiod.resolve.inbound_ports import inbound_clusters, port_conflicts
from istiod.resolve.specs.cluster import Discovery, HttpVersion
from istiod.resolve.specs.listener import ClientCert, HttpConnection
from istiod.resolve.specs.tls import SecretSource
from istiod.view.proxy import ServiceTarget

KEY = ServiceKey("a.apps.svc.cluster.local", "apps")
PA = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p, namespace: apps}
spec: {selector: {matchLabels: {app: a}}, mtls: {mode: %s}}
"""


def targets(*protocols: tuple[int, Protocol]) -> tuple[ServiceTarget, ...]:
    return tuple(ServiceTarget(KEY, ServicePort(n - 8000, f"p{n}", protocol, n), n) for n, protocol in protocols)


def forms(listener, port):
    return [
        (
            chain.match.transport_protocol,
            chain.match.application_protocols,
            isinstance(chain.handler, HttpConnection),
            chain.tls is not None,
        )
        for chain in listener.chains
        if chain.match.destination_port == port
    ]


PLAIN = ("http/1.1", "h2c")


@pytest.mark.parametrize(
    ("protocol", "mode", "expected"),
    [
        (Protocol.HTTP, "PERMISSIVE", [("tls", MESH_ANY, True, True), ("raw_buffer", (), True, False)]),
        (Protocol.HTTP, "STRICT", [("tls", (), True, True)]),
        (Protocol.HTTP, "DISABLE", [("", (), True, False)]),
        (
            Protocol.TCP,
            "PERMISSIVE",
            [("tls", MESH_ANY, False, True), ("tls", (), False, False), ("raw_buffer", (), False, False)],
        ),
        (Protocol.HTTPS, "STRICT", [("tls", (), False, True)]),
        (Protocol.TCP, "DISABLE", [("", (), False, False)]),
        (
            Protocol.AUTO,
            "PERMISSIVE",
            [
                ("tls", MESH_HTTP, True, True),
                ("raw_buffer", PLAIN, True, False),
                ("tls", MESH_TCP, False, True),
                ("raw_buffer", (), False, False),
                ("tls", (), False, False),
            ],
        ),
        (Protocol.AUTO, "STRICT", [("tls", MESH_HTTP, True, True), ("tls", (), False, True)]),
        (Protocol.AUTO, "DISABLE", [("raw_buffer", PLAIN, True, False), ("", (), False, False)]),
    ],
)
def test_matrix(snapshot, view, protocol, mode, expected):
    listener = inbound_listener(snapshot(PA % mode), view(targets=targets((8080, protocol))))
    assert forms(listener, 8080) == expected
    matches = [chain.match for chain in listener.chains]
    assert len(matches) == len(set(matches))


def test_names_and_guard(snapshot, view):
    listener = inbound_listener(snapshot(), view(targets=targets((8080, Protocol.HTTP))))
    assert (listener.name, listener.port, listener.original_dst_filter) == ("virtualInbound", 15006, True)
    assert listener.chains[0].name == "virtualInbound-blackhole"
    assert listener.chains[0].match.destination_port == 15006
    assert listener.chains[0].handler.clusters == (("BlackHoleCluster", 1),)
    http = next(chain for chain in listener.chains if chain.name == "0.0.0.0_8080")
    routes = http.handler.routes
    assert routes.name == "inbound|8080||"
    assert routes.virtual_hosts[0].name == "inbound|http|80"
    assert routes.virtual_hosts[0].routes[0].operation == "a.apps.svc.cluster.local:80/*"
    assert http.handler.client_cert is ClientCert.APPEND_FORWARD


def test_server_certificate_and_alpn(snapshot, view):
    world = snapshot(PA % "STRICT")
    ports = targets((8080, Protocol.HTTP), (9000, Protocol.TCP))
    http, tcp = (
        next(c for c in inbound_listener(world, view(targets=ports)).chains if c.match.destination_port == n).tls
        for n in (8080, 9000)
    )
    assert http.alpn == ("h2", "http/1.1")
    assert tcp.alpn == ()
    assert http.require_client_certificate
    assert (http.certificates[0].name, http.roots.name) == ("default", "ROOTCA")
    assert http.certificates[0].source is SecretSource.ADS
    agent = inbound_listener(world, view(targets=ports, agentless=False))
    assert next(c for c in agent.chains if c.tls).tls.roots.source is SecretSource.SDS_GRPC


def test_ports_nobody_declared_follow_the_mode_too(snapshot, view):
    assert len(forms(inbound_listener(snapshot(), view()), 0)) == 5
    strict = forms(inbound_listener(snapshot(PA % "STRICT"), view()), 0)
    assert {transport for transport, *_ in strict} == {"tls"}


def test_a_port_singled_out_by_a_policy_gets_chains_though_no_service_lists_it(snapshot, view):
    policy = PA.replace("mtls: {mode: %s}", "mtls: {mode: STRICT}, portLevelMtls: {9090: {mode: DISABLE}}")
    listener = inbound_listener(snapshot(policy), view())
    assert [transport for transport, *_ in forms(listener, 9090)] == ["raw_buffer", ""]


def test_inspectors_do_not_wait_where_the_server_may_speak_first(snapshot, view):
    ports = targets((8080, Protocol.HTTP), (9001, Protocol.TCP), (8088, Protocol.AUTO))
    assert inbound_listener(snapshot(), view(targets=ports)).skip.http_inspector == (8080, 9001, 15006)
    disabled = inbound_listener(snapshot(PA % "DISABLE"), view(targets=ports))
    assert disabled.skip.tls_inspector == (8080, 8088, 9001, 15006)


def test_upstreams_to_the_application(snapshot, view):
    ports = targets((7070, Protocol.GRPC), (8080, Protocol.HTTP), (9000, Protocol.TCP))
    clusters = {cluster.name: cluster for cluster in inbound_clusters(snapshot(), view(targets=ports))}
    assert list(clusters) == ["inbound|7070||", "inbound|8080||", "inbound|9000||", "InboundPassthroughCluster"]
    assert {cluster.discovery for cluster in clusters.values()} == {Discovery.ORIGINAL_DST}
    assert {cluster.bind_addresses for cluster in clusters.values()} == {("127.0.0.6",)}
    assert clusters["inbound|7070||"].http.version is HttpVersion.HTTP2
    assert clusters["inbound|8080||"].http.version is HttpVersion.HTTP1


def test_the_older_service_decides_on_a_shared_port(snapshot, view):
    other = ServiceTarget(
        ServiceKey("z.apps.svc.cluster.local", "apps"), ServicePort(90, "x", Protocol.TCP, 8080), 8080
    )
    sharing = view(targets=(*targets((8080, Protocol.HTTP)), other))
    assert forms(inbound_listener(snapshot(), sharing), 8080)[0][2]
    assert [service.host for service in inbound_clusters(snapshot(), sharing)[0].services] == [
        KEY.host,
        other.service.host,
    ]
    assert [finding.code for finding in port_conflicts(sharing)] == ["InboundPortConflict"]


INGRESS = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a, namespace: apps}
spec:
  workloadSelector: {labels: {app: a}}
  ingress:
  - {port: {number: 8080, name: http, protocol: HTTP}, defaultEndpoint: "%s"}
  egress: [{hosts: ["*/*"]}]
"""


def test_sidecar_ingress_replaces_the_services_ports(snapshot, view):
    ports = targets((8080, Protocol.TCP), (9000, Protocol.TCP))
    instance, loopback, unix = (
        inbound_clusters(snapshot(INGRESS % endpoint), view(targets=ports))[0]
        for endpoint in ("0.0.0.0:9090", "127.0.0.1:9091", "unix:///run/app.sock")
    )
    assert (instance.name, instance.discovery, instance.original_dst_port) == (
        "inbound|8080||",
        Discovery.ORIGINAL_DST,
        9090,
    )
    assert loopback.discovery is Discovery.STATIC
    assert (
        loopback.endpoints.localities[0].endpoints[0].address,
        loopback.endpoints.localities[0].endpoints[0].port,
    ) == (
        "127.0.0.1",
        9091,
    )
    assert unix.endpoints.localities[0].endpoints[0].address == "unix:///run/app.sock"
    listener = inbound_listener(snapshot(INGRESS % "0.0.0.0:9090"), view(targets=ports))
    assert forms(listener, 9000) == []
    assert forms(listener, 8080)[0][2]


@pytest.mark.parametrize(
    ("said", "ipv4", "ipv6", "dialled"),
    [
        ("127.0.0.1", True, True, "127.0.0.1"),
        ("[::1]", True, True, "::1"),
        ("[::1]", True, False, "127.0.0.1"),
        ("127.0.0.1", False, True, "::1"),
    ],
)
def test_the_loopback_of_a_default_endpoint_is_one_that_the_pod_has(snapshot, view, said, ipv4, ipv6, dialled):
    cluster = inbound_clusters(snapshot(INGRESS % f"{said}:9091"), view(ipv4=ipv4, ipv6=ipv6))[0]
    assert cluster.endpoints.localities[0].endpoints[0].address == dialled


def test_pools_of_a_sidecar_limit_what_reaches_the_application(snapshot, view):
    text = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: apps}
spec:
  inboundConnectionPool: {tcp: {maxConnections: 7, connectTimeout: 2s}, http: {h2UpgradePolicy: UPGRADE}}
"""
    of_mesh, _ = inbound_clusters(snapshot(text), view(targets=targets((8080, Protocol.HTTP))))
    assert (of_mesh.breakers.max_connections, of_mesh.connect_timeout) == (7, 2.0)
    # It is about the application, which still gets the HTTP that it speaks.
    assert of_mesh.http.version is HttpVersion.HTTP1
    text += "  ingress: [{port: {number: 8080, protocol: HTTP}, connectionPool: {http: {http2MaxRequests: 3}}}]\n"
    of_port, _ = inbound_clusters(snapshot(text), view(targets=targets((8080, Protocol.HTTP))))
    assert (of_port.breakers.max_connections, of_port.breakers.max_requests) == (None, 3)


def test_callers_of_the_mesh_are_of_its_trust_domains(snapshot, view):
    world = replace(snapshot(PA % "STRICT", trust_domain="td1", trust_domain_aliases=("old",)), peer_domains=("td2",))
    chains = [chain for chain in inbound_listener(world, view()).chains if chain.tls is not None]
    assert chains
    for chain in chains:
        assert [match.value for match in chain.tls.san_matches] == ["spiffe://td1/", "spiffe://old/", "spiffe://td2/"]


def test_the_meshs_default_pool_holds_at_the_server_too(snapshot, view):
    world = snapshot(
        defaultTrafficPolicy={"connectionPool": {"http": {"http2MaxRequests": 3}}},
        tcpKeepalive={"time": "10s"},
        connectTimeout="5s",
    )
    found = inbound_clusters(world, view(targets=targets((8080, Protocol.HTTP))))
    assert [(item.name, item.breakers.max_requests, item.keepalive.time, item.connect_timeout) for item in found] == [
        ("inbound|8080||", 3, 10, 5.0),
        ("InboundPassthroughCluster", 3, 10, 5.0),
    ]
