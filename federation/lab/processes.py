"""Processes of a lab: started in their namespaces with their own users, remembered on disk before they run, ended
by pid.

A pid is only ever signalled if the process still has the start time that was noted, so a recycled pid is never hit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from federation.runtime.atomic import write_atomic


class Running(msgspec.Struct, frozen=True):
    """One process: `what` names it (`east/echo-1:app`), `started` is its kernel start time."""

    what: str
    pid: int
    started: int
    command: list[str]
    namespace: str
    log: str
    uid: int = 0
    environment: dict[str, str] = {}


@dataclass(slots=True)
class Processes:
    """The processes of one lab, and their journal in `directory/processes`."""

    directory: Path

    def start(
        self,
        what: str,
        namespace: str,
        command: Sequence[str],
        uid: int = 0,
        resolver: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a process in a namespace as a user; its output goes to `logs/<what>.log`."""
        log = self.directory / "logs" / f"{_file_name(what)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        argv = wrapped(namespace, command, uid, resolver)
        extra = dict(environment or {})
        with log.open("ab") as out:
            os.chown(log, uid, uid)
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env={**os.environ, **extra},
                start_new_session=True,
            )
        running = Running(what, process.pid, start_time(process.pid), argv, namespace, str(log), uid, extra)
        write_atomic(self._journal(what), msgspec.json.encode(running), 0o600)
        return running

    def restart(self, what: str) -> Running:
        """Start a process that ended again, as it was started."""
        old = self.get(what)
        if old is None:
            raise KeyError(what)
        with Path(old.log).open("ab") as out:
            process = subprocess.Popen(
                old.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/",
                env={**os.environ, **old.environment}, start_new_session=True,
            )  # fmt: skip
        running = msgspec.structs.replace(old, pid=process.pid, started=start_time(process.pid))
        write_atomic(self._journal(what), msgspec.json.encode(running), 0o600)
        return running

    def get(self, what: str) -> Running | None:
        """The process of that name, alive or not."""
        path = self._journal(what)
        return msgspec.json.decode(path.read_bytes(), type=Running) if path.exists() else None

    def all(self) -> list[Running]:
        """All processes that were started, alive or not."""
        folder = self.directory / "processes"
        files = sorted(folder.glob("*.json")) if folder.exists() else []
        return [msgspec.json.decode(path.read_bytes(), type=Running) for path in files]

    def signal(self, what: str, number: signal.Signals) -> bool:
        """Signal a process if it is still the one that was started; returns whether it was."""
        running = self.get(what)
        return running is not None and send(running, number)

    def end_all(self, patience: float = 1.0) -> None:
        """End all processes: ask, wait a moment, then kill."""
        processes = self.all()
        for running in processes:
            send(running, signal.SIGCONT)
            send(running, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(alive(running) for running in processes):
            time.sleep(0.02)
        for running in processes:
            send(running, signal.SIGKILL)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and any(alive(running) for running in processes):
            time.sleep(0.01)

    def _journal(self, what: str) -> Path:
        return self.directory / "processes" / f"{_file_name(what)}.json"


def wrapped(namespace: str, command: Sequence[str], uid: int, resolver: Path | None) -> list[str]:
    """The command line that becomes the process itself (every step replaces the one before, so the pid is the
    process's).
    """
    become: list[str] = []
    if uid:
        # A user of its own for the capture rules; it may read the program wherever it was installed.
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    argv = ["nsenter", f"--net=/run/netns/{namespace}"]
    if resolver is not None:
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        argv += ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(resolver)]
    return [*argv, *become, *command]


def send(running: Running, number: signal.Signals) -> bool:
    """Signal a process if it is still the one that was started."""
    if not alive(running):
        return False
    try:
        os.kill(running.pid, number)
    except ProcessLookupError:
        return False
    return True


def alive(running: Running) -> bool:
    """Whether the process runs (or is frozen); a zombie does not."""
    stat = _stat(running.pid)
    if stat is None or stat[0] == "Z":
        if stat is not None:
            _reap(running.pid)
        return False
    return stat[1] == running.started


def start_time(pid: int) -> int:
    """The kernel's start time of a process; 0 if there is none."""
    stat = _stat(pid)
    return stat[1] if stat is not None else 0


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _file_name(what: str) -> str:
    return what.replace("/", "_").replace(":", ".")
