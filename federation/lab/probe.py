"""Asks processes inside namespaces whether they are ready, from outside. Owns sockets and deadlines; knows no lab."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from federation.lab.netns import socket_in
from federation.model.errors import Unavailable

POLL_SECONDS = 0.02
REQUEST_SECONDS = 1.0
Check = Callable[[], Awaitable[bool]]


async def http_get(netns: str, host: str, port: int, path: str) -> tuple[int, bytes]:
    """One GET from inside a namespace: status and body. Raises OSError, TimeoutError, ClientError."""
    connector = aiohttp.TCPConnector(socket_factory=lambda _: socket_in(netns))
    return await _request(connector, "GET", f"http://{host}:{port}{path}")


async def admin(path: Path, request: str, method: str = "GET") -> tuple[int, bytes]:
    """One request to an HTTP server on a socket file (an Envoy's admin, a control plane): status and body.

    Raises OSError, TimeoutError, ClientError.
    """
    return await _request(aiohttp.UnixConnector(str(path)), method, f"http://localhost{request}")


async def _request(connector: aiohttp.BaseConnector, method: str, url: str) -> tuple[int, bytes]:
    async with (
        asyncio.timeout(REQUEST_SECONDS),
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, url) as answer,
    ):
        return answer.status, await answer.read()


async def is_listening(netns: str, host: str, port: int) -> bool:
    """Whether a TCP connection from inside a namespace is accepted."""
    with socket_in(netns) as plug:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await asyncio.get_running_loop().sock_connect(plug, (host, port))
        except (OSError, TimeoutError):
            return False
        return True


async def is_ok(netns: str, host: str, port: int, path: str) -> bool:
    """Whether a GET from inside a namespace is answered with 200."""
    try:
        return (await http_get(netns, host, port, path))[0] == 200
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False


async def is_unix_ok(socket_path: Path, path: str) -> bool:
    """Whether a GET to an HTTP server on a socket file is answered with 200 (an Envoy's admin, a control plane)."""
    try:
        return (await admin(socket_path, path))[0] == 200
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False


async def until(check: Check, what: str, deadline: float, is_lost: Callable[[], str]) -> None:
    """Ask until the answer is yes. Raises Unavailable at the deadline (monotonic), or at once when `is_lost` gives a
    reason.
    """
    while not await check():
        if reason := is_lost():
            raise Unavailable(f"{what} has ended\n{reason}")
        if time.monotonic() > deadline:
            raise Unavailable(f"{what} is not ready in time")
        await asyncio.sleep(POLL_SECONDS)
