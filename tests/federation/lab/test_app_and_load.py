"""The sample application, the client and the load generator, against each other over loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from federation.lab.app import Identity, Server, parse_head
from federation.lab.client import Client, Exchange, Target
from federation.lab.load import call, generate, parse_headers

ME = Identity("east", "echo-1", "a", 0.0)


@asynccontextmanager
async def serving(serve: Callable[..., object]) -> AsyncIterator[str]:
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)  # type: ignore[arg-type]
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    finally:
        listener.close()


async def test_app_says_who_it_is_and_what_it_saw() -> None:
    async with serving(Server(ME).serve) as url:
        [exchange] = await call(Target(url + "x?y=1", "POST", {"x-one": "1"}, b"hello"), 1)
    assert (exchange.status, exchange.cluster, exchange.pod, exchange.zone) == (200, "east", "echo-1", "a")
    said = json.loads(exchange.body)
    assert (said["method"], said["path"], said["headers"]["x-one"]) == ("POST", "/x?y=1", "1")


async def test_app_can_be_steered() -> None:
    async with serving(Server(ME).serve) as url:
        [slow] = await call(Target(url, headers={"x-delay-ms": "80"}), 1)
        [failed] = await call(Target(url, headers={"x-want-status": "503"}), 1)
        [large] = await call(Target(url, headers={"x-body-bytes": "100000"}), 1)
        [health] = await call(Target(url + "healthz", headers={"x-delay-ms": "5000"}), 1)
        [head] = await call(Target(url, "HEAD"), 1)
        [wrong] = await call(Target(url, headers={"x-want-status": "nonsense"}), 1)
    assert slow.ok
    assert slow.latency >= 0.08
    assert failed.status == 503
    assert failed.cause.startswith("status 503")
    assert len(large.body) > 100_000 - 2
    assert health.latency < 1
    assert (head.status, head.body) == (200, "")
    assert wrong.status == 400


async def test_draining_finishes_what_runs() -> None:
    server = Server(ME)
    async with serving(server.serve) as url:
        client = Client(Target(url, headers={"x-delay-ms": "200"}))
        idle = Client(Target(url))
        await idle.exchange()
        running = asyncio.create_task(client.exchange())
        while len(server._connections - server._idle) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await server.drain()
        assert (await running).ok
        assert (await idle.exchange()).cause.startswith("connection")


@pytest.mark.parametrize("head", [b"", b"GET /", b"GET / HTTP/2", b"GET / HTTP/1.1\r\nno colon"])
def test_garbage_heads(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"unpack|spoken|colon"):
        parse_head(head)


async def _close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal")
    await writer.drain()
    writer.close()


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    await writer.drain()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
    await writer.drain()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("serve", "cause"),
    [
        (_close, "connection"),
        (_half, "connection closed mid-answer"),
        (_garbage, "answer is no HTTP/1.1"),
        (_silent, "timeout after 0.2 s"),
    ],
)
async def test_every_failure_has_a_cause(serve: Callable[..., object], cause: str) -> None:
    async with serving(serve) as url:
        [exchange] = await call(Target(url, timeout=0.2), 1)
    assert exchange.status == 0
    assert exchange.cause.startswith(cause)


async def test_chunked_answers() -> None:
    async with serving(_chunks) as url:
        [exchange] = await call(Target(url), 1)
    assert exchange.body == "abcde"


async def test_nobody_listens_and_no_such_name() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        [refused] = await call(Target(f"http://127.0.0.1:{free.getsockname()[1]}/"), 1)
    assert refused.cause.startswith("connect: ")
    [unknown] = await call(Target("http://no-such-name.invalid/"), 1)
    assert "does not resolve" in unknown.cause


async def test_a_kept_connection_that_is_closed_is_a_failure_and_not_tried_again() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with serving(once) as url:
        client = Client(Target(url))
        assert (await client.exchange()).ok
        assert (await client.exchange()).cause.startswith("connection")


async def test_load_is_open_loop(tmp_path: Path) -> None:
    """Every request takes a second, yet all are sent in half of one."""
    async with serving(Server(Identity("east", "slow", "a", 1000.0)).serve) as url:
        report = await generate(Target(url), 60, 0.5, tmp_path / "records.jsonl")
    assert (report.requests, report.failed) == (30, 0)
    assert report.latency_ms["p50"] >= 1000
    records = [
        msgspec.json.decode(line, type=Exchange) for line in (tmp_path / "records.jsonl").read_bytes().splitlines()
    ]
    assert len(records) == 30
    assert records[-1].started - records[0].started < 0.9
    assert report.pods == {"east/slow": 30}
    assert 0 <= report.busy <= 1


async def test_load_counts_failures_by_cause() -> None:
    async with serving(_close) as url:
        report = await generate(Target(url), 50, 0.2)
    assert report.failed == report.requests == 10
    assert sum(failure.count for failure in report.failures) == 10


def test_headers() -> None:
    assert parse_headers(["a: b", "c:d:e"]) == {"a": "b", "c": "d:e"}
    with pytest.raises(ValueError, match="is no header"):
        parse_headers(["nothing"])


@pytest.mark.parametrize("url", ["https://x/", "x", "http://"])
def test_only_http(url: str) -> None:
    with pytest.raises(ValueError, match="no http"):
        Client(Target(url))
