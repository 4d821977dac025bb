"""The supervisor's hold on a child process, tried with a program that is as stubborn as needed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eastwest_gateway.envoy import Admin, run_envoy
from federation.model.errors import Unavailable

CHILD = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] != "Z"


async def until_written(file: Path) -> int:
    async with asyncio.timeout(10):
        while not file.exists() or not file.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return int(file.read_text())


async def test_a_child_that_ends_is_an_error_to_be_supervised() -> None:
    with pytest.raises(Unavailable, match="code 3"):
        await run_envoy([sys.executable, "-c", "raise SystemExit(3)"])


async def test_a_program_that_is_not_there_is_said_by_name() -> None:
    with pytest.raises(Unavailable, match="/nowhere/envoy cannot be started"):
        await run_envoy(["/nowhere/envoy"])


async def test_the_child_ends_with_the_task(tmp_path: Path) -> None:
    task = asyncio.create_task(run_envoy([sys.executable, "-c", CHILD, str(tmp_path / "pid")]))
    pid = await until_written(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(pid)


async def test_the_child_dies_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", CHILD, str(tmp_path / "pid")]
    code = f"import asyncio; from eastwest_gateway.envoy import run_envoy; asyncio.run(run_envoy({argv!r}))"
    supervisor = subprocess.Popen([sys.executable, "-c", code])
    pid = await until_written(tmp_path / "pid")
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    deadline = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_an_admin_interface_that_is_not_there_means_not_ready(tmp_path: Path) -> None:
    admin = Admin(tmp_path / "admin.sock")
    assert not await admin.is_ready()
    with pytest.raises(Unavailable, match="does not answer"):
        await admin.drain_listeners()
