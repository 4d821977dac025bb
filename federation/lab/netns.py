"""Makes and removes the namespaces, links, addresses, firewalls and kernel settings of a plan; opens sockets inside
them.

Owns the `ip`, `iptables` and `nsenter` commands. Knows no process of the lab and keeps no state: what is there is
found by the plan's prefix. Nothing is added to the machine's own network namespace.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from federation.lab.capture import capture_rules, router_rules
from federation.lab.topology import BRIDGE, GATEWAY_PORTS, Leg, Node, Plan, Role, Segment
from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity

T = TypeVar("T")
RUN = Path("/run/netns")
COMMAND_SECONDS = 20.0
CLONE_NEWNET = 0x40000000
TOOLS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "iptables-restore": "iptables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
# Many short connections from one address to one captured port need ports back quickly.
POD_SETTINGS = {
    "ipv4/tcp_tw_reuse": "1",
    "ipv4/ip_local_port_range": "1024 65000",
    "netfilter/nf_conntrack_tcp_timeout_time_wait": "1",
}


def check_machine() -> None:
    """Raise InvalidInput with everything that keeps a lab from starting here."""
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    findings = []
    if missing:
        message = f"there is no {', '.join(t for t in TOOLS if shutil.which(t) is None)}"
        findings.append(_finding("MissingTool", message, f"apt-get install {' '.join(missing)}"))
    if os.geteuid() != 0:
        findings.append(_finding("NotRoot", "network namespaces need root", "run it with sudo"))
    if findings:
        raise InvalidInput(findings)


def _finding(code: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, code, "Lab", "", message, fix)


def run(command: Sequence[str], text: str = "") -> str:
    """Run a command and return what it printed; raises Unavailable with what it said on failure."""
    try:
        done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(command)}: {error}") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()[:500]}")
    return done.stdout


def enter(netns: str) -> list[str]:
    """The start of a command that runs in a namespace, in place: the process id stays the same."""
    return ["nsenter", f"--net={RUN / netns}"]


def found(prefix: str) -> list[str]:
    """Namespaces that are there under a prefix."""
    return sorted(path.name for path in RUN.glob(f"{prefix}*")) if prefix else []


def up(plan: Plan) -> None:
    """Make everything of a plan. Raises Unavailable; `down` removes what was made until then."""
    run(["ip", "-batch", "-"], "".join(f"netns add {name}\n" for name in plan.namespaces()))
    run(["ip", "-batch", "-"], "\n".join(_links(plan)) + "\n")
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(_set_up_segment, plan, segment) for segment in plan.segments]
        jobs += [pool.submit(_set_up_node, plan, node) for node in plan.nodes]
        for job in jobs:
            job.result()


def down(prefix: str) -> None:
    """Remove all namespaces under a prefix, and with them their links and rules."""
    if names := found(prefix):
        run(["ip", "-batch", "-"], "".join(f"netns del {name}\n" for name in names))


def pids(netns: str) -> list[int]:
    """Every process in a namespace."""
    try:
        return [int(line) for line in run(["ip", "netns", "pids", netns]).split()]
    except Unavailable:
        return []


def _links(plan: Plan) -> Iterator[str]:
    for segment in plan.segments:
        yield f"link add {BRIDGE} netns {plan.netns(segment)} type bridge"
    for owner, leg in _legs(plan):
        peer = plan.netns(plan.network(leg.segment))
        yield f"link add {leg.interface} netns {plan.netns(owner)} type veth peer name {leg.port} netns {peer}"


def _legs(plan: Plan) -> Iterator[tuple[Node | Segment, Leg]]:
    for node in plan.nodes:
        yield from ((node, leg) for leg in node.legs)
    yield from ((segment, segment.uplink) for segment in plan.segments if segment.uplink)


def _set_up_segment(plan: Plan, segment: Segment) -> None:
    ports = [leg.port for _, leg in _legs(plan) if leg.segment == segment.name]
    lines = ["link set lo up"]
    lines += [f"addr add {address}/{prefix} dev {BRIDGE}" for address, prefix in segment.addresses]
    lines += [line for port in ports for line in (f"link set {port} master {BRIDGE}", f"link set {port} up")]
    lines += [f"link set {BRIDGE} up", *(_address_lines(segment.uplink) if segment.uplink else ())]
    # br_netfilter would drop frames between pods by the router's FORWARD policy.
    settings = {"bridge/bridge-nf-call-iptables": "0", "ipv4/ip_forward": "1" if segment.uplink else "0"}
    _configure(plan.netns(segment), lines, settings)
    if segment.uplink:
        gateways = [leg.address for node in plan.gateways() if (leg := node.wan)]
        load_rules(plan.netns(segment), router_rules(BRIDGE, segment.uplink.interface, gateways, GATEWAY_PORTS))


def _set_up_node(plan: Plan, node: Node) -> None:
    lines = ["link set lo up", *(line for leg in node.legs for line in _address_lines(leg))]
    lines += [f"route add default via {node.gateway}"] if node.gateway else []
    _configure(plan.netns(node), lines, POD_SETTINGS)
    if node.role is Role.POD and node.workload and node.workload.sidecar:
        load_rules(plan.netns(node), capture_rules())


def _address_lines(leg: Leg) -> Iterator[str]:
    yield f"addr add {leg.address}/{leg.prefix} dev {leg.interface}"
    yield f"link set {leg.interface} up"


def _configure(netns: str, lines: Sequence[str], settings: dict[str, str]) -> None:
    run(["ip", "-n", netns, "-batch", "-"], "\n".join(lines) + "\n")
    inside(netns, lambda: _write_settings(settings))


def _write_settings(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        path = Path("/proc/sys/net") / name
        if path.exists():
            path.write_text(value)


def load_rules(netns: str, rules: str) -> None:
    """Replace the tables that a text for iptables-restore names."""
    run([*enter(netns), "iptables-restore", "-w"], rules)


def change_rule(netns: str, table: str, verb: str, rule: str) -> None:
    """Add (`-I`) or delete (`-D`) one firewall rule. Raises Unavailable."""
    run([*enter(netns), "iptables", "-w", "-t", table, verb, *rule.split()])


def inside(netns: str, work: Callable[[], T]) -> T:
    """Do quick work in a namespace, in a thread of its own that ends with it."""
    result: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            _join(netns)
            result.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name=f"in {netns}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


def _join(netns: str) -> None:
    """Move this thread into a namespace (Python has os.setns from 3.12 on)."""
    try:
        with (RUN / netns).open() as handle:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(handle.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except OSError as error:
        raise Unavailable(f"namespace {netns}: {error.strerror}") from None


def socket_in(netns: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """An IPv4 socket that belongs to a namespace and can be used from anywhere in this process."""
    return inside(netns, lambda: socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK))
