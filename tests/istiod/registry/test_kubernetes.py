from collections.abc import Callable
from typing import Any

import pytest

from federation.model.locality import Locality
from federation.model.names import ServiceKey
from federation.model.service import Protocol, Resolution, ServicePort
from federation.model.workload import Endpoint, Health
from istiod.snapshot import Snapshot

Build = Callable[..., Snapshot]
KEY = ServiceKey("a.ns.svc.cluster.local", "ns")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: ns}
spec:
  clusterIP: 10.96.0.1
  selector: {app: a}
  ports: [{name: http, port: 80, targetPort: web}, {name: tcp, port: 9000, targetPort: 9001}]
---
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, namespace: ns, labels: {kubernetes.io/service-name: a}}
ports: [{name: http, port: 8080}, {name: tcp, port: 9001}]
endpoints:
- {addresses: [10.0.0.1], nodeName: n1, targetRef: {kind: Pod, name: a-x, namespace: ns}}
---
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: a-x, namespace: ns, labels: {app: a, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: sa, nodeName: n1}
status: {podIP: 10.0.0.1, phase: Running}
---
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1}}
---
"""


def only(snapshot: Snapshot) -> Endpoint:
    (found,) = snapshot.endpoints[KEY]
    return found


def test_service_with_slice_pod_and_node(build: Build) -> None:
    snapshot = build(SERVICE + SLICE + POD + NODE)
    service = snapshot.services[KEY]
    assert service.vips == ("10.96.0.1",)
    assert service.ports == (
        ServicePort(80, "http", Protocol.HTTP, 0),
        ServicePort(9000, "tcp", Protocol.TCP, 9001),
    )
    endpoint = only(snapshot)
    assert (endpoint.address, endpoint.port("http"), endpoint.port("tcp")) == ("10.0.0.1", 8080, 9001)
    assert str(endpoint.identity) == "spiffe://cluster.local/ns/ns/sa/sa"
    assert (endpoint.mtls, endpoint.network, endpoint.cluster) == (True, "net-east", "east")
    assert endpoint.locality == Locality("r1", "z1")
    assert endpoint.labels["topology.kubernetes.io/zone"] == "z1"
    assert endpoint.labels["topology.istio.io/cluster"] == "east"
    assert snapshot.addresses["10.0.0.1"] == (KEY,)


def test_locality_label_of_the_pod_comes_before_the_node(build: Build) -> None:
    pod = POD.replace("{app: a,", "{app: a, topology.istio.io/locality: r9.z9.s9,")
    assert only(build(SERVICE + SLICE + pod + NODE)).locality == Locality("r9", "z9", "s9")


def test_network_of_pod_then_system_namespace_then_flag(build: Build) -> None:
    system = """
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: from-namespace}}
---
"""
    pod = POD.replace("{app: a,", "{app: a, topology.istio.io/network: own,")
    assert only(build(SERVICE + SLICE + pod + system)).network == "own"
    assert only(build(SERVICE + SLICE + POD + system)).network == "from-namespace"
    assert only(build(SERVICE + SLICE + POD)).network == "net-east"


@pytest.mark.parametrize(
    ("conditions", "publish", "health"),
    [
        ("{}", False, Health.HEALTHY),
        ("{ready: true}", False, Health.HEALTHY),
        ("{ready: false}", False, Health.UNHEALTHY),
        ("{ready: false}", True, Health.HEALTHY),
        ("{ready: false, serving: true, terminating: true}", False, Health.DRAINING),
        ("{ready: false, serving: false, terminating: true}", False, Health.DRAINING),
    ],
)
def test_health(build: Build, conditions: str, publish: bool, health: Health) -> None:
    service = SERVICE.replace("selector:", f"publishNotReadyAddresses: {str(publish).lower()}\n  selector:")
    part = SLICE.replace("nodeName: n1", f"conditions: {conditions}")
    assert only(build(service + part)).health is health


def test_pod_is_found_by_reference_not_by_a_shared_address(build: Build) -> None:
    other = POD.replace("name: a-x", "name: aa-host").replace("serviceAccountName: sa", "serviceAccountName: other")
    assert str(only(build(SERVICE + SLICE + other + POD)).identity).endswith("/sa/sa")
    assert only(build(SERVICE + SLICE.replace("name: a-x", "name: gone") + other + POD)).identity is None


def test_finished_pod_lends_its_address_no_identity(build: Build) -> None:
    unreferenced = SLICE.replace(", targetRef: {kind: Pod, name: a-x, namespace: ns}", "")
    assert only(build(SERVICE + unreferenced + POD)).identity is not None
    assert only(build(SERVICE + unreferenced + POD.replace("Running", "Succeeded"))).identity is None


def test_headless_and_external_name(build: Build) -> None:
    headless = build(SERVICE.replace("10.96.0.1", "None")).services[KEY]
    assert (headless.headless, headless.resolution, headless.vips) == (True, Resolution.PASSTHROUGH, ())
    text = SERVICE.replace("clusterIP: 10.96.0.1", "type: ExternalName\n  externalName: db.example.com")
    snapshot = build(text)
    assert (snapshot.services[KEY].resolution, snapshot.services[KEY].external) == (Resolution.DNS, True)
    assert only(snapshot).address == "db.example.com"


def test_workload_entry_joins_a_service(build: Build) -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: ns}
spec: {address: 10.0.0.9, labels: {app: a}, serviceAccount: vm, ports: {web: 8888}}
"""
    endpoint = only(build(SERVICE + entry))
    assert (endpoint.address, endpoint.port("http"), endpoint.port("tcp")) == ("10.0.0.9", 8888, 9001)
    assert str(endpoint.identity) == "spiffe://cluster.local/ns/ns/sa/vm"


def test_export_to_annotation_and_mesh_default(build: Build) -> None:
    said = SERVICE.replace("namespace: ns}", 'namespace: ns, annotations: {networking.istio.io/exportTo: "., b"}}', 1)
    assert build(said).services[KEY].export_to == (".", "b")
    assert build(SERVICE, mesh={"defaultServiceExportTo": ["."]}).services[KEY].export_to == (".",)


def test_two_ports_of_one_number(build: Build) -> None:
    snapshot = build(SERVICE.replace("port: 9000", "port: 80"))
    assert [port.name for port in snapshot.services[KEY].ports] == ["http"]
    assert [(finding.code, finding.object) for finding in snapshot.findings] == [("DuplicatePort", "Service ns/a")]
    both = SERVICE.replace("{name: tcp, port: 9000,", "{name: tcp, port: 80, protocol: UDP,")
    assert not build(both).findings


def test_cluster_local(build: Build) -> None:
    system = SERVICE.replace("namespace: ns", "namespace: kube-system")
    key = ServiceKey("a.kube-system.svc.cluster.local", "kube-system")
    assert build(system).services[key].cluster_local
    off: dict[str, Any] = {"serviceSettings": [{"settings": {"clusterLocal": False}, "hosts": [key.host]}]}
    assert not build(system, mesh=off).services[key].cluster_local
    assert not build(SERVICE).services[KEY].cluster_local


def test_endpoints_are_in_the_order_of_their_slices_names(build: Build) -> None:
    numbers = [5, 2, 7, 1, 6, 3, 4]
    parts = [SLICE.replace("a-1", f"a-{n}").replace("10.0.0.1", f"10.0.0.{n}") for n in numbers]
    found = build(SERVICE + "".join(parts)).endpoints[KEY]
    assert [endpoint.address for endpoint in found] == [f"10.0.0.{n}" for n in sorted(numbers)]
