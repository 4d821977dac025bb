"""Asks processes inside namespaces whether they are ready, from outside. Owns sockets and deadlines; knows no lab."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from federation.lab.netns import socket_in
from federation.model.errors import Unavailable

POLL_SECONDS = 0.02
REQUEST_SECONDS = 1.0
MAX_ANSWER_BYTES = 16 << 20
Check = Callable[[], Awaitable[bool]]


async def http_get(netns: str, host: str, port: int, path: str) -> tuple[int, bytes]:
    """One GET from inside a namespace: status and body. Raises OSError, TimeoutError."""
    plug = socket_in(netns)
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            await asyncio.get_running_loop().sock_connect(plug, (host, port))
            return await _request("GET", path, sock=plug)
    except BaseException:
        plug.close()
        raise


async def admin(path: Path, request: str, method: str = "GET") -> tuple[int, bytes]:
    """One request to the admin interface of an Envoy: status and body. Raises OSError, TimeoutError."""
    plug = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            await asyncio.get_running_loop().sock_connect(plug, str(path))
            return await _request(method, request, sock=plug)
    except BaseException:
        plug.close()
        raise


async def _request(method: str, path: str, sock: socket.socket) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read(MAX_ANSWER_BYTES)
        while more := await reader.read(MAX_ANSWER_BYTES):
            body += more
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError(f"no answer to {path}") from error
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), _join_chunks(body) if b"chunked" in head.lower() else body


def _join_chunks(body: bytes) -> bytes:
    joined = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        joined, body = joined + rest[:length], rest[length + 2 :] if length else b""
    return joined


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
    except (OSError, TimeoutError, ValueError):
        return False


async def is_envoy_ready(socket_path: Path) -> bool:
    """Whether an Envoy says that it is ready."""
    try:
        return (await admin(socket_path, "/ready"))[0] == 200
    except (OSError, TimeoutError, ValueError):
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
