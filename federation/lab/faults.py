"""What can be broken in a lab, and what has to be done for it. Pure: words and a plan in, rules and process keys out.

WHAT is a pod (`east/echo-1`), a workload's pods (`east/echo`), one half of a pod (`east/echo-1:sidecar`, `:app`), a
gateway (`west/gateway`), a control plane (`west/istiod`), the store (`etcd`), a whole cluster (`west`), or a link
(`link:east-west`, `link:west-etcd`). HOW is kill, hang, drop, one-way, delay or partition.

All packets are dropped or held on the receiving side where that is possible: that is where a real loss shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from federation.lab.state import FaultRule
from federation.lab.topology import STORE, WAN, Leg, Node, Plan, Role, Segment
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity

APP, SIDECAR = "app", "sidecar"
LINK = "link:"


class How(StrEnum):
    """kill: end processes at once. hang: freeze them, connections stay open. drop: lose all packets to and from. one-
    way: lose what the first sends to the second, or all that a node sends. delay: hold what arrives. partition:
    cut off from the WAN.
    """

    KILL = "kill"
    HANG = "hang"
    DROP = "drop"
    ONE_WAY = "one-way"
    DELAY = "delay"
    PARTITION = "partition"


@dataclass(frozen=True, slots=True)
class Target:
    """What was meant: nodes, perhaps one half of them, or two ends of a link."""

    text: str
    nodes: tuple[Node, ...] = ()
    part: str = ""
    cluster: str = ""
    ends: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """How long packets are held, in milliseconds; `loss` is the share that never comes."""

    delay_ms: float = 50.0
    jitter_ms: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class DelayLine:
    """A delay line to be started in a namespace, with its queue."""

    netns: str
    queue: int


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What breaking something takes."""

    rules: tuple[FaultRule, ...] = ()
    kill: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    lines: tuple[DelayLine, ...] = field(default=())


def parse_target(text: str, plan: Plan) -> Target:
    """What a WHAT means in this lab; raises InvalidInput that lists what there is."""
    if text.startswith(LINK):
        return _parse_link(text, plan)
    if text in _clusters(plan):
        return Target(text, tuple(node for node in plan.nodes if node.cluster == text), cluster=text)
    name, _, part = text.partition(":")
    nodes = tuple(node for node in plan.nodes if node.name == name or _is_replica(node, name))
    if not nodes or part not in ("", *(_parts(nodes[0]))):
        raise _unknown(text, plan)
    return Target(text, nodes, part)


def _is_replica(node: Node, name: str) -> bool:
    cluster, _, short = name.partition("/")
    if node.cluster != cluster:
        return False
    return short == (node.workload.name if node.workload else node.role.value)


def _parts(node: Node) -> tuple[str, ...]:
    if node.workload is None:
        return ()
    return (*((APP,) if node.workload.port else ()), *((SIDECAR,) if node.workload.sidecar else ()))


def _parse_link(text: str, plan: Plan) -> Target:
    ends = [*_clusters(plan), STORE]
    for first in ends:
        second = text.removeprefix(f"{LINK}{first}-")
        if second in ends and second != first:
            return Target(text, ends=(first, second))
    raise _unknown(text, plan)


def _clusters(plan: Plan) -> list[str]:
    return [cluster.name for cluster in plan.config.clusters]


def _unknown(text: str, plan: Plan) -> InvalidInput:
    known = [node.name for node in plan.nodes]
    example = next((node for node in plan.nodes if node.role is Role.POD and SIDECAR in _parts(node)), None)
    more = [
        *_clusters(plan),
        *([f"{example.name}:{SIDECAR}"] if example else []),
        *(f"{LINK}{_clusters(plan)[0]}-{other}" for other in (*_clusters(plan)[1:2], STORE)),
    ]
    return _invalid(text, "is not in this lab", f"one of {', '.join((*known, *more))}")


def _invalid(text: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput([Finding(Severity.ERROR, "InvalidFault", f"Target {text}", "", message, fix)])


def default_how(target: Target) -> How:
    """What breaking means when nothing is said: a link is cut, everything else killed."""
    return How.PARTITION if target.ends else How.KILL


def process_keys(nodes: Sequence[Node], part: str = "") -> tuple[str, ...]:
    """The keys of the processes of these nodes, or of one half of them."""
    return tuple(
        key
        for node in nodes
        for key in ([f"{node.name}:{p}" for p in _parts(node) if part in ("", p)] if node.workload else [node.name])
    )


def plan_fault(plan: Plan, target: Target, how: How, first_queue: int) -> FaultPlan:
    """What to do for a fault; queues of delay lines are numbered from `first_queue`. Raises InvalidInput if it makes
    no sense.
    """
    if how in (How.KILL, How.HANG):
        if target.ends:
            raise _invalid(target.text, f"a link cannot {how.value}", "drop, one-way, delay or partition it")
        keys = process_keys(target.nodes, target.part)
        if not keys:
            raise _invalid(target.text, "runs no process", "choose a pod that serves or has a sidecar")
        return FaultPlan(kill=keys) if how is How.KILL else FaultPlan(freeze=keys)
    if target.part:
        raise _invalid(target.text, f"{how.value} acts on a whole pod", f"use {target.text.partition(':')[0]}")
    if how is How.DELAY:
        return _delay(list(_receivers(plan, target)), first_queue)
    if target.ends:
        first, second = target.ends
        arriving = list(_between(plan, first, second))
        returning = [] if how is How.ONE_WAY else list(_between(plan, second, first))
        return FaultPlan(tuple(_drop(netns, match) for netns, match in (*arriving, *returning)))
    if how is How.PARTITION and not target.cluster:
        how = How.DROP
    return FaultPlan(tuple(_node_rules(plan, target, how)))


def _node_rules(plan: Plan, target: Target, how: How) -> Iterator[FaultRule]:
    for owner, leg in _legs(plan, target):
        if how is How.PARTITION and leg.segment != WAN:
            continue
        netns = plan.netns(owner)
        yield FaultRule(netns, "mangle", f"POSTROUTING -o {leg.interface} -j DROP")
        if how is not How.ONE_WAY:
            yield _drop(netns, f"-i {leg.interface}")


def _legs(plan: Plan, target: Target) -> Iterator[tuple[Node | Segment, Leg]]:
    """Legs of the nodes that are meant, and the router's uplink where a whole network is."""
    for node in target.nodes:
        yield from ((node, leg) for leg in node.legs)
    if target.cluster:
        yield from _uplink(plan, target.cluster)


def _uplink(plan: Plan, cluster: str) -> Iterator[tuple[Node | Segment, Leg]]:
    """The router through which a cluster's pods reach the WAN, if no other cluster uses it."""
    network = plan.network(plan.cluster(cluster).network)
    if network.uplink and len(network.resolvers) == 1:
        yield network, network.uplink


def _between(plan: Plan, sender: str, receiver: str) -> Iterator[tuple[str, str]]:
    """Where packets from one end of a link arrive at the other: namespace, and what to match."""
    nodes = [node for node in plan.nodes if receiver == (node.cluster or STORE)]
    legs: list[tuple[Node | Segment, Leg]] = [(node, leg) for node in nodes for leg in node.legs]
    legs += _uplink(plan, receiver) if receiver != STORE else []
    networks = {plan.cluster(end).network for end in (sender, receiver) if end != STORE}
    for owner, leg in legs:
        if leg.segment == WAN:
            yield plan.netns(owner), f"-i {leg.interface} -s {plan.wan_range(sender)}"
        elif len(networks) == 1 and STORE not in (sender, receiver):
            yield plan.netns(owner), f"-i {leg.interface} -s {plan.pod_range(sender)}"


def _receivers(plan: Plan, target: Target) -> Iterator[tuple[str, str]]:
    if target.ends:
        first, second = target.ends
        yield from _between(plan, first, second)
        yield from _between(plan, second, first)
        return
    for owner, leg in _legs(plan, target):
        if not target.cluster or leg.segment == WAN:
            yield plan.netns(owner), f"-i {leg.interface}"


def _drop(netns: str, match: str) -> FaultRule:
    return FaultRule(netns, "raw", f"PREROUTING {match} -j DROP")


def _delay(receivers: Sequence[tuple[str, str]], first_queue: int) -> FaultPlan:
    rules, lines = [], []
    for queue, (netns, match) in enumerate(receivers, first_queue):
        rules.append(FaultRule(netns, "mangle", f"PREROUTING {match} -j NFQUEUE --queue-num {queue} --queue-bypass"))
        lines.append(DelayLine(netns, queue))
    return FaultPlan(tuple(rules), lines=tuple(lines))
