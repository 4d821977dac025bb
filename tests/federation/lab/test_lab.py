"""A lab of two clusters: up, calls with identity across clusters, load under faults, heal, down without a trace."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.lab import netns
from federation.lab.config import Cluster, LabConfig, Workload
from federation.lab.faults import Delay, How
from federation.lab.lab import Lab
from federation.model.errors import Conflict, InvalidInput, Unavailable

pytestmark = pytest.mark.netns
# One network, so that the clusters need no gateways.
FLAT = LabConfig(
    clusters=(Cluster(name="east", network="n", gateways=0), Cluster(name="west", network="n", gateways=0)),
    workloads=(Workload(name="client", port=0), Workload(name="echo", replicas=2)),
)
ECHO, ONLY_WEST = "http://echo.demo:8080/", "http://only-west.demo:8080/"


@pytest.fixture(scope="module")
def running() -> Iterator[Lab]:
    """A lab that is up, for all tests here; each heals what it breaks."""
    try:
        netns.check_machine()
    except InvalidInput as wrong:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(wrong))
    directory = Path(f"/tmp/isthmus-{uuid.uuid4().hex[:8]}")
    lab = Lab("t", directory)
    try:
        asyncio.run(lab.up(FLAT))
        yield lab
    finally:
        lab.down()
        directory.rmdir()


@pytest.fixture
async def healed(running: Lab) -> Lab:
    """The running lab, whole."""
    await running.heal()
    return running


async def test_calls_cross_clusters_with_the_callers_identity(healed: Lab) -> None:
    [exchange] = await healed.call("east/client", ONLY_WEST)
    assert (exchange.status, exchange.cluster) == (200, "west")
    assert "URI=spiffe://east.lab/ns/demo/sa/client" in json.loads(exchange.body)["headers"]["x-forwarded-client-cert"]


async def test_local_copies_are_preferred_and_a_killed_pod_costs_nothing(healed: Lab) -> None:
    load = asyncio.create_task(healed.load("east/client", ECHO, 50, 3))
    await asyncio.sleep(1)
    await healed.break_("east/echo-1")
    report = await load
    assert report.failed == 0, report
    assert report.requests == 150
    assert set(report.clusters) == {"east"}


async def test_hang_freezes_and_heal_thaws(healed: Lab) -> None:
    await healed.break_("east/echo-2:sidecar", How.HANG)
    states = {p.key: p.state for p in healed.status().processes}
    assert states["east/echo-2:sidecar"] == "frozen"
    assert [f.what for f in await healed.heal()] == ["east/echo-2:sidecar"]
    status = healed.status()
    assert {p.state for p in status.processes} == {"running"}
    assert status.faults == ()


async def test_a_killed_cluster_comes_back(healed: Lab) -> None:
    await healed.break_("west")
    assert (await healed.call("east/client", ECHO))[0].cluster == "east"
    assert not (await healed.call("east/client", ONLY_WEST, timeout=2))[0].ok
    await healed.heal("west")
    async with asyncio.timeout(20):
        while not (await healed.call("east/client", ONLY_WEST, timeout=2))[0].ok:
            pass


@pytest.mark.parametrize("how", [How.DROP, How.ONE_WAY])
async def test_lost_packets(healed: Lab, how: How) -> None:
    await healed.break_("west/istiod", how)
    assert not await reaches(healed, "east/istiod", "198.18.2.3")
    await healed.heal()
    assert await reaches(healed, "east/istiod", "198.18.2.3")


async def test_delay_is_what_was_asked_for(healed: Lab) -> None:
    """One round trip through a link that holds packets for 40 ms each way."""
    await healed.break_("link:east-west", How.DELAY, Delay(40))
    delayed = min([await round_trip(healed) for _ in range(3)])
    await healed.heal()
    healthy = min([await round_trip(healed) for _ in range(3)])
    assert 0.075 < delayed - healthy < 0.12


async def test_a_link_that_loses_everything(healed: Lab) -> None:
    await healed.break_("link:east-west", How.DELAY, Delay(1, loss=1.0))
    assert not await reaches(healed, "east/istiod", "198.18.2.3")
    await healed.heal()
    assert await reaches(healed, "east/istiod", "198.18.2.3")


async def round_trip(lab: Lab) -> float:
    """Seconds that a refused connection from one control plane to the other takes."""
    start = time.perf_counter()
    await reaches(lab, "east/istiod", "198.18.2.3")
    return time.perf_counter() - start


async def reaches(lab: Lab, node: str, host: str) -> bool:
    """Whether packets go there and back: a closed port refuses."""
    plan = lab.plan()
    with netns.socket_in(plan.netns(plan.node(node))) as plug:
        try:
            async with asyncio.timeout(1):
                await asyncio.get_running_loop().sock_connect(plug, (host, 9))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return True


async def test_names_survive_a_silent_control_plane(healed: Lab) -> None:
    await healed.break_("east/istiod", How.HANG)
    exchanges = await healed.call("east/client", ONLY_WEST, 3, timeout=2)
    assert [e.status for e in exchanges] == [200] * 3


async def test_two_labs_side_by_side(healed: Lab, lab: Lab) -> None:
    await lab.up(FLAT)
    assert lab.plan().prefix != healed.plan().prefix
    for one in (lab, healed):
        assert (await one.call("west/client", ECHO))[0].cluster == "west"
    with pytest.raises(Conflict, match="there already"):
        await lab.up(FLAT)
    assert lab.down() > 0
    assert netns.found(lab.files.prefix) == []
    assert (await healed.call("east/client", ECHO))[0].ok
    with pytest.raises(Unavailable, match="there is no lab"):
        lab.status()


@pytest.mark.parametrize("lines", [1, 3, 7, 20])
def test_down_after_up_was_killed(untouched: None, lab: Lab, tmp_path: Path, lines: int) -> None:
    code = f"""import asyncio
from federation.lab.lab import Lab
from tests_flat import FLAT
from pathlib import Path
asyncio.run(Lab("t", Path({str(lab.files.directory.parent)!r})).up(FLAT))"""
    (tmp_path / "tests_flat.py").write_text(
        f"from federation.lab.config import LabConfig\nFLAT = LabConfig.model_validate_json({FLAT.model_dump_json()!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}) as up:
        deadline = time.monotonic() + 30
        while _lines(lab) < lines and time.monotonic() < deadline:
            time.sleep(0.002)
        up.send_signal(signal.SIGKILL)
    assert _lines(lab) >= lines
    lab.down()
    assert netns.found(lab.files.prefix) == []
    assert not lab.files.directory.exists()
    assert _left_over(str(lab.files.directory)) == []


def _lines(lab: Lab) -> int:
    try:
        return sum(1 for line in lab.files.journal.read_bytes().splitlines() if line)
    except FileNotFoundError:
        return 0


def _left_over(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and "pytest" not in command:
            found.append(command)
    return found
