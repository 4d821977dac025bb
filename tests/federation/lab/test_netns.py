"""Namespaces: who reaches whom, what is captured, and that nothing stays."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from federation.lab import netns, process
from federation.lab.config import LabConfig, default_config
from federation.lab.faults import How, parse_target, plan_fault
from federation.lab.state import ProcessSpec
from federation.lab.topology import Plan, plan_lab
from federation.model.errors import Unavailable

pytestmark = pytest.mark.netns
CONNECT = "import socket,sys; s=socket.create_connection((sys.argv[1],int(sys.argv[2])),2.5); print(s.recv(9).decode())"


@pytest.fixture
def plan(prefix: str, untouched: None) -> Iterator[Plan]:
    made = plan_lab(default_config(), prefix)
    netns.up(made)
    yield made
    netns.down(prefix)
    assert netns.found(prefix) == []


class Listeners:
    """Listening sockets inside namespaces; each greets with its name."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: dict[str, socket.socket] = {}

    def add(self, name: str, node: str, port: int) -> None:
        namespace = self._plan.netns(self._plan.node(node))
        listener = netns.inside(namespace, lambda: socket.create_server(("0.0.0.0", port)))
        listener.setblocking(False)
        self._open[name] = listener

    def reached(self, node: str, host: str, port: int, uid: int) -> tuple[str, str]:
        """Which listener a connection from a node arrives at, and from which address; ("", "") if none."""
        argv = (sys.executable, "-c", CONNECT, host, str(port))
        spec = ProcessSpec("", node, self._plan.netns(self._plan.node(node)), argv, "", uid)
        with subprocess.Popen(process.command_of(spec), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
            while client.poll() is None:
                for name, listener in self._open.items():
                    with suppress(BlockingIOError):
                        connection, peer = listener.accept()
                        connection.sendall(name.encode())
                        connection.close()
                        client.wait(5)
                        return name, peer[0]
        return "", ""

    def close(self) -> None:
        for listener in self._open.values():
            listener.close()


@pytest.fixture
def listeners(plan: Plan) -> Iterator[Listeners]:
    made = Listeners(plan)
    yield made
    made.close()


def test_applications_are_captured_and_proxies_are_not(plan: Plan, listeners: Listeners) -> None:
    listeners.add("outbound", "east/client", 15001)
    listeners.add("inbound", "east/echo-1", 15006)
    listeners.add("health", "east/echo-1", 15021)
    listeners.add("app", "east/echo-1", 8080)
    echo = plan.node("east/echo-1").address
    assert listeners.reached("east/client", echo, 8080, 1000)[0] == "outbound"
    assert listeners.reached("east/client", "10.101.0.1", 80, 1000)[0] == "outbound"
    assert listeners.reached("east/client", echo, 8080, 1337)[0] == "inbound"
    assert listeners.reached("east/client", echo, 15021, 1337)[0] == "health"
    assert listeners.reached("east/echo-1", "127.0.0.1", 8080, 1000)[0] == "app"


def test_other_networks_are_reached_through_gateways_only(plan: Plan, listeners: Listeners) -> None:
    listeners.add("gateway", "west/gateway", 15443)
    listeners.add("other", "west/gateway", 9999)
    listeners.add("inbound", "west/echo-1", 15006)
    gateway = plan.node("west/gateway").wan
    assert gateway is not None
    assert listeners.reached("east/client", gateway.address, 15443, 1337) == ("gateway", "198.18.1.254")
    assert listeners.reached("east/client", gateway.address, 9999, 1337)[0] == ""
    assert listeners.reached("east/client", plan.node("west/echo-1").address, 8080, 1337)[0] == ""
    assert listeners.reached("west/gateway", plan.node("west/echo-1").address, 8080, 1337)[0] == "inbound"


def test_control_planes_reach_the_store_and_proxies_reach_control_planes(plan: Plan, listeners: Listeners) -> None:
    listeners.add("etcd", "etcd", 2379)
    listeners.add("istiod", "east/istiod", 15012)
    assert listeners.reached("east/istiod", plan.node("etcd").address, 2379, 0) == ("etcd", "198.18.1.3")
    assert listeners.reached("east/echo-2", plan.istiod("east").address, 15012, 1337)[0] == "istiod"
    assert listeners.reached("east/client", plan.node("etcd").address, 2379, 1337)[0] == ""


@pytest.mark.parametrize(
    ("what", "how", "east_to_west", "west_to_east"),
    [
        ("link:east-west", How.PARTITION, False, False),
        ("link:east-etcd", How.PARTITION, True, True),
        ("east", How.PARTITION, False, False),
        ("west/gateway", How.DROP, False, True),
    ],
)
def test_faults_cut_what_they_say(
    plan: Plan, listeners: Listeners, what: str, how: How, east_to_west: bool, west_to_east: bool
) -> None:
    listeners.add("east", "east/gateway", 15443)
    listeners.add("west", "west/gateway", 15443)
    addresses = {name: leg.address for name in ("east", "west") if (leg := plan.node(f"{name}/gateway").wan)}
    rules = plan_fault(plan, parse_target(what, plan), how, 1).rules
    for rule in rules:
        netns.change_rule(rule.netns, rule.table, "-I", rule.rule)
    assert bool(listeners.reached("east/client", addresses["west"], 15443, 1337)[0]) is east_to_west
    assert bool(listeners.reached("west/client", addresses["east"], 15443, 1337)[0]) is west_to_east
    for rule in rules:
        netns.change_rule(rule.netns, rule.table, "-D", rule.rule)
    assert listeners.reached("east/client", addresses["west"], 15443, 1337)[0] == "west"


def test_half_of_it_can_be_removed(prefix: str, untouched: None) -> None:
    plan = plan_lab(LabConfig(), prefix)
    names = plan.namespaces()
    netns.run(["ip", "-batch", "-"], "".join(f"netns add {name}\n" for name in names[: len(names) // 2]))
    with pytest.raises(Unavailable):
        netns.up(plan)
    netns.down(prefix)
    assert netns.found(prefix) == []
    netns.down(prefix)
