"""Runs one Envoy as a child and talks to its admin interface. Knows no configuration and decides nothing."""

from __future__ import annotations

import asyncio
import ctypes
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
import structlog

from federation.bootstrap import HEALTH_PORT, STATS_PORT
from federation.model.errors import Unavailable

log = structlog.get_logger("gateway")

STOP_SECONDS = 5.0
ASK_SECONDS = 2.0
POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1
_OWN_LISTENER = re.compile(rf"listener\.(admin|.*_({HEALTH_PORT}|{STATS_PORT}))\.")
_LIBC = ctypes.CDLL(None, use_errno=True)


async def run_envoy(argv: Sequence[str]) -> None:
    """Run Envoy until cancelled, then end it. Raises Unavailable when it ends by itself or cannot be started."""
    try:
        # In a session of its own: what is sent to our whole group, as by Ctrl-C, must not end it before it is drained.
        child = await asyncio.create_subprocess_exec(*argv, preexec_fn=_die_with_parent, start_new_session=True)
    except OSError as error:
        raise Unavailable(f"{argv[0]} cannot be started: {error.strerror}") from error
    log.info("envoy_started", pid=child.pid)
    try:
        code = await child.wait()
    finally:
        await _end(child)
    raise Unavailable(f"Envoy ended with code {code}")


def _die_with_parent() -> None:
    """An Envoy without its supervisor would hold the port and never drain (prctl(2), PR_SET_PDEATHSIG)."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


class Admin:
    """Envoy's admin interface on its socket file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def is_ready(self) -> bool:
        """Whether Envoy is live and has its configuration."""
        with suppress(Unavailable):
            return (await self._ask("GET", "/ready"))[0] == 200
        return False

    async def drain_listeners(self) -> None:
        """Ask clients to go elsewhere and take no new connections, without an end of the process. Raises
        Unavailable.
        """
        await self._ask("POST", "/drain_listeners?graceful&skip_exit")

    async def wait_without_connections(self) -> None:
        """Wait until nothing is open through the listeners that a control plane has set up. Raises Unavailable."""
        while await self._connections():  # noqa: ASYNC110 - Envoy has no event to wait for
            await asyncio.sleep(POLL_SECONDS)

    async def _connections(self) -> int:
        _, text = await self._ask("GET", r"/stats?filter=^listener\..*downstream_cx_active$")
        return sum(int(line.rpartition(": ")[2]) for line in text.splitlines() if not _OWN_LISTENER.match(line))

    async def _ask(self, method: str, path: str) -> tuple[int, str]:
        try:
            async with (
                asyncio.timeout(ASK_SECONDS),
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._path))) as session,
                session.request(method, f"http://envoy{path}") as answer,
            ):
                return answer.status, await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"Envoy's admin interface does not answer: {error}") from error
