"""Upstreams: what a DestinationRule's `tls` becomes."""

from __future__ import annotations

from typing import Any

import pytest

from federation.model.service import Origin, Protocol, Resolution, ServicePort
from istiod.resolve.clusters import outbound_clusters
from istiod.resolve.specs.tls import SecretRef, SecretSource, UpstreamTls
from istiod.view.proxy import ProxyType
from tests.istiod.resolve.conftest import service

RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ext, namespace: apps}
spec: {host: ext.test, trafficPolicy: {tls: {mode: SIMPLE%s}}%s}
"""


@pytest.fixture
def tls_of(snapshot, view):
    def make(tls: str = "", more: str = "", view_fields: Any = None, **fields: Any) -> UpstreamTls:
        ext = service(
            "ext",
            host="ext.test",
            ports=(ServicePort(443, "http", Protocol.HTTP, 443),),
            resolution=Resolution.ENDPOINTS,
            origin=Origin.SERVICE_ENTRY,
            external=True,
            **fields,
        )
        world, who = snapshot(RULE % (tls, more), services=[ext]), view(**{"agentless": False, **(view_fields or {})})
        return next(cluster for cluster in outbound_clusters(world, who, [ext]) if "ext.test" in cluster.name).tls

    return make


def test_without_a_ca_the_systems_own_decide(tls_of):
    tls = tls_of()
    assert tls.roots == SecretRef("file-root:system", SecretSource.SDS_GRPC, optional=True)
    assert (tls.auto_sni, tls.auto_san_validation) == (True, True)
    assert tls_of(", insecureSkipVerify: true").roots is None
    assert tls_of(view_fields={"agentless": True}).roots.source is SecretSource.ADS


def test_names_of_the_entry_are_verified_where_the_rule_has_none(tls_of):
    tls = tls_of(subject_alt_names=("b.test",))
    assert ([match.value for match in tls.san_matches], tls.auto_san_validation) == (["b.test"], True)
    tls = tls_of(", sni: x.test", subject_alt_names=("b.test",))
    assert ([match.value for match in tls.san_matches], tls.auto_san_validation) == (["b.test"], False)
    tls = tls_of(", subjectAltNames: [a.test]", subject_alt_names=("b.test",))
    assert ([match.value for match in tls.san_matches], tls.auto_san_validation) == (["a.test"], False)


def test_credentials_are_for_gateways_and_for_rules_that_select_their_clients(tls_of):
    named = ", credentialName: own"
    assert tls_of(named) is None
    assert tls_of(named, ", workloadSelector: {matchLabels: {app: a}}").roots.name == "kubernetes://own-cacert"
    assert tls_of(named, view_fields={"type": ProxyType.ROUTER}).roots.name == "kubernetes://own-cacert"


@pytest.mark.parametrize(("target", "dialled"), [(8080, 8080), (80, 0)])
def test_resolution_none_dials_the_target_port_at_the_address_that_the_caller_chose(snapshot, view, target, dialled):
    port = ServicePort(80, "http", Protocol.HTTP, target)
    entry = service("x", host="x.test", ports=(port,), resolution=Resolution.PASSTHROUGH, origin=Origin.SERVICE_ENTRY)
    cluster = next(c for c in outbound_clusters(snapshot(services=[entry]), view(), [entry]) if "x.test" in c.name)
    assert cluster.original_dst_port == dialled


def test_the_meshs_default_pool_limits_what_goes_to_unknown_hosts(snapshot, view):
    pool = {"http": {"http2MaxRequests": 3}, "tcp": {"connectTimeout": "2s"}}
    world = snapshot(defaultTrafficPolicy={"connectionPool": pool}, connectTimeout="5s")
    (found,) = (item for item in outbound_clusters(world, view(), []) if item.name == "PassthroughCluster")
    assert (found.breakers.max_requests, found.connect_timeout) == (3, 2.0)


def test_what_passes_through_keeps_to_the_limits_of_the_mesh(snapshot, view):
    def found(**mesh: Any) -> Any:
        return outbound_clusters(snapshot(**mesh), view(), [])[-1]

    assert (found().name, found().connect_timeout, found().keepalive) == ("PassthroughCluster", 10.0, None)
    said = found(connectTimeout="1s", tcpKeepalive={"probes": 3})
    assert (said.connect_timeout, said.keepalive.probes) == (1.0, 3)
    pool = {"connectionPool": {"tcp": {"maxConnections": 7, "connectTimeout": "2s"}}}
    limited = found(connectTimeout="1s", defaultTrafficPolicy=pool)
    assert (limited.connect_timeout, limited.breakers.max_connections) == (2.0, 7)
