"""The name server of a cluster in the lab: service names to virtual addresses, over UDP and TCP. Its own process.

Names come from a file (the cluster's own services) and from its control plane (`GET /debug/names`, which also knows
imported services); what was learnt stays when the control plane is away. A name without an address of the asked
family gets an empty answer, not NXDOMAIN, which some resolvers take for both families. Nothing is asked of other
servers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSError, DNSRecord

from federation.lab.client import Client, Target

PORT = 53
TTL_SECONDS = 5
REFRESH_SECONDS = 1.0
MISS_SECONDS = 0.1
MAX_QUERY_BYTES = 4096
MAX_UDP_BYTES = 512
Names = Mapping[str, Sequence[str]]


def addresses_of(name: str, names: Names) -> Sequence[str] | None:
    """The addresses of a name, or of the wildcard that covers it; None if there is no such name."""
    known = names.get(name)
    while known is None and "." in name:
        name = name.partition(".")[2]
        known = names.get(f"*.{name}")
    return known


def answer(query: bytes, names: Names, most: int = 65_535) -> bytes | None:
    """The response to a query, truncated if it has more than `most` bytes; None for what is no query."""
    try:
        request = DNSRecord.parse(query)
        if request.header.qr or not request.questions:
            return None
    except DNSError:
        return None
    reply = request.reply()
    question = request.q
    known = addresses_of(str(question.qname).rstrip(".").lower(), names)
    if known is None:
        reply.header.rcode = RCODE.NXDOMAIN
    wanted = {"A": 4, "AAAA": 6}.get(QTYPE.get(question.qtype))
    for address in known or ():
        if ip_address(address).version == wanted:
            data = A(address) if wanted == 4 else AAAA(address)
            reply.add_answer(RR(question.qname, question.qtype, rdata=data, ttl=TTL_SECONDS))
    packed: bytes = reply.pack()
    return packed if len(packed) <= most else reply.truncate().pack()


class Book:
    """Names as they are known now."""

    def __init__(self, file: Path | None, control_plane: str) -> None:
        self._target = Target(f"{control_plane}/debug/names", timeout=1.0) if control_plane else None
        self._client = Client(self._target, keep=False) if self._target else None
        self._own: Names = json.loads(file.read_text()) if file else {}
        self._learnt: Names = {}
        self._asked = 0.0
        self._answers = True
        self._lock = asyncio.Lock()

    @property
    def names(self) -> Names:
        """Every name with its addresses."""
        return {**self._own, **self._learnt}

    async def refresh(self, oldest: float) -> None:
        """Ask the control plane, unless it was asked less than `oldest` seconds ago; silence changes nothing."""
        async with self._lock:
            if self._client is None or time.monotonic() - self._asked < oldest:
                return
            self._asked = time.monotonic()
            self._answers = False
            exchange = await self._client.exchange()
            if exchange.ok:
                self._learnt, self._answers = json.loads(exchange.body), True

    async def run(self) -> None:
        """Keep up with the control plane."""
        while True:
            await self.refresh(REFRESH_SECONDS / 2)
            await asyncio.sleep(REFRESH_SECONDS)

    async def answer(self, query: bytes, most: int) -> bytes | None:
        """Answer; a name that is not known may have come just now, unless the control plane is silent anyway."""
        response = answer(query, self.names, most)
        if response is None or response[3] & 0x0F != RCODE.NXDOMAIN or not self._answers:
            return response
        with suppress(TimeoutError):
            async with asyncio.timeout(MISS_SECONDS):
                await self.refresh(MISS_SECONDS)
        return answer(query, self.names, most)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, book: Book, group: asyncio.TaskGroup) -> None:
        self._book, self._group = book, group

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # CPython's own UDP transport is not an instance of its abstract class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str | int, ...]) -> None:
        if len(data) <= MAX_QUERY_BYTES:
            self._group.create_task(self._reply(data, address))

    async def _reply(self, data: bytes, address: tuple[str | int, ...]) -> None:
        response = await self._book.answer(data, MAX_UDP_BYTES)
        if response is not None:
            self._transport.sendto(response, address)


async def _serve_tcp(book: Book, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while length := int.from_bytes(await reader.readexactly(2)):
            response = await book.answer(await reader.readexactly(min(length, MAX_QUERY_BYTES)), 65_535)
            if response is None:
                break
            writer.write(len(response).to_bytes(2) + response)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(book: Book, host: str, port: int) -> None:
    """Answer until cancelled."""
    async with asyncio.TaskGroup() as group:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: _Udp(book, group), (host, port))
        await asyncio.start_server(lambda r, w: _serve_tcp(book, r, w), host, port)
        group.create_task(book.run())


def main() -> None:
    """Entry of `python -m federation.lab.dns`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, help="address to answer on")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--names", type=Path, help='JSON file, {"host": ["address"]}')
    parser.add_argument("--control-plane", default="", help="http://host:port of istiod")
    said = parser.parse_args()

    async def run() -> None:
        await serve(Book(said.names, said.control_plane), said.listen, said.port)

    asyncio.run(run())


if __name__ == "__main__":
    main()
