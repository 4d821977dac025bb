"""A whole lab: brings it up, asks it, loads it, breaks it, heals it, takes it down.

Ties the plan to namespaces and processes. Everything that is made is in the journal before it is made, so any later
command, also one after a crash, knows what there is. Several commands may act on one lab; there is no process that
"is" the lab.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from federation.lab import faults, netns, probe, process
from federation.lab.applying import Applied, Applying
from federation.lab.capture import APP_UID
from federation.lab.client import Exchange
from federation.lab.config import LabConfig
from federation.lab.faults import Delay, FaultPlan, How
from federation.lab.files import LabFiles, labs_directory
from federation.lab.report import LoadReport
from federation.lab.running import Running, lost, run_inside
from federation.lab.starting import UP_SECONDS, Progress, Starting
from federation.lab.state import Fault, Healed, Journal, LabState, ProcessSpec
from federation.lab.topology import Node, Plan, plan_lab
from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity

LINE_SECONDS = 10.0
GONE_SECONDS = 5.0
HEAL_SECONDS = 60.0


class ProcessStatus(msgspec.Struct, frozen=True):
    """One process: running, frozen or dead."""

    key: str
    state: str
    pid: int
    address: str
    log: str


class LabStatus(msgspec.Struct, frozen=True):
    """A lab at a glance. `istiods` are the addresses for `isthmus status --istiod` and its like."""

    name: str
    directory: str
    mesh: str
    ready: bool
    up_seconds: float
    processes: tuple[ProcessStatus, ...]
    faults: tuple[Fault, ...]
    services: dict[str, dict[str, str]]
    istiods: tuple[str, ...]


def existing() -> list[str]:
    """Names of the labs of this user."""
    return sorted(path.parent.name for path in labs_directory().glob("*/journal.jsonl"))


class Lab:
    """The lab of a name. Methods raise the errors of `federation.model.errors`."""

    def __init__(self, name: str = "lab", directory: Path | None = None) -> None:
        self.files = LabFiles((directory or labs_directory()) / name)
        self.journal = Journal(self.files.journal)
        self._running = Running(self.files)

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.files.name

    # --- what there is

    def state(self) -> LabState:
        """What the journal says; raises Unavailable if there is no such lab."""
        state = self.journal.read()
        if state.created is None:
            there = f"there is {', '.join(existing())}" if existing() else "start one with `isthmus lab up`"
            raise Unavailable(f"there is no lab {self.name!r}: {there}")
        return state

    def plan(self) -> Plan:
        """What the lab is made of."""
        state = self.state()
        assert state.created is not None
        return plan_lab(state.config, state.created.prefix)

    def status(self) -> LabStatus:
        """Processes, faults and services now."""
        state, plan = self.state(), self.plan()
        addresses = {node.name: node.address for node in plan.nodes}
        addresses |= {f"{cluster.name}/dns": plan.resolver(cluster.name) for cluster in plan.config.clusters}
        processes = tuple(
            ProcessStatus(
                key,
                process.state_of(started := state.started.get(key)),
                started.pid if started else 0,
                addresses.get(spec.node, ""),
                spec.log,
            )
            for key, spec in state.processes.items()
            if not key.startswith("delay/") or process.state_of(state.started.get(key)) != "dead"
        )
        services: dict[str, dict[str, str]] = {}
        for service in plan.services:
            services.setdefault(f"{service.host}:{service.service.port}", {})[service.cluster] = service.address
        seconds = state.ready.seconds if state.ready else 0.0
        return LabStatus(
            self.name, str(self.files.directory), plan.config.mesh, state.ready is not None, seconds, processes,
            tuple(state.faults.values()), services,
            tuple(f"unix:{self.files.http_socket(plan.istiod(cluster.name))}" for cluster in plan.config.clusters),
        )  # fmt: skip

    # --- up and down

    async def up(
        self, config: LabConfig, progress: Progress = lambda _: None, join: bool = True, timeout: float = UP_SECONDS
    ) -> float:
        """Make and start everything; returns the seconds until the first answers across clusters.

        What was made stays for `down` when this fails. Raises InvalidInput, Conflict if the lab is there, Unavailable.
        """

        async def attempt(pod: str, url: str) -> str:
            return (await self.call(pod, url, timeout=2.0))[0].cause

        return await Starting(self.files, progress, time.monotonic() + timeout).run(config, join, attempt)

    def down(self) -> int:
        """Remove everything, whatever state it is in; returns how many processes were ended. May be repeated."""
        state = self.journal.read()
        prefix = state.created.prefix if state.created else self.files.prefix
        ended = 0
        for started in state.started.values():
            ended += process.send(started, signal.SIGKILL)
        for key, spec in state.processes.items():
            if key not in state.started:
                process.kill_unrecorded(spec)
        for name in netns.found(prefix):
            process.sweep(name)
        netns.down(prefix)
        shutil.rmtree(self.files.directory, ignore_errors=True)
        return ended

    # --- use

    def command_in(self, what: str, argv: Sequence[str], uid: int = APP_UID) -> list[str]:
        """A command line that runs a program inside a node, with its names and user. Raises InvalidInput."""
        plan = self.plan()
        node = self._node(plan, what)
        resolver = str(self.files.resolver(node.cluster)) if node.cluster else ""
        return process.command_of(ProcessSpec("", node.name, plan.netns(node), tuple(argv), "", uid, resolver))

    def _node(self, plan: Plan, what: str) -> Node:
        target = faults.parse_target(what, plan)
        if target.ends or target.cluster or target.part:
            message, fix = "is no single pod", f"e.g. {plan.pods()[0].name}" if plan.pods() else ""
            raise InvalidInput([Finding(Severity.ERROR, "InvalidTarget", f"Target {what}", "", message, fix)])
        return target.nodes[0]

    async def call(
        self,
        what: str,
        url: str,
        count: int = 1,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        timeout: float = 15.0,
    ) -> list[Exchange]:
        """Call a URL from a pod, one request after the other, each on its own connection."""
        argv = _load_arguments(url, method, headers or {}, timeout)
        output = await run_inside(self.command_in(what, [*argv, f"--calls={count}"]), count * timeout + 10)
        return msgspec.json.decode(output, type=list[Exchange])

    async def load(
        self, what: str, url: str, rps: float, seconds: float, method: str = "GET",
        headers: Mapping[str, str] | None = None, timeout: float = 15.0, records: Path | None = None,
    ) -> LoadReport:  # fmt: skip
        """Open-loop load from a pod. `records` gets one JSON line per request."""
        argv = [*_load_arguments(url, method, headers or {}, timeout), f"--rps={rps}", f"--seconds={seconds}"]
        argv += [f"--records={records}"] if records else []
        if records:
            await asyncio.to_thread(_make_writable, records)
        output = await run_inside(self.command_in(what, argv), seconds + timeout + 30)
        return msgspec.json.decode(output, type=LoadReport)

    async def apply(
        self, sources: Sequence[Path], clusters: Sequence[str] = (), timeout: float = 30.0
    ) -> list[Applied]:
        """Put files with objects into clusters (all unless named), until every proxy has taken what follows.

        Raises InvalidInput, Unavailable.
        """
        deadline = time.monotonic() + timeout
        return await Applying(self.files, self.plan(), clusters, deadline).apply(sources)

    async def delete(
        self, sources: Sequence[Path], clusters: Sequence[str] = (), timeout: float = 30.0
    ) -> list[Applied]:
        """Take files away that were applied, known by their names. Raises InvalidInput, Unavailable."""
        deadline = time.monotonic() + timeout
        return await Applying(self.files, self.plan(), clusters, deadline).delete(sources)

    def logs(self, what: str) -> dict[str, Path]:
        """Logs of the processes that a WHAT means, by process key; also of a name server (`east/dns`)."""
        state, plan = self.state(), self.plan()
        if what in state.processes:
            return {what: Path(state.processes[what].log)}
        target = faults.parse_target(what, plan)
        keys = faults.process_keys(target.nodes, target.part)
        return {key: Path(state.processes[key].log) for key in keys if key in state.processes}

    # --- break and heal

    async def break_(self, what: str, how: How | None = None, delay: Delay | None = None) -> Fault:
        """Break something; `heal` reverts it. Raises InvalidInput, Unavailable."""
        state, plan = self.state(), self.plan()
        target = faults.parse_target(what, plan)
        how = how or faults.default_how(target)
        queue = 1 + sum(key.startswith("delay/") for key in state.processes)
        todo = faults.plan_fault(plan, target, how, queue)
        identifier = uuid.uuid4().hex[:8]
        lines = [self._line(identifier, line, delay or Delay()) for line in todo.lines]
        keys = tuple(line.key for line in lines)
        fault = Fault(identifier, what, how.value, time.time(), todo.rules, todo.kill, todo.freeze, keys)
        self.journal.append(fault)
        self._running.start(lines)
        await self._wait_lines(lines, todo)
        for rule in todo.rules:
            netns.change_rule(rule.netns, rule.table, "-I", rule.rule)
        for keys, number in ((todo.kill, signal.SIGKILL), (todo.freeze, signal.SIGSTOP)):
            for key in keys:
                if (started := state.started.get(key)) is not None:
                    process.send(started, number)
        await asyncio.gather(*(asyncio.to_thread(_see_gone, state, key) for key in todo.kill))
        return fault

    def _line(self, fault: str, line: faults.DelayLine, delay: Delay) -> ProcessSpec:
        argv = (
            sys.executable,
            "-m",
            "federation.lab.delay",
            f"--queue={line.queue}",
            f"--delay-ms={delay.delay_ms}",
            f"--jitter-ms={delay.jitter_ms}",
            f"--loss={delay.loss}",
        )
        key = f"delay/{fault}/{line.queue}"
        return ProcessSpec(key, line.netns, line.netns, argv, str(self.files.log(key)))

    async def _wait_lines(self, lines: Sequence[ProcessSpec], todo: FaultPlan) -> None:
        state = self.state()
        for spec, line in zip(lines, todo.lines, strict=True):
            started = state.started[spec.key]

            async def is_bound(pid: int = started.pid, queue: int = line.queue) -> bool:
                return _has_queue(pid, queue)

            name = f"delay line {line.queue}"
            await probe.until(is_bound, name, time.monotonic() + LINE_SECONDS, lost(state, spec.key))

    async def heal(self, what: str = "") -> list[Fault]:
        """Revert all faults, or those of one WHAT; returns them when everything is ready again. Raises Unavailable."""
        state, plan = self.state(), self.plan()
        chosen = [fault for fault in state.faults.values() if what in ("", fault.what)]
        for fault in chosen:
            for rule in fault.rules:
                _delete_rule(rule.netns, rule.table, rule.rule)
            for key in fault.lines:
                if (started := state.started.get(key)) is not None:
                    process.send(started, signal.SIGKILL)
            for key in fault.frozen:
                if (started := state.started.get(key)) is not None:
                    process.send(started, signal.SIGCONT)
        touched = dict.fromkeys(key for fault in chosen for key in (*fault.killed, *fault.frozen))
        still = {
            key for fault in state.faults.values() if fault not in chosen for key in (*fault.killed, *fault.frozen)
        }
        wanted = [key for key in touched if key in state.processes and key not in still]
        self._running.start(
            [state.processes[key] for key in wanted if process.state_of(state.started.get(key)) == "dead"]
        )
        self.journal.append(*(Healed(fault.id) for fault in chosen))
        await self._running.wait(plan, wanted, time.monotonic() + HEAL_SECONDS)
        return chosen


def _see_gone(state: LabState, key: str) -> None:
    """Wait for what was killed to be gone: who heals at once must not find it alive."""
    if (started := state.started.get(key)) is not None:
        process.wait_gone(started, GONE_SECONDS)


def _delete_rule(name: str, table: str, rule: str) -> None:
    """Delete a rule that may not be there: a crash may have come between the journal and the rule."""
    try:
        netns.change_rule(name, table, "-D", rule)
    except Unavailable:
        if name in netns.found(name):
            listed = netns.run([*netns.enter(name), "iptables", "-w", "-t", table, "-S"])
            if f"-A {rule}" in listed:
                raise


def _has_queue(pid: int, queue: int) -> bool:
    """Whether a queue is bound in the namespace of a process."""
    try:
        lines = Path(f"/proc/{pid}/net/netfilter/nfnetlink_queue").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[0] == str(queue) for line in lines if line.strip())


def _load_arguments(url: str, method: str, headers: Mapping[str, str], timeout: float) -> list[str]:
    pairs = [f"--header={name}: {value}" for name, value in headers.items()]
    return [
        sys.executable,
        "-m",
        "federation.lab.load",
        f"--url={url}",
        f"--method={method}",
        f"--timeout={timeout}",
        *pairs,
    ]


def _make_writable(file: Path) -> None:
    file.touch()
    os.chown(file, APP_UID, APP_UID)
