"""Real control planes for tests: processes on files and free ports, asked through their own views, never waited for
by the clock.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from federation.lab.ports import free_ports

START_SECONDS = 20.0
STOP_SECONDS = 5.0
BIN = Path(sys.executable).parent

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float, what: str = "") -> Any:
    """The first true answer of a check, which is asked again until then; fails with the last answer after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or check}: {answer!r}"
        await asyncio.sleep(0.01)


class Istiod:
    """One control plane. Started anew it keeps its ports and files, as one that was replaced would."""

    def __init__(self, config_dir: Path, log: Path, flags: dict[str, str]) -> None:
        self.config_dir, self.log = config_dir, log
        self.xds_port, self.http_port, self.metrics_port = free_ports(3)
        self._flags = {
            "cluster": "c",
            "network": "n",
            "config_dir": str(config_dir),
            "xds_address": self.xds_address,
            "http_address": f"127.0.0.1:{self.http_port}",
            "metrics_address": f"127.0.0.1:{self.metrics_port}",
            **flags,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def xds_address(self) -> str:
        """Where it serves configuration."""
        return f"127.0.0.1:{self.xds_port}"

    async def start(self) -> None:
        """Start it and wait until it is ready and listens."""
        self._spawn()
        await eventually(self._serves, START_SECONDS, "istiod is ready")

    def _spawn(self) -> None:
        flags = [part for name, value in self._flags.items() for part in (f"--{name.replace('_', '-')}", value)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([str(BIN / "istiod"), "run", *flags], stdout=log, stderr=log, cwd="/")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; by force if it does not obey."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def write(self, name: str, text: str) -> None:
        """Put a file into its configuration, whole at once."""
        new = self.config_dir / f".{name}.new"
        new.write_text(text)
        new.rename(self.config_dir / name)

    def remove(self, name: str) -> None:
        """Take a file out of its configuration."""
        (self.config_dir / name).unlink()

    async def view(self, name: str, **parameters: str) -> Any:
        """What a debug view says."""
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{self.http_port}/debug/{name}"
            async with client.get(url, params=parameters, timeout=aiohttp.ClientTimeout(5)) as answer:
                return await answer.json()

    async def metrics(self) -> Samples:
        """All its metrics, by name and labels."""
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as got,
        ):
            text = await got.text()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def metric(self, name: str, **labels: str) -> float:
        """One metric; 0 if it was never counted."""
        return (await self.metrics()).get((name, tuple(sorted(labels.items()))), 0.0)

    async def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"istiod ended:\n{self.log.read_text(errors='replace')[-4000:]}"
        try:
            async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{self.http_port}/ready") as got:
                if got.status != 200:
                    return False
            _, writer = await asyncio.open_connection("127.0.0.1", self.xds_port)
        except (OSError, aiohttp.ClientError):
            return False
        writer.close()
        return True


Start = Callable[..., Awaitable[Istiod]]


@pytest.fixture
def istiod(tmp_path: Path) -> Iterator[Start]:
    """Starts control planes: `await istiod(config_dir, mesh_config="…")` with flags of `istiod run`; stops them all."""
    started: list[Istiod] = []

    async def start(config_dir: Path, **flags: str) -> Istiod:
        made = Istiod(config_dir, tmp_path / f"istiod-{len(started)}.log", flags)
        started.append(made)
        await made.start()
        return made

    yield start
    for one in started:
        one.stop()


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Awaitable[Any]]:
    """`await eventually(check, seconds, what)`: waits for a state that can be observed."""
    return eventually
