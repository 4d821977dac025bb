"""A plain HTTP/1.1 client that hides nothing: one try per request, and for each failure its cause.

Run inside a pod's namespace as the application's user, so that its traffic is captured like any program's. Other
clients repeat a request by themselves when a kept connection turns out to be closed; that would hide what a load test
is there to find.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

MAX_HEAD_BYTES = 64 << 10
MAX_BODY_BYTES = 64 << 20
CAUSE_CHARACTERS = 160
_NO_HEADERS: Mapping[str, str] = {}


class Exchange(msgspec.Struct, frozen=True):
    """One request and what came of it. Times are seconds; `started` is Unix time; `status` 0 means no answer."""

    started: float
    latency: float
    status: int
    cause: str = ""
    cluster: str = ""
    pod: str = ""
    zone: str = ""
    body: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was answered with success."""
        return 200 <= self.status < 400 and not self.cause


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go and how they look. `timeout` seconds bound a whole request."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float = 15.0

    @property
    def host(self) -> str:
        """Host to connect to; raises ValueError for a URL that is not http."""
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{self.url!r} is no http:// URL")
        return parts.hostname

    @property
    def port(self) -> int:
        """Port to connect to."""
        return urlsplit(self.url).port or 80

    def encode(self) -> bytes:
        """The request on the wire."""
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"host": parts.netloc, "user-agent": "isthmus-lab", **self.headers}
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(self.body))
        lines = [f"{self.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body


class _Failed(Exception):
    """A failure with its cause in words."""


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """Sends one request after another, or many at once, over kept connections."""

    def __init__(self, target: Target, keep: bool = True) -> None:
        self._target = target
        self._host, self._port = target.host, target.port
        self._wire = target.encode()
        self._keep = keep
        self._idle: list[_Connection] = []

    async def exchange(self) -> Exchange:
        """Send one request; never raises but for cancellation."""
        wall, started = time.time(), time.perf_counter()
        try:
            async with asyncio.timeout(self._target.timeout):
                status, headers, body = await self._try()
        except TimeoutError:
            return Exchange(wall, time.perf_counter() - started, 0, f"timeout after {self._target.timeout:g} s")
        except _Failed as failed:
            return Exchange(wall, time.perf_counter() - started, 0, str(failed)[:CAUSE_CHARACTERS])
        latency = time.perf_counter() - started
        text = body.decode("utf-8", "replace")
        cause = "" if 200 <= status < 400 else f"status {status}: {text.strip()}"[:CAUSE_CHARACTERS]
        by = {name: headers.get(f"x-{name}", "") for name in ("cluster", "pod", "zone")}
        return Exchange(wall, latency, status, cause, body=text, **by)

    async def _try(self) -> tuple[int, Mapping[str, str], bytes]:
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        finished = False
        try:
            writer.write(self._wire)
            await writer.drain()
            status, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
            body = await _read_body(reader, headers, self._target.method)
            finished = self._keep and headers.get("connection", "").lower() != "close"
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            got = (
                "mid-answer" if isinstance(error, asyncio.IncompleteReadError) and error.partial else "before an answer"
            )
            kind = "reset" if isinstance(error, ConnectionResetError | BrokenPipeError) else "closed"
            raise _Failed(f"connection {kind} {got}") from None
        except (asyncio.LimitOverrunError, ValueError) as error:
            raise _Failed(f"answer is no HTTP/1.1: {error}") from None
        finally:
            if finished:
                self._idle.append((reader, writer))
            else:
                writer.transport.abort()
        return status, headers, body

    async def _connect(self) -> _Connection:
        try:
            return await asyncio.open_connection(self._host, self._port, limit=MAX_HEAD_BYTES)
        except socket.gaierror as error:
            raise _Failed(f"name {self._host} does not resolve: {error.strerror}") from None
        except OSError as error:
            raise _Failed(f"connect: {error.strerror or error}") from None

    async def close(self) -> None:
        """Close kept connections."""
        for _, writer in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()


def _parse_head(head: bytes) -> tuple[int, Mapping[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(first[:80])
    pairs = (line.partition(":") for line in rest if line)
    return int(status[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str], method: str) -> bytes:
    if method == "HEAD":
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MAX_BODY_BYTES:
        raise ValueError(f"a body of {length} bytes")
    return await reader.readexactly(length)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"a body of more than {MAX_BODY_BYTES} bytes")
    await reader.readuntil(b"\r\n")
    return bytes(body)
