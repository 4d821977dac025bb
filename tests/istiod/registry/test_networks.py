from collections.abc import Callable

from federation.model.names import ServiceKey
from istiod.snapshot import Snapshot

Build = Callable[..., Snapshot]
KEY = ServiceKey("one.test", "ns")
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: ns}
spec:
  hosts: [one.test]
  addresses: [10.255.0.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.9.0.1}, {address: 10.9.8.1}, {address: 10.7.0.1}, {address: 10.9.0.2, network: own}]
---
"""
INGRESS = """
apiVersion: v1
kind: Service
metadata: {name: ewgw, namespace: istio-system}
spec: {clusterIP: 10.96.0.9, externalIPs: [192.0.2.7], ports: [{name: tls, port: 15443}]}
"""


def test_networks_by_longest_range_then_registry(build: Build) -> None:
    ranges = {
        "wide": {"endpoints": [{"fromCidr": "10.9.0.0/16"}]},
        "narrow": {"endpoints": [{"fromCidr": "10.9.8.0/24"}]},
    }
    networks = [endpoint.network for endpoint in build(ENTRY, networks=ranges).endpoints[KEY]]
    assert networks == ["wide", "narrow", "", "own"]
    ranges["rest"] = {"endpoints": [{"fromRegistry": "east"}]}
    networks = [endpoint.network for endpoint in build(ENTRY, networks=ranges).endpoints[KEY]]
    assert networks == ["wide", "narrow", "rest", "own"]


def test_gateways_by_address_and_by_service(build: Build) -> None:
    gateways = [
        {"address": "192.0.2.1", "port": 15443, "locality": "r/z"},
        {"registryServiceName": "ewgw.istio-system.svc.cluster.local", "port": 15444},
    ]
    found = build(INGRESS, networks={"far": {"gateways": gateways}}).gateways
    assert [(g.network, g.address, g.port, str(g.locality)) for g in found] == [
        ("far", "192.0.2.1", 15443, "r/z"),
        ("far", "192.0.2.7", 15444, ""),
    ]


def test_gateway_without_address_and_bad_range_are_findings(build: Build) -> None:
    network = {"endpoints": [{"fromCidr": "10.9"}], "gateways": [{"registryServiceName": "gone.x.svc", "port": 15443}]}
    snapshot = build("", networks={"far": network})
    assert not snapshot.gateways
    assert [(finding.code, finding.path) for finding in snapshot.findings] == [
        ("GatewayWithoutAddress", "networks.far.gateways[0]"),
        ("InvalidRange", "networks.far.endpoints[0].fromCidr"),
    ]
