from collections.abc import Callable

import pytest

from federation.model.names import ServiceKey
from federation.model.service import Protocol, Resolution
from istiod.snapshot import Snapshot

Build = Callable[..., Snapshot]
KEY = ServiceKey("one.test", "ns")
ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: ns, creationTimestamp: "2024-01-01T00:00:00Z"}
spec:
  hosts: [one.test]
  addresses: [10.255.0.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 9000, name: tcp, protocol: TCP}]
  SOURCE
---
"""
SELECTING = ENTRY.replace("SOURCE", "workloadSelector: {labels: {app: vm}}")
INLINE = ENTRY.replace("SOURCE", "endpoints: [{address: 10.0.0.1, serviceAccount: sa, ports: {tcp: 9001}}]")
WORKLOAD = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: NS}
spec: {address: 10.0.0.2, labels: {app: vm, security.istio.io/tlsMode: istio}, locality: r/z/s, weight: 3, network: far}
---
"""


def test_inline_endpoints_ports_and_identity(build: Build) -> None:
    snapshot = build(INLINE)
    (endpoint,) = snapshot.endpoints[KEY]
    assert endpoint.ports == (("http", 8080), ("tcp", 9001))
    assert str(endpoint.identity) == "spiffe://cluster.local/ns/ns/sa/sa"
    assert [port.protocol for port in snapshot.services[KEY].ports] == [Protocol.HTTP, Protocol.TCP]
    assert snapshot.services[KEY].resolution is Resolution.ENDPOINTS


@pytest.mark.parametrize(
    ("said", "mtls"),
    [
        ("", False),
        ("serviceAccount: sa", True),
        ("serviceAccount: sa, labels: {security.istio.io/tlsMode: disabled}", False),
        ("labels: {security.istio.io/tlsMode: istio}", True),
    ],
)
def test_a_service_account_is_said_of_workloads_with_a_sidecar(build: Build, said: str, mtls: bool) -> None:
    text = ENTRY.replace("SOURCE", f"endpoints: [{{address: 10.0.0.1, {said}}}]")
    (endpoint,) = build(text).endpoints[KEY]
    assert endpoint.mtls is mtls


def test_labels_of_a_workload_entry_itself_count_before_those_of_its_spec(build: Build) -> None:
    named = WORKLOAD.replace("NS", "ns").replace("name: vm,", "name: vm, labels: {app: db},")
    assert build(SELECTING + named).endpoints[KEY] == ()
    (endpoint,) = build(SELECTING.replace("app: vm", "app: db") + named).endpoints[KEY]
    assert endpoint.labels["app"] == "db"


def test_the_locality_field_counts_before_the_label(build: Build) -> None:
    for said, expected in (
        ("labels: {istio-locality: a.b.c}", "a/b/c"),
        ("locality: r/z/s, labels: {istio-locality: a.b.c}", "r/z/s"),
        ("labels: {topology.kubernetes.io/region: a}", ""),
    ):
        (endpoint,) = build(INLINE.replace("serviceAccount: sa", said)).endpoints[KEY]
        assert str(endpoint.locality) == expected


def test_selector_takes_workload_entries_and_pods_of_its_namespace(build: Build) -> None:
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: ns, labels: {app: vm}}
status: {podIP: 10.0.0.3}
---
"""
    snapshot = build(SELECTING + WORKLOAD.replace("NS", "ns") + WORKLOAD.replace("NS", "other") + pod)
    by_address = {endpoint.address: endpoint for endpoint in snapshot.endpoints[KEY]}
    assert set(by_address) == {"10.0.0.2", "10.0.0.3"}
    vm = by_address["10.0.0.2"]
    assert (str(vm.locality), vm.weight, vm.network, vm.mtls, vm.port("http")) == ("r/z/s", 3, "far", True, 8080)
    assert by_address["10.0.0.3"].network == "net-east"


def test_dns_without_endpoints_looks_up_its_own_host(build: Build) -> None:
    text = ENTRY.replace("STATIC", "DNS").replace("SOURCE", "")
    (endpoint,) = build(text).endpoints[KEY]
    assert (endpoint.address, endpoint.port("http")) == ("one.test", 8080)


def test_dns_with_a_selector_that_selects_nobody_looks_up_nothing(build: Build) -> None:
    assert build(SELECTING.replace("STATIC", "DNS")).endpoints[KEY] == ()


def test_a_network_of_one_address_is_that_address(build: Build) -> None:
    text = INLINE.replace("[10.255.0.1]", "[10.255.0.1/32, 'fd00::1/128', 10.254.0.0/16, 10.253.0.1]")
    assert build(text).services[KEY].vips == ("10.255.0.1", "fd00::1", "10.254.0.0/16", "10.253.0.1")


YOUNGER = INLINE.replace("name: one,", "name: aaa,").replace("2024", "2025").replace("10.0.0.1", "10.0.0.7")


def test_entries_for_one_host_add_up_whatever_their_order(build: Build) -> None:
    other = YOUNGER.replace("10.255.0.1", "10.255.0.2").replace("number: 9000, name: tcp", "number: 81, name: alt")
    for text in (INLINE + other, other + INLINE):
        snapshot = build(text.replace("ports: {tcp: 9001}", ""))
        service = snapshot.services[KEY]
        assert [(port.number, port.name) for port in service.ports] == [(80, "http"), (9000, "tcp"), (81, "alt")]
        assert service.vips == ("10.255.0.1", "10.255.0.2")
        assert {e.address: [name for name, _ in e.ports] for e in snapshot.endpoints[KEY]} == {
            "10.0.0.1": ["http", "tcp"],
            "10.0.0.7": ["http", "alt"],
        }
        assert snapshot.findings == ()


def test_an_entry_of_another_resolution_or_reach_adds_endpoints_only(build: Build) -> None:
    other = YOUNGER.replace("10.255.0.1", "10.255.0.2").replace("number: 9000, name: tcp", "number: 81, name: alt")
    for said in ("resolution: DNS", "resolution: STATIC\n  exportTo: ['.']"):
        younger = other.replace("resolution: STATIC", said).replace("ports: {tcp: 9001}", "")
        snapshot = build(younger + INLINE)
        assert {e.address: dict(e.ports) for e in snapshot.endpoints[KEY]} == {
            "10.0.0.1": {"http": 8080, "tcp": 9001},
            "10.0.0.7": {"http": 8080},
        }
        service = snapshot.services[KEY]
        assert ([port.number for port in service.ports], service.vips) == ([80, 9000], ("10.255.0.1",))
        (finding,) = snapshot.findings
        assert (finding.code, finding.object) == ("DuplicateHost", "ServiceEntry ns/aaa")


def test_of_several_entries_for_one_name_to_look_up_each_port_has_one(build: Build) -> None:
    one, two = (text.replace("STATIC", "DNS_ROUND_ROBIN") for text in (INLINE, YOUNGER))
    two = two.replace("number: 9000, name: tcp", "number: 81, name: alt").replace("ports: {tcp: 9001}", "")
    endpoints = build(one + two).endpoints[KEY]
    assert {e.address: dict(e.ports) for e in endpoints} == {
        "10.0.0.1": {"http": 8080, "tcp": 9001},
        "10.0.0.7": {"alt": 81},
    }


def test_kubernetes_beats_an_older_entry(build: Build) -> None:
    entry = INLINE.replace("one.test", "a.ns.svc.cluster.local")
    service = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: ns, creationTimestamp: "2025-01-01T00:00:00Z"}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
"""
    snapshot = build(entry + service)
    assert snapshot.services[ServiceKey("a.ns.svc.cluster.local", "ns")].vips == ("10.96.0.1",)
    assert [finding.code for finding in snapshot.findings] == ["DuplicateHost"]


def test_same_host_in_two_namespaces_is_two_services_oldest_first(build: Build) -> None:
    other = INLINE.replace("namespace: ns", "namespace: other").replace("2024", "2023")
    snapshot = build(INLINE + other)
    assert snapshot.hosts["one.test"] == (ServiceKey("one.test", "other"), KEY)


def test_duplicate_addresses_are_reported_of_the_younger(build: Build) -> None:
    other = INLINE.replace("one", "two").replace("2024", "2025")
    codes = [(finding.code, finding.object) for finding in build(INLINE + other).findings]
    assert codes == [("DuplicateAddress", "Service ns/two.test")] * 2


def test_virtual_addresses_for_internal_entries_without_one(build: Build) -> None:
    plain = INLINE.replace("  addresses: [10.255.0.1]\n", "")
    given = build(plain).services[KEY]
    vips = given.vips
    assert given.auto_vip
    assert len(vips) == 1
    assert vips[0].startswith("240.240.")
    assert build(plain, ledger={"one.test": "240.240.0.9"}).services[KEY].vips == ("240.240.0.9",)
    assert build(plain.replace("MESH_INTERNAL", "MESH_EXTERNAL")).services[KEY].vips == ()
    off = plain.replace(
        "namespace: ns,", 'namespace: ns, labels: {networking.istio.io/enable-autoallocate-ip: "false"},'
    )
    assert build(off).services[KEY].vips == ()
