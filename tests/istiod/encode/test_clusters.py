"""Clusters as messages, where no golden shows them."""

from __future__ import annotations

import pytest

from istiod.encode.clusters import cluster
from istiod.resolve.specs.cluster import ClusterSpec, Discovery, HttpUpstream, HttpVersion, LbPolicy, LbSpec
from istiod.resolve.specs.tls import UpstreamTls

PROXY = "envoy.transport_sockets.upstream_proxy_protocol"


def upstream(**fields) -> ClusterSpec:
    return ClusterSpec(
        "a", Discovery.EDS, 1.0, LbSpec(LbPolicy.RANDOM), HttpUpstream(HttpVersion.NONE), proxy_protocol="V1", **fields
    )


def test_the_proxy_protocol_comes_before_mutual_tls_and_before_plaintext():
    made = cluster(upstream(tls=UpstreamTls(None, None, "a"), auto_mtls=True))
    assert [match.transport_socket.name for match in made.transport_socket_matches] == [PROXY, PROXY]


@pytest.mark.parametrize("tls", [None, UpstreamTls(None, None, "a")])
def test_the_proxy_protocol_comes_before_what_a_rule_asks_for(tls):
    assert cluster(upstream(tls=tls)).transport_socket.name == PROXY
