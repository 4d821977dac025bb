"""Starts processes inside namespaces as other users, and signals them, never a process that only has the same id.

Every program replaces its launcher in place, so the id that is written down is the program's own. Each is the leader
of a session of its own and outlives the command that started it. Knows nothing of what the programs do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from federation.lab import netns
from federation.lab.state import ProcessSpec, Started
from federation.model.errors import Unavailable

# Program, configuration and sockets may lie under a home directory that other users may not enter.
READ_FILES = (
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
)
_BIND = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
SWEEP_SECONDS = 3.0
_children: dict[int, subprocess.Popen[bytes]] = {}


def command_of(spec: ProcessSpec) -> list[str]:
    """The whole command line: namespace, name server, user, program. Each step replaces itself by the next one."""
    command = netns.enter(spec.netns) if spec.netns else []
    if spec.resolver:
        command += ["unshare", "--mount", "sh", "-c", _BIND, "sh", spec.resolver]
    if spec.uid:
        command += ["setpriv", f"--reuid={spec.uid}", f"--regid={spec.uid}", "--clear-groups", *READ_FILES]
    return [*command, *spec.argv]


def start(spec: ProcessSpec) -> Started:
    """Start it. Raises Unavailable when the first program of the command line cannot be run."""
    path = Path(spec.log)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("ab") as log:
            child = subprocess.Popen(
                command_of(spec),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **spec.env},
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise Unavailable(f"{spec.key}: {error}") from None
    _children[child.pid] = child
    return Started(spec.key, child.pid, _born(child.pid) or 0)


def is_alive(started: Started) -> bool:
    """Whether that very process still runs, frozen or not."""
    child = _children.get(started.pid)
    if child is not None and child.poll() is not None:
        return False
    return started.born != 0 and _born(started.pid) == started.born


def state_of(started: Started | None) -> str:
    """running, frozen or dead."""
    if started is None or not is_alive(started):
        return "dead"
    return "frozen" if _stat(started.pid)[0] == "T" else "running"


def send(started: Started, number: signal.Signals) -> bool:
    """Signal a process and the ones that it started, if it is still that one. Returns whether it was.

    A request to end is for the process alone: what becomes of the others is its business.
    """
    if not is_alive(started):
        return False
    for pid in [started.pid] if number == signal.SIGTERM else [started.pid, *_descendants(started.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return True


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(below for child in children for below in _descendants(child))]


def sweep(name: str) -> None:
    """End everything in a namespace at once, recorded or not, and see it gone. Nobody but the lab and its users runs
    anything there.
    """
    deadline = time.monotonic() + SWEEP_SECONDS
    while (pids := netns.pids(name)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    for pid in list(_children):
        if _children[pid].poll() is not None:
            del _children[pid]


def kill_unrecorded(spec: ProcessSpec) -> None:
    """End a process that was started by a command which died before it could write down which one it is.

    It is known by its command line, which ends with the program's, and by its namespace, which another lab does not
    have; it may be about to enter that.
    """
    place = netns.RUN / spec.netns
    wanted = [argument.encode() for argument in spec.argv]
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")[:-1]
            ours = f"--net={place}".encode() in words or (path / "ns/net").stat().st_ino == place.stat().st_ino
            if ours and words[-len(wanted) :] == wanted:
                os.kill(int(path.name), signal.SIGKILL)


def wait_gone(started: Started, seconds: float) -> bool:
    """Wait for a process to end; returns whether it did."""
    deadline = time.monotonic() + seconds
    while is_alive(started):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def log_tail(path: str, lines: int = 10) -> str:
    """The end of a log."""
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _born(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None if it is no more."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state (field 3) on; empty if there is no such process. See proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
