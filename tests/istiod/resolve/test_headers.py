"""What proxies do with headers, by the mesh's settings and by a proxy's own; what gateways believe."""

from __future__ import annotations

import pytest

from istiod.api.proxysettings import ProxyHeaders, Topology
from istiod.resolve.config import resolve_view
from istiod.resolve.specs.listener import ClientCert, HttpConnection
from istiod.view.proxy import ProxyType
from tests.istiod.resolve.conftest import HTTP, target

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web, namespace: apps}
spec: {selector: {app: a}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: apps}
spec: {hosts: ["x.test"], gateways: [web], http: [{rewrite: {authority: y.test}, route: [{destination: {host: b}}]}]}
"""
ALL_OFF = {
    "server": {"disabled": True},
    "attemptCount": {"disabled": True},
    "requestId": {"disabled": True},
    "envoyDebugHeaders": {"disabled": True},
}


def connection(config, listener: str) -> HttpConnection:
    found = next(item for item in config.listeners if item.name == listener)
    return next(chain.handler for chain in found.chains if isinstance(chain.handler, HttpConnection))


def config(snapshot, view, headers: dict | None = None, text: str = "", **fields):
    settings = {"defaultConfig": {"proxyHeaders": headers}} if headers is not None else {}
    return resolve_view(snapshot(text, **settings), view(targets=(target(HTTP),), **fields))


def test_defaults(snapshot, view):
    found = config(snapshot, view)
    inbound, outbound = connection(found, "virtualInbound"), connection(found, "0.0.0.0_80")
    assert (inbound.server_name, outbound.server_name) == ("istio-envoy", "envoy")
    assert inbound.client_cert is ClientCert.APPEND_FORWARD
    assert inbound.client_cert_parts == ("subject", "uri", "dns")
    assert (inbound.request_ids, inbound.debug_headers, inbound.server_untouched) == (True, True, False)
    assert all(host.include_attempt_count for routes in found.routes for host in routes.virtual_hosts)
    assert not any(c.http.preserve_header_case for c in found.clusters)


@pytest.mark.parametrize("listener", ["virtualInbound", "0.0.0.0_80"])
def test_headers_may_be_switched_off(snapshot, view, listener):
    found = config(snapshot, view, ALL_OFF)
    http = connection(found, listener)
    assert (http.server_untouched, http.request_ids, http.debug_headers) == (True, False, False)
    assert not any(host.include_attempt_count for routes in found.routes for host in routes.virtual_hosts)


def test_what_is_said_of_the_caller(snapshot, view):
    parts = {"subject": False, "cert": True, "uri": True}
    said = {"forwardedClientCert": "SANITIZE_SET", "setCurrentClientCertDetails": parts, "server": {"value": "me"}}
    http = connection(config(snapshot, view, said), "virtualInbound")
    assert (http.client_cert, http.client_cert_parts) == (ClientCert.SANITIZE_SET, ("uri", "dns", "cert"))
    assert http.server_name == "me"


def test_case_is_kept_on_both_sides(snapshot, view):
    found = config(snapshot, view, {"preserveHttp1HeaderCase": True, "xForwardedPort": {"enabled": True}})
    http = connection(found, "0.0.0.0_80")
    assert (http.preserve_header_case, http.forwarded_port) == (True, True)
    named = {c.name: c for c in found.clusters}
    assert named["outbound|80||b.apps.svc.cluster.local"].http.preserve_header_case
    assert named["inbound|8080||"].http.preserve_header_case


def test_a_proxys_own_settings_replace_the_meshs(snapshot, view):
    own = ProxyHeaders.model_validate({"server": {"value": "own"}})
    http = connection(config(snapshot, view, ALL_OFF, proxy_headers=own), "virtualInbound")
    assert (http.server_name, http.request_ids) == ("own", True)


def gateway(snapshot, view, **mesh):
    return resolve_view(snapshot(GATEWAY, **mesh), view(type=ProxyType.ROUTER))


def test_a_gateway_believes_nobody(snapshot, view):
    found = gateway(snapshot, view)
    http = connection(found, "0.0.0.0_80")
    assert (http.client_cert, http.trusted_hops) == (ClientCert.SANITIZE_SET, 0)
    assert http.client_cert_parts == ("subject", "uri", "dns", "cert")
    assert not found.listeners[0].proxy_protocol_filter
    assert not found.routes[0].virtual_hosts[0].routes[0].action.forwarded_host


def test_a_gateway_behind_others(snapshot, view):
    said = {"numTrustedProxies": 2, "forwardClientCertDetails": "ALWAYS_FORWARD_ONLY", "proxyProtocol": {}}
    headers = {"xForwardedHost": {"enabled": True}, "forwardedClientCert": "SANITIZE"}
    found = gateway(snapshot, view, defaultConfig={"gatewayTopology": said, "proxyHeaders": headers})
    http = connection(found, "0.0.0.0_80")
    assert (http.client_cert, http.trusted_hops) == (ClientCert.ALWAYS_FORWARD_ONLY, 2)
    assert http.client_cert_parts == ()
    assert found.listeners[0].proxy_protocol_filter
    assert found.routes[0].virtual_hosts[0].routes[0].action.forwarded_host
    own = resolve_view(snapshot(GATEWAY), view(type=ProxyType.ROUTER, topology=Topology(num_trusted_proxies=1)))
    assert connection(own, "0.0.0.0_80").trusted_hops == 1
