"""What a WHAT means, and what breaking it takes."""

from __future__ import annotations

import pytest

from federation.lab.config import Cluster, LabConfig, default_config
from federation.lab.faults import How, default_how, parse_target, plan_fault, process_keys
from federation.lab.state import FaultRule
from federation.lab.topology import plan_lab
from federation.model.errors import InvalidInput

PLAN = plan_lab(default_config(), "p-")


@pytest.mark.parametrize(
    ("what", "keys"),
    [
        ("east/echo-1", ("east/echo-1:sidecar", "east/echo-1:app")),
        ("east/echo-1:sidecar", ("east/echo-1:sidecar",)),
        ("east/echo:app", ("east/echo-1:app", "east/echo-2:app")),
        ("east/client", ("east/client:sidecar",)),
        ("west/gateway", ("west/gateway",)),
        ("west/istiod", ("west/istiod",)),
        ("etcd", ("etcd",)),
        (
            "west",
            (
                "west/istiod", "west/gateway", "west/client:sidecar", "west/echo-1:app", "west/echo-1:sidecar",
                "west/echo-2:app", "west/echo-2:sidecar",
            ),
        ),
    ],
)  # fmt: skip
def test_processes_of_a_target(what: str, keys: tuple[str, ...]) -> None:
    target = parse_target(what, PLAN)
    assert sorted(process_keys(target.nodes, target.part)) == sorted(keys)
    assert sorted(plan_fault(PLAN, target, How.KILL, 1).kill) == sorted(keys)
    assert sorted(plan_fault(PLAN, target, How.HANG, 1).freeze) == sorted(keys)


@pytest.mark.parametrize("what", ["", "mars", "east/", "east/echo-3", "east/echo-1:lid", "east/client:app", "link:east",
                                  "link:east-east", "link:east-mars", "etcd:app", "west:app"])  # fmt: skip
def test_unknown_targets_say_what_there_is(what: str) -> None:
    with pytest.raises(InvalidInput, match="east/echo-1"):
        parse_target(what, PLAN)


def test_gateways_can_be_meant_together_or_alone() -> None:
    plan = plan_lab(LabConfig(clusters=(Cluster(name="a", gateways=2),), services=()), "p-")
    assert [n.name for n in parse_target("a/gateway", plan).nodes] == ["a/gateway-1", "a/gateway-2"]
    assert [n.name for n in parse_target("a/gateway-2", plan).nodes] == ["a/gateway-2"]


def test_a_link_is_cut_on_all_receivers_and_only_for_the_other_end() -> None:
    target = parse_target("link:east-west", PLAN)
    assert default_how(target) is How.PARTITION
    rules = plan_fault(PLAN, target, How.PARTITION, 1).rules
    into_west = {FaultRule(f"p-{n}", "raw", f"PREROUTING -i {i} -s 198.18.1.0/24 -j DROP") for n, i in (
        ("west-istiod", "eth1"), ("west-gateway", "eth1"), ("segment-net-west", "wan0"))}  # fmt: skip
    assert into_west < set(rules)
    assert len(rules) == 6
    assert set(plan_fault(PLAN, target, How.ONE_WAY, 1).rules) == into_west


def test_a_link_inside_one_network_is_cut_between_pods() -> None:
    clusters = (Cluster(name="a", network="n", gateways=0), Cluster(name="b", network="n", gateways=0))
    plan = plan_lab(LabConfig(clusters=clusters, services=()), "p-")
    rules = plan_fault(plan, parse_target("link:a-b", plan), How.ONE_WAY, 1).rules
    assert FaultRule("p-b-echo-1", "raw", "PREROUTING -i eth0 -s 10.1.1.0/24 -j DROP") in rules
    assert not any("p-a-" in rule.netns for rule in rules)


def test_partition_of_a_cluster_leaves_its_inside_alone() -> None:
    rules = plan_fault(PLAN, parse_target("west", PLAN), How.PARTITION, 1).rules
    assert {r.netns for r in rules} == {"p-west-istiod", "p-west-gateway", "p-segment-net-west"}
    assert not any("eth0" in r.rule for r in rules)


def test_one_way_of_a_pod_loses_what_it_sends() -> None:
    rules = plan_fault(PLAN, parse_target("east/echo-1", PLAN), How.ONE_WAY, 1).rules
    assert rules == (FaultRule("p-east-echo-1", "mangle", "POSTROUTING -o eth0 -j DROP"),)


def test_delay_has_a_queue_for_every_receiver() -> None:
    plan = plan_fault(PLAN, parse_target("link:west-etcd", PLAN), How.DELAY, 7)
    assert [line.queue for line in plan.lines] == list(range(7, 7 + len(plan.rules)))
    assert {line.netns for line in plan.lines} == {"p-etcd", "p-west-istiod", "p-west-gateway", "p-segment-net-west"}


@pytest.mark.parametrize(
    ("what", "how"), [("link:east-west", How.KILL), ("link:east-west", How.HANG), ("east/echo-1:app", How.DROP)]
)
def test_nonsense_is_refused(what: str, how: How) -> None:
    with pytest.raises(InvalidInput):
        plan_fault(PLAN, parse_target(what, PLAN), how, 1)
