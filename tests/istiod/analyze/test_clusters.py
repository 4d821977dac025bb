"""What goes wrong between clusters: a peer, its services and networks beside the small mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from federation.keys import EndpointsKey, GatewayKey, ServiceRecordKey
from federation.model.identity import SpiffeId
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, NetworkGateway
from federation.records import ExportedService, GatewayRecord
from federation.table import Peer
from tests.istiod.analyze.conftest import BASE, Found, obj, pod, slices

Said = Callable[..., Found]
KEY = ServiceRecordKey("west", "a", "s")
EXPORT = obj("ServiceExport", "s")


def peer(*ports: tuple[int, str], gateway: bool = True) -> Peer:
    """Cluster west with service s of namespace a and one workload of it."""
    network = "net-west"
    service = Service(
        ServiceKey("s.a.svc.cluster.local", "a"),
        "s",
        tuple(ServicePort(number, name, Protocol.HTTP, 8080) for number, name in ports),
        Resolution.ENDPOINTS,
        Origin.FEDERATION,
    )
    identity = SpiffeId("cluster.local", "a", "default")
    endpoint = Endpoint("", (("http", 8080),), network=network, cluster="west", identity=identity, mtls=True)
    record = GatewayRecord(NetworkGateway(network, "west", "198.51.100.1", 15443), "gw")
    return Peer(
        "west",
        network,
        services={KEY: ExportedService(service)},
        endpoints={EndpointsKey("west", "a", "s", "0"): (endpoint,)},
        gateways={GatewayKey("west", "gw"): record} if gateway else {},
    )


def test_service_differs(said: Said) -> None:
    found = said(EXPORT, peers=[peer((80, "http"), (81, "http-more"))])
    assert ("ServiceDiffers", "ports") in found
    assert "ServiceDiffers" not in {code for code, _ in said(EXPORT, peers=[peer((80, "http"))])}


def test_network_without_gateway(said: Said) -> None:
    assert ("NetworkWithoutGateway", "") in said(peers=[peer((80, "http"), gateway=False)])
    assert not said(peers=[peer((80, "http"))])


def test_export_without_mtls(said: Said) -> None:
    plain = (*BASE[:4], pod("s-1", "{app: s}", "10.0.0.1"), slices("s", "10.0.0.1"))
    assert said(EXPORT, base=plain) == {("ExportWithoutMtls", "endpoints")}
    assert not said(EXPORT)
    assert not said(base=plain)


@pytest.mark.parametrize(("registry", "wrong"), [("nowhere", True), ("west", False), ("east", False)])
def test_registry_not_found(said: Said, registry: str, wrong: bool) -> None:
    networks = f"networks: {{n: {{endpoints: [{{fromRegistry: {registry}}}]}}}}"
    found = said(networks=networks, peers=[replace(peer((80, "http")), state="member")])
    expected = {("RegistryNotFound", "networks.n.endpoints[0].fromRegistry")}
    assert {item for item in found if item[0] == "RegistryNotFound"} == (expected if wrong else set())
