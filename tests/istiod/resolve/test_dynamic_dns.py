"""Hosts whose calls are looked up one by one: upstreams, and the filters that look names up."""

from __future__ import annotations

from federation.model.service import Origin, Protocol, Resolution, ServicePort
from istiod.resolve.config import resolve_view
from istiod.resolve.specs.cluster import Discovery, LbPolicy
from istiod.resolve.specs.dns import DnsCacheSpec, SniLookup
from istiod.resolve.specs.listener import HttpConnection
from tests.istiod.resolve.conftest import service

PORTS = (ServicePort(80, "http", Protocol.HTTP, 80), ServicePort(443, "tls", Protocol.TLS, 443))
WILD = service(
    "wild",
    ports=PORTS,
    host="*.wild.test",
    resolution=Resolution.DYNAMIC_DNS,
    origin=Origin.SERVICE_ENTRY,
    external=True,
)
CACHE = DnsCacheSpec(ipv4=True, ipv6=False, refresh_rate=60.0)
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: r, namespace: apps}
spec: {host: "*.wild.test", trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: %s}}}
"""


def resolved(snapshot, view, text: str = ""):
    return resolve_view(snapshot(text, services=[WILD]), view())


def test_an_upstream_of_names(snapshot, view):
    clusters = {c.name: c for c in resolved(snapshot, view).clusters}
    found = clusters["outbound|80||*.wild.test"]
    assert (found.discovery, found.lb.policy, found.dns_cache) == (Discovery.DYNAMIC, LbPolicy.CLUSTER_PROVIDED, CACHE)
    assert (found.tls, found.outlier, found.endpoints, found.unverified) == (None, None, None, False)
    assert (found.http.auto_sni, found.http.auto_san_validation) == (True, True)


def test_a_server_need_not_be_verified(snapshot, view):
    for skip, verified in (("true", False), ("false", True)):
        found = resolved(snapshot, view, RULE % skip).clusters[0]
        assert (found.unverified, found.http.auto_san_validation) == (not verified, verified)
        assert found.tls is not None


def test_names_are_looked_up_where_they_are_seen(snapshot, view):
    found = {item.name: item for item in resolved(snapshot, view).listeners}
    http = found["0.0.0.0_80"].chains[0].handler
    assert isinstance(http, HttpConnection)
    assert http.dns_cache == CACHE
    tls = found["0.0.0.0_443"].chains[0]
    assert (tls.match.server_names, tls.sni_lookup) == (("*.wild.test",), SniLookup(CACHE, 443))


def test_others_look_nothing_up(snapshot, view):
    for listener in resolve_view(snapshot(), view()).listeners:
        for chain in listener.chains:
            assert chain.sni_lookup is None
            assert getattr(chain.handler, "dns_cache", None) is None


def test_the_mesh_may_have_unknown_hosts_looked_up(snapshot, view):
    mode = {"mode": "ALLOW_ANY_DYNAMIC_DNS"}
    config = resolve_view(snapshot(outboundTrafficPolicy=mode), view())
    found = next(c for c in config.clusters if c.name == "AllowAnyDynamicDNSCluster")
    assert (found.discovery, found.tls, found.dns_cache) == (Discovery.DYNAMIC, None, CACHE)
    (routes,) = (item for item in config.routes if item.name == "80")
    assert routes.virtual_hosts[-1].routes[0].action.clusters[0].name == "AllowAnyDynamicDNSCluster"
    listeners = {item.name: item for item in config.listeners}
    assert listeners["0.0.0.0_80"].chains[0].handler.dns_cache == CACHE
    http, rest = listeners["virtualOutbound"].chains[1:]
    assert http.match.application_protocols == ("http/1.1", "h2c")
    assert (http.handler.dns_cache, rest.handler.clusters) == (CACHE, (("PassthroughCluster", 1),))
    tls = {**mode, "tls": {"mode": "SIMPLE"}}
    config = resolve_view(snapshot(outboundTrafficPolicy=tls), view())
    found = next(c for c in config.clusters if c.name == "AllowAnyDynamicDNSCluster")
    assert (found.tls.auto_sni, found.http.auto_san_validation) == (True, True)


def test_a_sidecars_own_word_on_unknown_hosts_counts(snapshot, view):
    text = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: apps}
spec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}
"""
    config = resolve_view(snapshot(text, outboundTrafficPolicy={"mode": "ALLOW_ANY_DYNAMIC_DNS"}), view())
    (routes,) = (item for item in config.routes if item.name == "80")
    assert routes.virtual_hosts[-1].routes[0].action.clusters[0].name == "PassthroughCluster"
