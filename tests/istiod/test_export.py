"""What one cluster declares arrives in another: snapshot, records, peer table, snapshot, with no store between."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from federation.keys import ClusterKey, GatewayKey, Layout
from federation.model.findings import Severity
from federation.model.names import NamespacedName, ServiceKey
from federation.model.service import Resolution
from federation.model.workload import Endpoint, NetworkGateway
from federation.publish import desired_records, heartbeat_record
from federation.records import GatewayRecord, encode_gateway
from federation.schema import records_pb2 as pb
from federation.table import Peer, Raw, Table
from istiod.api.kinds import Kind
from istiod.api.parse import parse_documents
from istiod.events import Upsert
from istiod.export import exports_of
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store

LAYOUT = Layout("test")
GATEWAYS = {"east": "192.0.2.1", "west": "192.0.2.2"}
EXPORT = """
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceExport
metadata: {name: pay, namespace: shop%s}
"""
EXTERNAL = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay, namespace: shop}
spec:
  hosts: [pay.example.com]
  location: MESH_EXTERNAL
  resolution: %s
  ports: [{number: 443, name: https, protocol: TLS}, {number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  endpoints: %s
"""
INTERNAL = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay, namespace: shop}
spec:
  hosts: [pay.mesh.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
  endpoints:
  - {address: 10.1.0.1, serviceAccount: pay, locality: r1/z1, labels: {security.istio.io/tlsMode: istio}}
  - {address: 10.1.0.2, serviceAccount: pay, locality: r1/z1, labels: {security.istio.io/tlsMode: istio}}
  - {address: 10.7.0.3, serviceAccount: pay, network: other, labels: {security.istio.io/tlsMode: istio}}
"""


@dataclass
class Cluster:
    """One control plane's pure parts."""

    name: str
    network: str
    store: Store = field(default_factory=Store)

    def __post_init__(self) -> None:
        self.builder = SnapshotBuilder(Place(self.name, self.network))
        self.table = Table(LAYOUT, self.name)

    def declare(self, text: str) -> None:
        parsed = parse_documents(text, "test.yaml")
        assert not [finding for finding in parsed.findings if finding.severity is Severity.ERROR], parsed.findings
        self.store.apply(Upsert(Kind(item.kind), item.meta.key, item) for item in parsed.objects)

    def snapshot(self) -> Snapshot:
        return self.builder.build(self.store.tables())

    def records(self) -> dict[str, bytes]:
        """What its prefix of the store holds."""
        registration = pb.Cluster(schema=1, name=self.name, network=self.network, state="member")
        gateway = GatewayRecord(NetworkGateway(self.network, self.name, GATEWAYS[self.name], 15443), "1")
        return {
            LAYOUT.format(ClusterKey(self.name)): registration.SerializeToString(),
            LAYOUT.format(GatewayKey(self.name, "1")): encode_gateway(gateway),
            **dict([heartbeat_record(LAYOUT, self.name, 1, 1, "test", "a")]),
            **desired_records(LAYOUT, exports_of(self.snapshot(), self.name, self.network)),
        }

    def hear(self, records: dict[str, bytes]) -> dict[str, Peer]:
        self.table.relist({key: Raw(value, 1) for key, value in records.items()}, 1.0)
        assert self.table.findings == ()
        peers = dict(self.table.peers)
        self.store.apply(Upsert(Kind.PEER, NamespacedName("", peer.cluster), peer) for peer in peers.values())
        return peers


def arrived(text: str, west_network: str = "net-west") -> tuple[Snapshot, Snapshot]:
    """The snapshots of east, which declares the text, and of west, which hears of it."""
    east, west = Cluster("east", "net-east"), Cluster("west", west_network)
    east.hear(west.records())
    east.declare(text)
    west.hear(east.records())
    return east.snapshot(), west.snapshot()


def test_external_entry_is_dialled_directly_with_its_ports() -> None:
    text = EXTERNAL % ("STATIC", "[{address: 203.0.113.7, ports: {http: 9080}}, {address: 203.0.113.8}]")
    _, west = arrived(text + EXPORT % "")
    key = ServiceKey("pay.example.com", "shop")
    service = west.services[key]
    assert service.external
    assert [(p.number, p.name, str(p.protocol)) for p in service.ports] == [(443, "https", "TLS"), (80, "http", "HTTP")]
    found = {e.address: (e.port("https"), e.port("http"), e.network, e.cluster) for e in west.endpoints[key]}
    assert found == {"203.0.113.7": (443, 9080, "", "east"), "203.0.113.8": (443, 8080, "", "east")}


def test_external_entry_of_a_name_is_resolved_by_the_importer() -> None:
    _, west = arrived(EXTERNAL % ("DNS", "[]") + EXPORT % "")
    key = ServiceKey("pay.example.com", "shop")
    assert west.services[key].resolution is Resolution.DNS
    assert [(e.address, e.port("http"), e.network) for e in west.endpoints[key]] == [("pay.example.com", 8080, "")]


def test_wildcard_entry_arrives() -> None:
    text = (EXTERNAL % ("NONE", "[]")).replace("[pay.example.com]", '["*.example.com"]')
    _, west = arrived(text + EXPORT % "")
    assert west.services[ServiceKey("*.example.com", "shop")].resolution is Resolution.PASSTHROUGH


def test_internal_entry_stands_behind_its_cluster_s_network() -> None:
    east, west = arrived(INTERNAL + EXPORT % "")
    key = ServiceKey("pay.mesh.test", "shop")
    assert {e.network for e in east.endpoints[key]} == {"", "other"}
    found = {(e.address, e.network, e.port("http"), e.weight, str(e.identity)) for e in west.endpoints[key]}
    identity = "spiffe://cluster.local/ns/shop/sa/pay"
    assert found == {("", "net-east", 8080, 2, identity), ("", "other", 8080, 1, identity)}
    assert all(e.mtls for e in west.endpoints[key])
    assert [(g.network, g.address) for g in west.gateways] == [("net-east", GATEWAYS["east"])]
    assert west.services[key].vips[0].startswith("240.240.")


def test_internal_entry_is_dialled_directly_in_one_network() -> None:
    _, west = arrived(INTERNAL + EXPORT % "", west_network="net-east")
    key = ServiceKey("pay.mesh.test", "shop")
    endpoints: tuple[Endpoint, ...] = west.endpoints[key]
    assert {e.address for e in endpoints if e.network == "net-east"} == {"10.1.0.1", "10.1.0.2"}


@pytest.mark.parametrize(("consumers", "arrives"), [("west", True), ("north, west", True), ("north", False)])
def test_consumers(consumers: str, arrives: bool) -> None:
    said = f', annotations: {{isthmus.io/consumers: "{consumers}"}}'
    _, west = arrived(INTERNAL + EXPORT % said)
    assert (ServiceKey("pay.mesh.test", "shop") in west.services) is arrives


def test_what_is_not_exported_stays() -> None:
    assert not arrived(INTERNAL)[1].services
