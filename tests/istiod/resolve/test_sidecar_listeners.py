# ruff: noqa: E501 -- YAML in one line reads better
"""What a Sidecar resource and the proxy's interception make of listeners, on both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation.model.service import Origin
from istiod.resolve.config import resolve_view
from istiod.resolve.inbound import inbound_listeners
from istiod.resolve.inbound_ports import inbound_clusters
from istiod.resolve.specs.cluster import Discovery
from istiod.resolve.specs.listener import HttpConnection
from tests.istiod.resolve.conftest import HTTP, TCP, service, target

SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: apps}
spec: %s
"""
INGRESS = SIDECAR % "{ingress: [{port: {number: 9443, name: p, protocol: %s}, defaultEndpoint: '127.0.0.1:8080', %s}]}"
TLS = "tls: {mode: MUTUAL, serverCertificate: /c.crt, privateKey: /c.key, caCertificates: /ca.crt}"
PA = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p, namespace: apps}
spec: {mtls: {mode: %s}}
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %s, namespace: apps}
spec: {host: a, trafficPolicy: {connectionPool: {http: {http2MaxRequests: %d}}}%s}
---
"""


def listeners(world, who) -> dict:
    return {item.name: item for item in resolve_view(world, who).listeners}


def egress(text: str) -> str:
    return SIDECAR % f"{{egress: [{text}, {{hosts: ['*/*']}}]}}"


@pytest.mark.parametrize(
    ("said", "name", "captured"),
    [
        ("{port: {number: 80, protocol: HTTP, name: x}, hosts: ['*/*']}", "0.0.0.0_80", True),
        ("{port: {number: 80, protocol: HTTP, name: x}, captureMode: NONE, hosts: ['*/*']}", "127.0.0.1_80", False),
        (
            "{port: {number: 80, protocol: HTTP, name: x}, bind: 127.0.0.9, captureMode: NONE, hosts: ['*/*']}",
            "127.0.0.9_80",
            False,
        ),
        (
            "{port: {number: 0, protocol: HTTP, name: x}, bind: 'unix:///run/x.sock', hosts: ['*/*']}",
            "unix:///run/x.sock_0",
            False,
        ),
    ],
)
def test_where_an_egress_listener_is(snapshot, view, said, name, captured):
    found = listeners(snapshot(egress(said)), view())
    assert found[name].bind_to_port is not captured
    assert isinstance(found[name].chains[0].handler, HttpConnection)


def test_a_listener_has_the_services_with_its_port(snapshot, view):
    world = snapshot(egress("{port: {number: 9191, protocol: HTTP, name: x}, captureMode: NONE, hosts: ['*/*']}"))
    assert "127.0.0.1_9191" not in listeners(world, view())
    odd = service("odd", ports=(replace(HTTP, number=9191),))
    world = snapshot(egress("{port: {number: 9191, protocol: HTTP, name: x}, hosts: ['*/*']}"), [service("b"), odd])
    routes = next(item for item in resolve_view(world, view()).routes if item.name == "9191")
    assert [host.name for host in routes.virtual_hosts] == ["odd.apps.svc.cluster.local:9191", "allow_any"]


def test_hosts_of_a_port_are_those_of_the_listener_that_names_it(snapshot, view):
    """Also where that listener is for bytes at one address, and HTTP to the port is caught by the last one."""
    said = "{port: {number: 80, protocol: TCP, name: x}, hosts: ['other/*']}"
    config = resolve_view(snapshot(egress(said)), view())
    assert {"10.255.0.3_80", "0.0.0.0_80"} <= {item.name for item in config.listeners}
    (routes,) = (item for item in config.routes if item.name == "80")
    assert [host.name for host in routes.virtual_hosts] == ["c.other.svc.cluster.local:80", "allow_any"]


def test_of_one_host_in_two_listeners_the_first_ones_service_has_the_upstreams(snapshot, view):
    odd = service("x", "other", ports=(replace(HTTP, number=81),), host="x.test", origin=Origin.SERVICE_ENTRY)
    own = service("x", "apps", ports=(HTTP,), host="x.test", origin=Origin.SERVICE_ENTRY)
    said = "{port: {number: 81, protocol: HTTP, name: x}, hosts: ['other/x.test']}"
    config = resolve_view(snapshot(egress(said), [own, odd]), view())
    assert [cluster.name for cluster in config.clusters if "x.test" in cluster.name] == ["outbound|81||x.test"]


def test_a_catch_all_listener_may_be_bound(snapshot, view):
    found = listeners(snapshot(SIDECAR % "{egress: [{bind: 127.0.0.9, captureMode: NONE, hosts: ['*/*']}]}"), view())
    assert found["127.0.0.9_80"].bind_to_port
    assert found["127.0.0.9_9000"].bind_to_port
    assert "0.0.0.0_80" not in found


def test_an_http_proxy_and_a_socket_have_hosts_of_all_ports(snapshot, view):
    proxy = "{port: {number: 9191, protocol: HTTP_PROXY, name: x}, captureMode: NONE, hosts: ['*/*']}"
    socket = "{port: {number: 0, protocol: HTTP, name: x}, bind: 'unix:///run/x.sock', hosts: ['*/*']}"
    config = resolve_view(snapshot(SIDECAR % f"{{egress: [{proxy}, {socket}]}}"), view())
    for name in ("9191", "unix:///run/x.sock"):
        routes = next(item for item in config.routes if item.name == name)
        domains = {domain: host for host in routes.virtual_hosts for domain in host.domains}
        assert not routes.ignore_port_in_host_matching
        assert domains["b.apps"] is domains["b.apps:80"]
        assert "*" in domains


def test_a_socket_of_bytes_leads_to_a_service_of_one_port(snapshot, view):
    only = service("db", ports=(TCP,), vips=("10.255.0.7",))
    said = "{port: {number: 0, protocol: TCP, name: x}, bind: 'unix:///run/db.sock', hosts: ['*/db.apps.svc.cluster.local']}"
    found = listeners(snapshot(egress(said), services=[only]), view())["unix:///run/db.sock_0"]
    assert found.chains[0].handler.clusters == (("outbound|9000||db.apps.svc.cluster.local", 1),)


def test_the_meshs_http_proxy(snapshot, view):
    found = listeners(snapshot(proxyHttpPort=9195), view())
    assert found["127.0.0.1_9195"].bind_to_port
    assert "127.0.0.1_9195" not in listeners(snapshot(), view())


def test_without_interception_everything_is_dialled(snapshot, view):
    found = listeners(snapshot(), view(interception="NONE", targets=(target(HTTP),)))
    assert found["127.0.0.1_80"].bind_to_port
    assert "virtualInbound" not in found
    opened = INGRESS % ("HTTP", "bind: 10.1.1.1")
    world = snapshot(opened)
    assert [item.name for item in inbound_listeners(world, view(interception="NONE"))] == ["10.1.1.1_9443"]
    assert inbound_listeners(world, view())[0].name == "virtualInbound"


def test_an_ingress_listener_without_capture_is_opened(snapshot, view):
    virtual, opened = inbound_listeners(snapshot(INGRESS % ("HTTP", "captureMode: NONE")), view())
    assert not any(chain.match.destination_port == 9443 for chain in virtual.chains)
    assert (opened.name, opened.bind_to_port, opened.original_dst_filter) == ("0.0.0.0_9443", True, False)
    assert {chain.match.transport_protocol for chain in opened.chains} == {"tls", "raw_buffer"}


@pytest.mark.parametrize(
    ("mode", "protocol", "expected"),
    [
        ("DISABLE", "HTTPS", [("tls", True, "file-cert:/c.crt~/c.key")]),
        ("STRICT", "HTTPS", [("tls", True, "default")]),
        (
            "PERMISSIVE",
            "HTTPS",
            [("tls", True, "default"), ("raw_buffer", True, None), ("tls", True, "file-cert:/c.crt~/c.key")],
        ),
        (
            "PERMISSIVE",
            "TLS",
            [("tls", False, "default"), ("raw_buffer", False, None), ("tls", False, "file-cert:/c.crt~/c.key")],
        ),
    ],
)
def test_tls_of_callers_from_outside(snapshot, view, mode, protocol, expected):
    listener = inbound_listeners(snapshot(INGRESS % (protocol, TLS) + PA % mode), view())[0]
    found = [chain for chain in listener.chains if chain.match.destination_port == 9443]
    assert [
        (c.match.transport_protocol, isinstance(c.handler, HttpConnection), c.tls and c.tls.certificates[0].name)
        for c in found
    ] == expected
    assert 9443 not in listener.skip.tls_inspector


def test_the_application_at_localhost(snapshot, view):
    who = view(targets=(target(HTTP),))
    cluster = inbound_clusters(snapshot(inboundTrafficPolicy={"mode": "LOCALHOST"}), who)[0]
    assert (cluster.discovery, cluster.endpoints.localities[0].endpoints[0].address) == (Discovery.STATIC, "127.0.0.1")
    assert inbound_clusters(snapshot(), who)[0].discovery is Discovery.ORIGINAL_DST


def test_a_rules_pool_holds_at_the_server_unless_the_sidecar_says_otherwise(snapshot, view):
    who = view(targets=(target(HTTP),), labels={"app": "a"})
    selecting = RULE % ("b", 9, ", workloadSelector: {matchLabels: {app: a}}")
    assert inbound_clusters(snapshot(RULE % ("a", 7, "") + selecting), who)[0].breakers.max_requests == 7
    own = SIDECAR % "{inboundConnectionPool: {http: {http2MaxRequests: 3}}}"
    assert inbound_clusters(snapshot(RULE % ("a", 7, "") + own), who)[0].breakers.max_requests == 3


def test_names_of_statistics(snapshot, view):
    world = snapshot(
        outboundClusterStatName="%SERVICE%_%SERVICE_PORT_NAME%_%SERVICE_PORT%",
        inboundClusterStatName="%SERVICE_FQDN%|%TARGET_PORT%",
    )
    names = {c.name: c.alt_stat_name for c in resolve_view(world, view(targets=(target(HTTP),))).clusters}
    assert names["outbound|80||b.apps.svc.cluster.local"] == "b.apps_http_80;"
    assert names["inbound|8080||"] == "a.apps.svc.cluster.local|8080;"
