"""The plan of a lab: every address once, every leg on a segment, and what a cluster's packets look like on the WAN."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from federation.lab.config import Cluster, LabConfig, Service, Workload, default_config
from federation.lab.topology import WAN, Plan, Role, plan_lab


def test_default_is_eight_pods_in_two_clusters() -> None:
    plan = plan_lab(default_config(), "p-")
    pods = [node.name for node in plan.nodes if node.role in (Role.POD, Role.GATEWAY)]
    assert sorted(pods) == sorted(
        f"{c}/{p}" for c in ("east", "west") for p in ("client", "echo-1", "echo-2", "gateway")
    )
    assert [str(plan.node(f"east/echo-{n}").locality) for n in (1, 2)] == [
        "region-east/region-east-a",
        "region-east/region-east-b",
    ]
    assert [(s.host, s.cluster, len(s.pods)) for s in plan.services] == [
        ("echo.demo.svc.cluster.local", "east", 2),
        ("echo.demo.svc.cluster.local", "west", 2),
        ("only-west.demo.svc.cluster.local", "west", 2),
    ]


def test_one_network_for_two_clusters() -> None:
    clusters = (Cluster(name="a", network="n"), Cluster(name="b", network="n"))
    plan = plan_lab(LabConfig(clusters=clusters, services=()), "p-")
    assert [segment.name for segment in plan.segments] == [WAN, "n"]
    assert plan.pod_range("a") != plan.pod_range("b")
    assert {node.gateway for node in plan.pods()} == {"10.1.0.1"}


configs = st.builds(
    lambda networks, replicas, gateways: LabConfig(
        clusters=tuple(Cluster(name=f"c{n}", network=f"n{net}", gateways=gateways) for n, net in enumerate(networks)),
        workloads=(Workload(name="client", port=0), Workload(name="echo", replicas=replicas)),
        services=(Service(name="echo", workload="echo"),),
    ),
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.integers(1, 50),
    st.integers(0, 3),
)


@given(configs)
def test_addresses_and_names_are_unique_and_in_range(config: LabConfig) -> None:
    plan = plan_lab(config, "p-")
    legs = [leg for node in plan.nodes for leg in node.legs] + [s.uplink for s in plan.segments if s.uplink]
    addresses = [leg.address for leg in legs] + [a for s in plan.segments for a, _ in s.addresses]
    addresses += {s.address for s in plan.services}
    assert len(addresses) == len(set(addresses))
    assert len({leg.port for leg in legs}) == len(legs)
    assert max(len(leg.port) for leg in legs) <= 15
    assert len(plan.namespaces()) == len(set(plan.namespaces()))
    _check_ranges(plan)


def _check_ranges(plan: Plan) -> None:
    for node in plan.nodes:
        for leg in node.legs:
            expected = plan.wan_range(node.cluster or "etcd") if leg.segment == WAN else plan.pod_range(node.cluster)
            assert ip_address(leg.address) in ip_network(expected)
