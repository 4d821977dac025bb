from typing import Any

import pytest

from federation.model.errors import InvalidInput
from federation.model.locality import NO_LOCALITY, Locality
from istiod.api.proxysettings import Topology
from istiod.view.node import proxy_from_node
from istiod.view.proxy import Proxy, ProxyType

ID = "sidecar~10.0.0.1~a.b-1.ns~ns.svc.cluster.local"


def read(node_id: str = ID, locality: Locality = NO_LOCALITY, **metadata: Any) -> Proxy:
    return proxy_from_node(node_id, metadata, locality, (1, 40))


def test_what_the_id_says() -> None:
    proxy = read()
    assert (proxy.type, proxy.name, proxy.namespace) == (ProxyType.SIDECAR, "a.b-1", "ns")
    assert (proxy.addresses, proxy.dns_domain, proxy.envoy_version) == (("10.0.0.1",), "ns.svc.cluster.local", (1, 40))


def test_metadata_comes_before_the_id() -> None:
    proxy = read(
        NAME="pod", NAMESPACE="other", SERVICE_ACCOUNT="sa", CLUSTER_ID="east", NETWORK="n1",
        INSTANCE_IPS="10.0.0.2, fd00::2", REQUESTED_NETWORK_VIEW="n2,n1,", LABELS={"app": "a"},
    )  # fmt: skip
    assert (proxy.name, proxy.namespace, proxy.service_account) == ("pod", "other", "sa")
    assert proxy.addresses == ("10.0.0.2", "fd00::2")
    assert (proxy.cluster, proxy.network, proxy.requested_networks) == ("east", "n1", ("n1", "n2"))
    assert proxy.labels["topology.istio.io/network"] == "n1"


@pytest.mark.parametrize(
    ("said", "expected"), [("true", True), ("TRUE", True), (True, True), ("false", False), (1, False)]
)
def test_booleans_are_text_or_real(said: object, expected: bool) -> None:
    assert read(ISTHMUS_SDS=said).agentless is expected
    assert read(DNS_CAPTURE=said).dns_capture is expected
    assert read(HTTP10=said).http10 is expected


def test_locality_of_labels_then_node() -> None:
    place = Locality("r", "z", "s")
    assert read(locality=place).locality == place
    assert read(locality=place).labels["topology.kubernetes.io/zone"] == "z"
    assert read(locality=place, LABELS={"istio-locality": "r2.z2"}).locality == Locality("r2", "z2")
    assert read(locality=place, LABELS={"topology.kubernetes.io/region": "r3"}).locality == Locality("r3")


def test_types() -> None:
    assert read("router~~gw.ns~ns.svc.cluster.local").type is ProxyType.ROUTER
    assert read(GENERATOR="grpc").type is ProxyType.GRPC


def test_a_proxy_may_have_settings_of_its_own() -> None:
    proxy = read(PROXY_CONFIG={"gatewayTopology": {"numTrustedProxies": 2}, "proxyHeaders": {"server": {"value": "x"}}})
    assert proxy.topology == Topology(num_trusted_proxies=2)
    assert proxy.proxy_headers is not None
    assert proxy.proxy_headers.server.value == "x"
    assert read().topology is None


@pytest.mark.parametrize(
    ("node_id", "metadata", "paths"),
    [
        ("ztunnel~10.0.0.1~a.ns~d", {}, ["node.id"]),
        ("nonsense", {}, ["node.id"]),
        ("sidecar~10.0.0.1~" + "a" * 2000 + ".ns~d", {}, ["node.id"]),
        ("sidecar~10.0.0.1~a~d", {}, ["node.id"]),
        ("sidecar~~a.ns~d", {}, ["node.metadata.INSTANCE_IPS"]),
        ("sidecar~host~a.ns~d", {}, ["node.id"]),
        (ID, {"INSTANCE_IPS": "10.0.0.1,x"}, ["node.metadata.INSTANCE_IPS"]),
        (ID, {"INSTANCE_IPS": ",".join(["10.0.0.1"] * 100)}, ["node.metadata.INSTANCE_IPS"]),
        (ID, {"LABELS": {str(n): "" for n in range(300)}}, ["node.metadata.LABELS"]),
        (ID, {"LABELS": ["a"], "NETWORK": 7}, ["node.metadata.LABELS", "node.metadata.NETWORK"]),
        (ID, {"CLUSTER_ID": "c" * 5000}, ["node.metadata.CLUSTER_ID"]),
        (
            ID,
            {"PROXY_CONFIG": {"gatewayTopology": {"numTrustedProxies": -1}}},
            ["node.metadata.PROXY_CONFIG.gatewayTopology.numTrustedProxies"],
        ),
    ],
)
def test_everything_wrong_is_named(node_id: str, metadata: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(node_id, **metadata)
    assert [finding.path for finding in caught.value.findings] == paths
    assert all(len(str(finding)) < 1_000 for finding in caught.value.findings)
