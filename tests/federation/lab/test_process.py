"""Processes are started as what they are, and nothing else is ever signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from federation.lab import process
from federation.lab.state import ProcessSpec, Started
from federation.model.errors import Unavailable


def spec(tmp_path: Path, *argv: str) -> ProcessSpec:
    return ProcessSpec("p", "", "", argv, str(tmp_path / "log"))


def test_the_program_has_the_recorded_id_and_its_log(tmp_path: Path) -> None:
    code = "import os; print(os.getpid(), os.getsid(0)); print(os.getcwd())"
    started = process.start(spec(tmp_path, sys.executable, "-c", code))
    assert process.wait_gone(started, 10)
    assert (tmp_path / "log").read_text().split() == [str(started.pid), str(started.pid), "/"]
    assert process.state_of(started) == "dead"


def test_frozen_running_dead(tmp_path: Path) -> None:
    started = process.start(spec(tmp_path, "sleep", "60"))
    assert process.state_of(started) == "running"
    assert process.send(started, signal.SIGSTOP)
    until(lambda: process.state_of(started) == "frozen")
    assert process.send(started, signal.SIGCONT)
    until(lambda: process.state_of(started) == "running")
    assert process.send(started, signal.SIGKILL)
    assert process.wait_gone(started, 5)
    assert not process.send(started, signal.SIGKILL)


def test_a_signal_reaches_the_children(tmp_path: Path) -> None:
    started = process.start(spec(tmp_path, "sh", "-c", "sleep 60 & echo $!; wait"))
    log = tmp_path / "log"
    until(lambda: log.read_text().endswith("\n"))
    child = int(log.read_text())
    process.send(started, signal.SIGKILL)
    until(lambda: not alive(child))


def test_a_process_that_only_has_the_same_id_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        try:
            recorded = Started("p", other.pid, 12345)
            assert not process.is_alive(recorded)
            assert not process.send(recorded, signal.SIGKILL)
            assert other.poll() is None
        finally:
            other.kill()


def test_no_such_program(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no-such-program"):
        process.start(spec(tmp_path, "/no-such-program"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(check) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 5
    while not check():
        assert time.monotonic() < deadline
        os.sched_yield()
