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
