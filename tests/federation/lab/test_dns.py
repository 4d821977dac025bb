"""Names of a cluster, over UDP and TCP, with and without a control plane to ask."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from dnslib import QTYPE, RCODE, DNSRecord

from federation.lab.dns import Book, answer, serve
from federation.lab.ports import free_ports

NAMES = {"echo.demo.svc.cluster.local": ["10.101.0.1"], "*.wild.test": ["10.0.0.9"], "six.test": ["fd00::1"],
         "many.test": [f"10.0.{n // 250}.{n % 250}" for n in range(1, 100)]}  # fmt: skip


def ask(name: str, kind: str = "A", most: int = 65_535) -> DNSRecord:
    response = answer(DNSRecord.question(name, kind).pack(), NAMES, most)
    assert response is not None
    return DNSRecord.parse(response)


def addresses(record: DNSRecord) -> list[str]:
    return [str(rr.rdata) for rr in record.rr]


def test_names_have_addresses() -> None:
    assert addresses(ask("echo.demo.svc.cluster.local")) == ["10.101.0.1"]
    assert addresses(ask("ECHO.demo.svc.cluster.local.")) == ["10.101.0.1"]
    assert addresses(ask("a.b.wild.test")) == ["10.0.0.9"]
    assert addresses(ask("six.test", "AAAA")) == ["fd00::1"]


def test_a_missing_family_is_no_data_and_a_missing_name_is_none() -> None:
    for record in (
        ask("echo.demo.svc.cluster.local", "AAAA"),
        ask("six.test"),
        ask("echo.demo.svc.cluster.local", "TXT"),
    ):
        assert (record.header.rcode, record.rr) == (RCODE.NOERROR, [])
    assert ask("wild.test").header.rcode == RCODE.NXDOMAIN
    assert ask("example.com").header.rcode == RCODE.NXDOMAIN


def test_large_answers_are_truncated_for_udp() -> None:
    assert ask("many.test", most=512).header.tc == 1
    assert len(ask("many.test").rr) == 99


def test_garbage_gets_no_answer() -> None:
    response = answer(DNSRecord.question("echo.demo.svc.cluster.local").pack(), NAMES)
    assert response is not None
    for packet in (b"", b"\0" * 11, b"\xff" * 40, response):
        assert answer(packet, NAMES) is None


class ControlPlane:
    """Answers /debug/names over HTTP."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if self.silent:
            await reader.read()
        body = json.dumps(self.names).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()


async def test_server_learns_from_the_control_plane_and_keeps_what_it_learnt(tmp_path: Path) -> None:
    plane = ControlPlane()
    upstream = await asyncio.start_server(plane.serve, "127.0.0.1", 0)
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"own.test": ["10.0.0.1"]}))
    url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    [port] = free_ports(1)
    task = asyncio.create_task(serve(Book(file, url), "127.0.0.1", port))
    try:
        assert await eventually(port, "own.test") == ["10.0.0.1"]
        plane.names = {"imported.test": ["240.240.0.1"]}
        assert await eventually(port, "imported.test") == ["240.240.0.1"]
        plane.silent = True
        for name in ("imported.test", "own.test"):
            async with asyncio.timeout(0.5):
                assert addresses(await over_tcp(port, name)) == addresses(await over_udp(port, name)) != []
    finally:
        task.cancel()
        upstream.close()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(port: int, name: str) -> list[str]:
    async with asyncio.timeout(5):
        while True:
            try:
                if found := addresses(await over_tcp(port, name)):
                    return found
            except ConnectionError:
                pass
            await asyncio.sleep(0.02)


async def over_tcp(port: int, name: str) -> DNSRecord:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    query = DNSRecord.question(name, QTYPE.get(1)).pack()
    writer.write(len(query).to_bytes(2) + query)
    length = int.from_bytes(await reader.readexactly(2))
    record = DNSRecord.parse(await reader.readexactly(length))
    writer.close()
    return record


async def over_udp(port: int, name: str) -> DNSRecord:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.setblocking(False)
        await loop.sock_sendto(plug, DNSRecord.question(name).pack(), ("127.0.0.1", port))
        return DNSRecord.parse(await loop.sock_recv(plug, 4096))
