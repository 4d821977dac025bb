from collections.abc import Callable
from typing import Any

import pytest

from federation.model.locality import NO_LOCALITY
from istiod.snapshot import Snapshot
from istiod.view.classes import view_of
from istiod.view.node import proxy_from_node
from istiod.view.proxy import ProxyView

Build = Callable[..., Snapshot]
SERVICES = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: young, namespace: ns, creationTimestamp: "2025-01-01T00:00:00Z"}
spec:
  hosts: [young.test]
  addresses: [10.255.0.1]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 81, name: tcp, protocol: TCP}]
  endpoints: [{address: 10.0.0.1, network: n1}, {address: 10.0.0.2, network: n1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: old, namespace: ns, creationTimestamp: "2024-01-01T00:00:00Z"}
spec:
  hosts: [old.test]
  addresses: [10.255.0.2]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 90, name: http, protocol: HTTP, targetPort: 8080}]
  endpoints: [{address: 10.0.0.1, network: n1}, {address: 10.0.0.1, network: n2}]
---
"""


def view(snapshot: Snapshot, address: str = "10.0.0.1", network: str = "n1", **labels: str) -> ProxyView:
    metadata: dict[str, Any] = {"NETWORK": network, "LABELS": labels}
    return view_of(proxy_from_node(f"sidecar~{address}~a.ns~ns.svc.cluster.local", metadata, NO_LOCALITY), snapshot)


def test_targets_are_the_ports_served_oldest_service_first(build: Build) -> None:
    targets = view(build(SERVICES)).targets
    found = [(target.service.host, target.port.number, target.target_port) for target in targets]
    assert found == [("old.test", 90, 8080), ("young.test", 80, 8080), ("young.test", 81, 81)]


def test_a_router_serves_its_services_too(build: Build) -> None:
    router = proxy_from_node("router~10.0.0.1~gw.ns~ns.svc.cluster.local", {"NETWORK": "n1"}, NO_LOCALITY)
    assert view_of(router, build(SERVICES)).targets == view(build(SERVICES)).targets


def test_an_address_of_another_network_is_somebody_else(build: Build) -> None:
    assert [target.service.host for target in view(build(SERVICES), network="n2").targets] == ["old.test"]
    assert view(build(SERVICES), "10.9.9.9").targets == ()


def test_a_service_of_another_namespace_says_nothing_of_a_workloads_ports(build: Build) -> None:
    text = SERVICES.replace("name: old, namespace: ns", "name: old, namespace: other")
    assert {target.service.host for target in view(build(text)).targets} == {"young.test"}


@pytest.mark.parametrize(
    "policy",
    [
        "kind: Sidecar\nspec: {workloadSelector: {labels: {v: '1'}}, egress: [{hosts: ['*/*']}]}",
        "kind: Gateway\nspec: {selector: {v: '1'}, "
        "servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: ['*']}]}",
        "kind: DestinationRule\nspec: {host: old.test, workloadSelector: {matchLabels: {v: '1'}}}",
        "kind: DestinationRule\nspec: {host: old.test, trafficPolicy: {loadBalancer: {localityLbSetting: "
        "{failoverPriority: [v]}}}}",
        "kind: VirtualService\nspec: {hosts: [old.test], http: [{match: [{sourceLabels: {v: '1'}}], "
        "route: [{destination: {host: old.test}}]}]}",
    ],
)
def test_labels_split_classes_only_where_a_policy_looks_at_them(build: Build, policy: str) -> None:
    plain = build(SERVICES)
    assert view(plain, v="1", hash="x") == view(plain, v="2", hash="y")
    text = f"apiVersion: networking.istio.io/v1\nmetadata: {{name: p, namespace: ns}}\n{policy}\n---\n"
    chosen = build(SERVICES + text)
    assert view(chosen, v="1", hash="x") == view(chosen, v="1", hash="y")
    assert view(chosen, v="1") != view(chosen, v="2")


def test_broken_security_policy_still_splits_classes(build: Build) -> None:
    text = (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: ns}\n"
        "spec: {selector: {matchLabels: {v: '1'}}, mtls: {mode: NONSENSE}}"
    )
    snapshot = build(text, valid=False)
    assert view(snapshot, v="1") != view(snapshot, v="2")


def test_mesh_failover_priority_counts(build: Build) -> None:
    snapshot = build(SERVICES, localityLbSetting={"failoverPriority": ["rack"]})
    assert view(snapshot, rack="1") != view(snapshot, rack="2")


@pytest.mark.parametrize(
    ("style", "name"),
    [(None, "web.ns"), ("CANONICAL_NAME_ONLY", "shop"), ("CANONICAL_NAME_AND_NAMESPACE", "shop.ns")],
)
def test_a_workload_has_a_name_where_traces_have_to_be_told_it(build: Build, style: str | None, name: str) -> None:
    labels = {"app": "web", "service.istio.io/canonical-name": "shop"}
    config = {} if style is None else {"tracingServiceName": style}
    otel = [{"name": "otel", "opentelemetry": {"service": "collector.obs", "port": 4317}}]
    snapshot = build(SERVICES, extensionProviders=otel, defaultConfig=config)
    assert view(snapshot, **labels).service_name == name
    assert view(build(SERVICES), **labels).service_name == ""
