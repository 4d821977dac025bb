"""Labs for tests of the whole: one that the fault tests share, whole again after each of them, and ones for a test
alone.

Nothing in a lab may ever be refused by an Envoy; that is looked for when a lab ends, whatever the tests were about.
"""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from federation.lab import probe
from federation.lab.client import Exchange
from federation.lab.config import Cluster, LabConfig, Service, Workload
from federation.lab.lab import Lab
from federation.lab.report import LoadReport
from federation.lab.topology import Role
from istiod.debug.report import IstiodReport

DEADLINE = 30.0
POLL = 0.1
RPS = 200.0


@dataclass
class Mesh:
    """A running lab and what tests ask of it."""

    lab: Lab
    healthy_urls: tuple[str, ...]
    kept: list[Path] = field(default_factory=list)

    async def load_through(
        self, url: str, seconds: float, *events: tuple[float, Callable[[], Awaitable[object]]], **more: str
    ) -> LoadReport:
        """200 requests a second from east's client, and events at given seconds of the run."""
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def at(when: float, event: Callable[[], Awaitable[object]]) -> None:
            await asyncio.sleep(start + when - loop.time())
            await event()

        async with asyncio.TaskGroup() as group:
            load = group.create_task(self.lab.load("east/client", url, RPS, seconds, **more))  # type: ignore[arg-type]
            for when, event in events:
                group.create_task(at(when, event))
        return load.result()

    async def call(self, url: str, source: str = "east/client", count: int = 1) -> list[Exchange]:
        """Calls from a pod."""
        return await self.lab.call(source, url, count)

    async def status(self, cluster: str) -> IstiodReport:
        """What a cluster's control plane says of itself."""
        node = self.lab.plan().istiod(cluster)
        code, body = await probe.admin(self.lab.files.http_socket(node), "/debug/status")
        assert code == 200
        return msgspec.json.decode(body, type=IstiodReport)

    async def admin(self, node: str, path: str) -> str:
        """What the Envoy of a pod or gateway answers."""
        found = self.lab.plan().node(node)
        files = self.lab.files
        socket = files.state(found) / "admin.sock" if found.role is Role.GATEWAY else files.admin_socket(found)
        return (await probe.admin(socket, path))[1].decode()

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, seconds: float = DEADLINE) -> None:
        """Wait for a state."""
        deadline = time.monotonic() + seconds
        while not await condition():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            await asyncio.sleep(POLL)

    async def until_whole(self) -> None:
        """Wait until everything that is called in tests answers from everywhere it should, and status says healthy."""

        async def answered() -> bool:
            calls = [self.call(url) for url in self.healthy_urls]
            return all(not exchange.cause for found in await asyncio.gather(*calls) for exchange in found)

        async def complete() -> bool:
            reports = [await self.status(cluster.name) for cluster in self.lab.plan().config.clusters]
            expected = len([n for n in self.lab.plan().nodes if n.role is Role.GATEWAY or _has_sidecar(n)])
            return (
                sum(len(report.proxies) for report in reports) == expected
                and all(report.federation is not None and report.federation.store.connected for report in reports)
                and all(gateways_ready(report) for report in reports)
            )

        await self.until(complete, "every proxy and store connected")
        await self.until(answered, "every service answers")

    def put(self, cluster: str, name: str, text: str) -> None:
        """A file into a cluster's configuration; gone after the test."""
        path = self.lab.files.config_dir(cluster) / name
        fresh = path.with_name(f".{name}.new")
        fresh.write_text(text)
        fresh.replace(path)
        self.kept.append(path)

    def clean(self) -> None:
        """Remove the files of the test."""
        for path in self.kept:
            path.unlink(missing_ok=True)
        self.kept.clear()


def _has_sidecar(node: object) -> bool:
    workload = getattr(node, "workload", None)
    return workload is not None and workload.sidecar


def gateways_ready(report: IstiodReport) -> bool:
    """Whether all gateways of all peers are announced as ready."""
    assert report.federation is not None
    return all(gateway.state == "ready" for peer in report.federation.peers for gateway in peer.gateways)


def lab_config(**changes: object) -> LabConfig:
    """Two clusters; west has two gateways and a service of its own."""
    settings: dict[str, object] = {
        "clusters": (Cluster(name="east"), Cluster(name="west", gateways=2)),
        "workloads": (Workload(name="client", port=0), Workload(name="echo", replicas=2, delay_ms=10)),
        "services": (
            Service(name="echo", workload="echo"),
            Service(name="only-west", workload="echo", clusters=("west",)),
        ),
    }
    return LabConfig.model_validate({**settings, **changes})


URLS = ("http://echo.demo:8080/", "http://only-west.demo:8080/")


@asynccontextmanager
async def running(config: LabConfig, urls: Sequence[str] = URLS) -> AsyncIterator[Mesh]:
    """A lab that is up, in a directory of its own; gone at the end."""
    directory = Path(f"/tmp/isthmus-{uuid.uuid4().hex[:8]}")
    lab = Lab("e2e", directory)
    mesh = Mesh(lab, tuple(urls))
    try:
        await lab.up(config)
        yield mesh
        refused = await _refused(mesh)
        assert not refused, refused
    finally:
        lab.down()
        shutil.rmtree(directory, ignore_errors=True)


async def _refused(mesh: Mesh) -> dict[str, str]:
    """What Envoys refused, by node: nothing, ever."""
    found = {}
    for node in mesh.lab.plan().nodes:
        if node.role is Role.GATEWAY or _has_sidecar(node):
            stats = await mesh.admin(node.name, "/stats?filter=update_rejected&usedonly")
            bad = [line for line in stats.splitlines() if not line.endswith(": 0")]
            if bad:
                found[node.name] = "; ".join(bad)
    for log in mesh.lab.files.directory.glob("logs/*-istiod.log"):
        nacks = [line for line in log.read_text().splitlines() if '"event": "nack"' in line]
        if nacks:
            found[log.name] = nacks[0][:500]
    return found


@pytest.fixture(scope="session")
def shared(machine: None) -> Iterator[Mesh]:
    """The lab that tests share, each in an event loop of its own."""
    with asyncio.Runner() as runner:
        lab = running(lab_config())
        yield runner.run(lab.__aenter__())
        runner.run(lab.__aexit__(None, None, None))


@pytest.fixture
async def mesh(shared: Mesh) -> object:
    """The shared lab, whole; made whole again after the test."""
    await shared.until_whole()
    yield shared
    shared.clean()
    await shared.lab.heal()
    await shared.until_whole()


@pytest.fixture
def start_lab(machine: None) -> Callable[..., object]:
    """`async with start_lab(…) as mesh`: a lab for one test, with changes to the usual configuration."""
    return lambda **changes: running(lab_config(**changes))
