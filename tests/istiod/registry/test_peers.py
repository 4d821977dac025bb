from collections.abc import Callable
from dataclasses import replace

from federation.keys import EndpointsKey, GatewayKey, ServiceRecordKey
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, NetworkGateway
from federation.records import ExportedService, GatewayRecord
from federation.table import Peer
from istiod.snapshot import Snapshot

Build = Callable[..., Snapshot]
GATEWAYS = {"ready": "192.0.2.1", "draining": "192.0.2.2"}
KEY = ServiceKey("a.ns.svc.cluster.local", "ns")
HTTP = ServicePort(80, "http", Protocol.HTTP)
LOCAL = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: ns, creationTimestamp: "2025-01-01T00:00:00Z"}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, namespace: ns, labels: {kubernetes.io/service-name: a}}
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
"""


def peer(
    cluster: str, *ports: ServicePort, created: str = "", consumers: tuple[str, ...] = (), **fields: object
) -> Peer:
    service = Service(KEY, "a", ports, Resolution.ENDPOINTS, Origin.FEDERATION, created=created, clusters=(cluster,))
    exported = ExportedService(replace(service, **fields), consumers=consumers)  # type: ignore[arg-type]
    numbers = tuple((port.name, port.number + 8000) for port in ports)
    parts = {
        EndpointsKey(cluster, "ns", "a", part): (
            Endpoint("", numbers, network=cluster, cluster=cluster, weight=weight),
        )
        for part, weight in (("1", 2), ("0", 1))
    }
    gateways = {
        GatewayKey(cluster, state): GatewayRecord(
            NetworkGateway(cluster, cluster, GATEWAYS[state], 15443), state, state
        )
        for state in ("ready", "draining")
    }
    return Peer(
        cluster, cluster, services={ServiceRecordKey(cluster, "ns", "a"): exported}, endpoints=parts, gateways=gateways
    )


def test_same_service_here_and_there_is_one(build: Build) -> None:
    west = peer("west", HTTP, ServicePort(81, "extra", Protocol.TCP))
    snapshot = build(LOCAL, peers=[west])
    service = snapshot.services[KEY]
    assert service.vips == ("10.96.0.1",)
    assert [port.number for port in service.ports] == [80, 81]
    assert service.clusters == ("west",)
    assert [(e.address, e.cluster, e.weight) for e in snapshot.endpoints[KEY]] == [
        ("10.0.0.1", "east", 1),
        ("", "west", 1),
        ("", "west", 2),
    ]
    assert [e.address for e in snapshot.local[KEY].endpoints] == ["10.0.0.1"]
    assert not snapshot.findings


def test_service_that_is_only_elsewhere_gets_an_address(build: Build) -> None:
    snapshot = build("", peers=[peer("west", HTTP)])
    assert snapshot.services[KEY].vips[0].startswith("240.240.")
    assert KEY not in snapshot.local
    headless = build("", peers=[peer("west", HTTP, headless=True, resolution=Resolution.PASSTHROUGH)]).services[KEY]
    assert (headless.resolution, headless.headless, len(headless.vips)) == (Resolution.ENDPOINTS, False, 1)


def test_export_for_others_is_not_ours(build: Build) -> None:
    assert KEY not in build("", peers=[peer("west", HTTP, consumers=("north",))]).services
    assert KEY in build("", peers=[peer("west", HTTP, consumers=("north", "east"))]).services


def test_port_conflict_older_export_wins_whatever_the_order(build: Build) -> None:
    young = peer("a-west", ServicePort(80, "web", Protocol.TCP), created="2025")
    old = peer("north", HTTP, created="2024")
    for peers in ([young, old], [old, young]):
        snapshot = build("", peers=peers)
        assert snapshot.services[KEY].ports == (HTTP,)
        (finding,) = snapshot.findings
        assert (finding.code, "a-west declares web/TCP" in finding.message) == ("PortConflict", True)
        # Clients dial numbers: the other's workloads serve port 80 under the winner's name.
        assert {(e.cluster, e.port("http")) for e in snapshot.endpoints[KEY]} == {("north", 8080), ("a-west", 8080)}


def test_tie_is_settled_by_the_cluster_name(build: Build) -> None:
    one, two = peer("west", HTTP), peer("north", ServicePort(80, "web", Protocol.TCP))
    assert build("", peers=[one, two]).services[KEY].ports[0].name == "web"


def test_port_that_lost_its_name_serves_nothing(build: Build) -> None:
    west = peer("west", ServicePort(81, "http", Protocol.HTTP))
    snapshot = build(LOCAL, peers=[west])
    assert [port.number for port in snapshot.services[KEY].ports] == [80]
    assert [e.port("http") for e in snapshot.endpoints[KEY] if e.cluster == "west"] == [0, 0]
    assert [finding.code for finding in snapshot.findings] == ["PortConflict"]


def test_gateways_that_are_ready(build: Build) -> None:
    assert [gateway.address for gateway in build("", peers=[peer("west", HTTP)]).gateways] == [GATEWAYS["ready"]]
