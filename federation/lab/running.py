"""The processes of one lab: starts them with a record, and knows how to see that each kind is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from federation.lab import clusters, faults, probe, process
from federation.lab.files import LabFiles
from federation.lab.state import Journal, LabState, ProcessSpec
from federation.lab.topology import Node, Plan, Role
from federation.model.errors import Unavailable

HEALTH_PORT = 15021


class Running:
    """Acts on the journal of a lab; keeps nothing itself."""

    def __init__(self, files: LabFiles) -> None:
        self.files = files
        self.journal = Journal(files.journal)

    def start(self, specs: Sequence[ProcessSpec]) -> None:
        """Write each down, then start it. Raises Unavailable."""
        for spec in specs:
            self.journal.append(spec)
            self.journal.append(process.start(spec))

    async def wait(self, plan: Plan, keys: Sequence[str], deadline: float) -> None:
        """Wait until these are ready. Raises Unavailable at the deadline (monotonic) or when one of them has ended."""
        state = self.journal.read()
        await asyncio.gather(
            *(probe.until(self._check(plan, state.processes[k]), k, deadline, lost(state, k)) for k in keys)
        )

    def _check(self, plan: Plan, spec: ProcessSpec) -> probe.Check:
        """How to see that a process is ready."""
        if spec.node.endswith("/dns"):
            return lambda: probe.is_listening(spec.netns, plan.resolver(spec.node.partition("/")[0]), 53)
        node = plan.node(spec.node)
        if node.role is Role.STORE:
            return lambda: probe.is_ok(spec.netns, node.address, clusters.STORE_HEALTH_PORT, "/health")
        if node.role is Role.GATEWAY:
            return lambda: probe.is_ok(spec.netns, node.address, HEALTH_PORT, "/healthz/ready")
        if node.role is Role.ISTIOD:
            return lambda: self._is_istiod_ready(spec.netns, node)
        if spec.key.endswith(faults.SIDECAR):
            return lambda: probe.is_unix_ok(self.files.admin_socket(node), "/ready")
        port = node.workload.port if node.workload else 0
        return lambda: probe.is_listening(spec.netns, "127.0.0.1", port)

    async def _is_istiod_ready(self, name: str, node: Node) -> bool:
        ready = await probe.is_unix_ok(self.files.http_socket(node), "/ready")
        return ready and await probe.is_listening(name, node.address, clusters.SECURE_XDS_PORT)


def lost(state: LabState, key: str) -> Callable[[], str]:
    """Asks for the reason why a process will never be ready: the end of its log, if it is dead."""

    def reason() -> str:
        if process.state_of(state.started.get(key)) != "dead":
            return ""
        return process.log_tail(state.processes[key].log) or "it said nothing"

    return reason


async def run_inside(command: Sequence[str], seconds: float) -> bytes:
    """Run a command to its end and return what it printed. Raises Unavailable."""
    running = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await running.communicate()
    except TimeoutError:
        raise Unavailable(f"{command[-1]} gave no result within {seconds:.0f} s") from None
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode:
        raise Unavailable(errors.decode(errors="replace").strip()[-2000:] or f"exit code {running.returncode}")
    return output
