"""Brings a lab up: networks and certificates, the store and joins, control planes, pods and gateways, first answers.

Each step starts all it can at once and waits for what the next one needs; what was made is in the journal, for `down`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from federation.founding import init_files
from federation.lab import clusters, faults, netns, probe
from federation.lab.config import LabConfig
from federation.lab.files import LabFiles
from federation.lab.running import Running, run_inside
from federation.lab.state import Created, ProcessSpec, Ready
from federation.lab.topology import STORE, STORE_ADDRESS, Plan, plan_lab
from federation.model.errors import Conflict, Unavailable

UP_SECONDS = 60.0
Progress = Callable[[str], None]
Try = Callable[[str, str], Awaitable[str]]


class Starting:
    """One `up` of one lab."""

    def __init__(self, files: LabFiles, progress: Progress, deadline: float) -> None:
        self._files = files
        self._running = Running(files)
        self._progress = progress
        self._deadline = deadline

    async def run(self, config: LabConfig, join: bool, attempt: Try) -> float:
        """Make and start everything; returns the seconds until every pod that calls was answered across clusters.

        `attempt(pod, url)` calls once and says why it failed, or nothing. Raises Conflict, InvalidInput, Unavailable.
        """
        start = time.monotonic()
        plan = await self._make(config)
        if join:
            await self._found(plan)
        pods = await self._start_clusters(plan, join)
        self._progress("sidecars and gateways")
        # Not before the control planes: an Envoy that dials one too early waits up to a second to try again.
        gateways = [clusters.gateway_process(plan, self._files, node) for node in (plan.gateways() if join else [])]
        self._running.start([*gateways, *(spec for spec in pods if not spec.key.endswith(faults.APP))])
        await self._running.wait(plan, [spec.key for spec in (*pods, *gateways)], self._deadline)
        if join:
            self._progress("first answers across clusters")
            await asyncio.gather(*(self._answered(pod, url, attempt) for pod, url in first_calls(plan)))
        seconds = round(time.monotonic() - start, 2)
        self._running.journal.append(Ready(seconds))
        return seconds

    async def _make(self, config: LabConfig) -> Plan:
        netns.check_machine()
        journal, files = self._running.journal, self._files
        if journal.read().created is not None:
            raise Conflict(f"lab {files.name!r} is there already: `isthmus lab down --name {files.name}` removes it")
        plan = plan_lab(config, files.prefix)
        journal.append(Created(files.name, files.prefix, config.model_dump_json()))
        self._progress("networks and certificates")
        await asyncio.gather(asyncio.to_thread(_make_networks, plan), asyncio.to_thread(_make_files, plan, files))
        return plan

    async def _found(self, plan: Plan) -> None:
        """Start the store and let all clusters join."""
        self._progress("store, and clusters joining the mesh")
        self._running.start([clusters.store_process(plan, self._files)])
        names = [cluster.name for cluster in plan.config.clusters]
        argv = [sys.executable, "-m", "federation.lab.founding", f"--lab={self._files.directory}", *names]
        await run_inside([*netns.enter(plan.netns(plan.node(STORE))), *argv], self._deadline - time.monotonic())

    async def _start_clusters(self, plan: Plan, join: bool) -> list[ProcessSpec]:
        """Start control planes and applications; returns the pods' processes when control planes are ready."""
        self._progress("control planes")
        names = [cluster.name for cluster in plan.config.clusters]
        self._running.start([clusters.istiod_process(plan, self._files, name, join) for name in names])
        self._running.start([clusters.dns_process(plan, self._files, name) for name in names])
        pods = [spec for node in plan.pods() for spec in clusters.pod_processes(plan, self._files, node)]
        self._running.start([spec for spec in pods if spec.key.endswith(faults.APP)])
        keys = [f"{name}/{part}" for name in names for part in ("istiod", "dns")]
        await self._running.wait(plan, keys, self._deadline)
        return pods

    async def _answered(self, pod: str, url: str, attempt: Try) -> None:
        while cause := await attempt(pod, url):
            if time.monotonic() > self._deadline:
                raise Unavailable(f"{pod} gets no answer from {url}: {cause}")
            await asyncio.sleep(probe.POLL_SECONDS)


def first_calls(plan: Plan) -> list[tuple[str, str]]:
    """The calls that must be answered before a lab is up: from one pod of each cluster, all that it should reach."""
    calls = []
    for cluster in plan.config.clusters:
        caller = next((pod for pod in plan.pods(cluster.name) if pod.workload and pod.workload.sidecar), None)
        for service in plan.services:
            near = plan.cluster(service.cluster).network == cluster.network
            far = service.service.export and (near or bool(plan.gateways(service.cluster)))
            if caller is not None and service.pods and (service.cluster == cluster.name or far):
                calls.append((caller.name, f"http://{service.host}:{service.service.port}/"))
    return list(dict.fromkeys(calls))


def _make_networks(plan: Plan) -> None:
    netns.down(plan.prefix)
    netns.up(plan)


def _make_files(plan: Plan, files: LabFiles) -> None:
    init_files(files.authority, clusters.mesh_info(plan), [STORE_ADDRESS])
    for cluster in plan.config.clusters:
        clusters.write_cluster_files(plan, files, cluster.name)
