"""The sample application: an HTTP/1.1 server that says which pod answered and what it saw. Its own process, standard
library only.

`GET /healthz` is always quick. Any other path answers JSON: cluster, pod, zone, method, path, request headers.
Request headers steer it: `x-want-status: 503`, `x-delay-ms: 250`, `x-body-bytes: 1000`. SIGTERM: stop accepting,
finish what is running, end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD_BYTES = 64 << 10
MAX_BODY_BYTES = 64 << 20
MAX_DELAY_SECONDS = 600.0
DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers."""

    cluster: str
    pod: str
    zone: str
    delay: float


@dataclass(frozen=True, slots=True)
class Request:
    """One request without its body."""

    method: str
    path: str
    headers: Mapping[str, str]


def parse_head(head: bytes) -> Request:
    """Read a request line and headers; names in lower case, repeated ones joined. Raises ValueError."""
    first, *rest = head.decode("latin-1").split("\r\n")
    method, path, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"{version!r} is not spoken here")
    headers: dict[str, str] = {}
    for line in filter(None, rest):
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError("a header without colon")
        key = name.strip().lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    return Request(method, path, headers)


def answer(request: Request, identity: Identity, closing: bool) -> tuple[float, bytes]:
    """Seconds to wait, and the response. Raises ValueError when a steering header makes no sense."""
    health = request.path.startswith("/healthz")
    delay = 0.0 if health else float(request.headers.get("x-delay-ms", identity.delay)) / 1000
    status = HTTPStatus(int(request.headers.get("x-want-status", "200")))
    said = {"cluster": identity.cluster, "pod": identity.pod, "zone": identity.zone}
    body = json.dumps(
        said if health else {**said, "method": request.method, "path": request.path, "headers": dict(request.headers)}
    )
    padding = " " * min(MAX_BODY_BYTES, int(request.headers.get("x-body-bytes", "0")) - len(body))
    payload = (body + padding + "\n").encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(payload)}",
        *(f"x-{name}: {value}" for name, value in said.items()),
        *(["connection: close"] if closing else []),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return min(max(delay, 0.0), MAX_DELAY_SECONDS), head if request.method == "HEAD" else head + payload


class Server:
    """Serves connections until it is told to drain."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._draining = False
        self._idle: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        self._connections.add(writer)
        try:
            while not self._draining and await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except (ValueError, asyncio.LimitOverrunError) as wrong:
            writer.write(_bad_request(type(wrong).__name__))
        finally:
            self._connections.discard(writer)
            self._idle.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self._idle.add(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        self._idle.discard(writer)
        request = parse_head(head.removesuffix(b"\r\n\r\n"))
        await _skip_body(reader, request.headers)
        delay, response = answer(request, self._identity, self._draining)
        if delay:
            await asyncio.sleep(delay)
        writer.write(response)
        await writer.drain()
        return request.headers.get("connection", "").lower() != "close"

    async def drain(self) -> None:
        """Close idle connections and wait for running requests."""
        self._draining = True
        for writer in list(self._idle):
            writer.close()
        async with asyncio.timeout(DRAIN_SECONDS):
            while self._connections - self._idle:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def _bad_request(problem: str) -> bytes:
    lines = ("HTTP/1.1 400 Bad Request", "connection: close", "content-length: 0", f"x-problem: {problem}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _skip_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> None:
    if "chunked" in headers.get("transfer-encoding", ""):
        left = MAX_BODY_BYTES
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            left -= size
            if left < 0:
                raise ValueError("body too large")
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
        return
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MAX_BODY_BYTES:
        raise ValueError("body too large")
    while length:
        length -= len(await reader.readexactly(min(length, MAX_HEAD_BYTES)))


async def run(identity: Identity, host: str, port: int) -> None:
    """Serve until SIGTERM."""
    server = Server(identity)
    listener = await asyncio.start_server(server.serve, host, port, backlog=1024, limit=MAX_HEAD_BYTES)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stderr.write(f"{identity.cluster}/{identity.pod} serves on {host}:{listener.sockets[0].getsockname()[1]}\n")
    sys.stderr.flush()
    await stop.wait()
    listener.close()
    await server.drain()


def main() -> None:
    """Entry of `python -m federation.lab.app`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("cluster", "pod", "zone"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    said = parser.parse_args()
    asyncio.run(run(Identity(said.cluster, said.pod, said.zone, said.delay_ms), said.host, said.port))


if __name__ == "__main__":
    main()
