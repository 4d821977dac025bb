"""A store of three members of which one dies, freezes or loses the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from federation.etcd import Etcd, Event, Interrupted, Options, Watched
from federation.lab.etcd_server import EtcdServer
from federation.model.errors import Unavailable


async def watch_until(etcd: Etcd, key: str, start: int) -> list[Event]:
    """All events of /w/ up to a key; fails after 40 s."""
    events: list[Event] = []
    async with asyncio.timeout(40):
        async for batch in etcd.watch("/w/", start):
            if isinstance(batch, Watched):
                events += batch.events
                if any(event.kv.key == key for event in batch.events):
                    return events
    raise AssertionError("a watch has no end")


async def put_surely(etcd: Etcd, key: str) -> None:
    """Write until it is certain."""
    async with asyncio.timeout(20):
        while True:
            try:
                await etcd.put(key, b"")
            except Unavailable:
                continue
            return


async def test_every_member_dies_once(trio: EtcdServer) -> None:
    options = Options(trio.endpoints, request_timeout=2.0)
    async with Etcd(options) as writer, Etcd(options) as reader, asyncio.TaskGroup() as group:
        start = (await writer.range("/w/")).revision + 1
        watching = group.create_task(watch_until(reader, "/w/end", start))
        for number, member in enumerate(trio.members):
            for step in range(20):
                await put_surely(writer, f"/w/{number}/{step}")
            member.kill()
            for step in range(20, 40):
                await put_surely(writer, f"/w/{number}/{step}")
            member.start()
            await member.wait_ready()
        await put_surely(writer, "/w/end")
        seen = await watching
        truth = await watch_until(writer, "/w/end", start)
    assert seen == truth
    assert {event.kv.key for event in seen} == {f"/w/{n}/{s}" for n in range(3) for s in range(40)} | {"/w/end"}


async def test_dead_endpoints_are_passed_over(lab_trio: EtcdServer) -> None:
    """A write too goes on to the next, since a refused connection has certainly not carried it out."""
    async with Etcd(Options(lab_trio.endpoints)) as etcd:
        followers = [e for e in lab_trio.endpoints if not (await etcd.status(e)).is_leader]
    dead = followers[0]
    alive = tuple(endpoint for endpoint in lab_trio.endpoints if endpoint != dead)
    lab_trio.member_at(dead).kill()
    async with Etcd(Options(("127.0.0.1:1", dead, *alive))) as etcd:
        await etcd.put("/a", b"1")
        assert etcd.endpoint == alive[0]


async def test_a_minority_serves_neither_reads_nor_watches(lab_trio: EtcdServer) -> None:
    first = lab_trio.endpoints[0]
    async with Etcd(Options((first,), retry_for=1.0, request_timeout=1.0)) as etcd, asyncio.timeout(30):
        start = await etcd.put("/w/a", b"1")
        stream = etcd.watch("/w/", start + 1)
        await anext(stream)
        lab_trio.members[1].kill()
        lab_trio.members[2].kill()
        lost = await anext(stream)
        assert isinstance(lost, Interrupted)
        with pytest.raises(Unavailable):
            await etcd.get("/w/a")
        lab_trio.start()
        await lab_trio.wait_ready()
        await put_surely(etcd, "/w/b")
        while isinstance(batch := await anext(stream), Interrupted) or not batch.events:
            pass
        assert batch.events[0].kv.key == "/w/b"


async def test_a_frozen_member_is_left(trio: EtcdServer) -> None:
    """Requests by their deadline, the watch by keepalive; with the default settings in less than 15 s."""
    loop = asyncio.get_running_loop()
    async with Etcd(Options(trio.endpoints)) as etcd:
        frozen = trio.member_at(etcd.endpoint)
        start = (await etcd.range("/w/")).revision + 1
        stream = etcd.watch("/w/", start)
        await anext(stream)
        frozen.pause()
        since = loop.time()
        await put_surely(etcd, "/w/a")
        written = loop.time() - since
        async with asyncio.timeout(20):
            events: list[Event] = []
            while not events:
                batch = await anext(stream)
                events += batch.events if isinstance(batch, Watched) else ()
        watched = loop.time() - since
        frozen.resume()
    assert events[0].kv.key == "/w/a"
    assert written < 10
    assert 2 < watched < 15


async def test_a_frozen_single_store_is_noticed_and_comes_back(
    lab_binary: Path, tmp_path: Path, servers: list[EtcdServer]
) -> None:
    server = EtcdServer(tmp_path / "etcd", binary=lab_binary, arguments=["--grpc-keepalive-min-time=500ms"])
    servers.append(server)
    server.start()
    await server.wait_ready()
    options = Options(server.endpoints, keepalive_time=1.0, keepalive_timeout=1.0, request_timeout=1.0)
    async with Etcd(options) as etcd, asyncio.timeout(20):
        start = await etcd.put("/w/a", b"1")
        stream = etcd.watch("/w/", start + 1)
        await anext(stream)
        server.members[0].pause()
        since = asyncio.get_running_loop().time()
        assert isinstance(await anext(stream), Interrupted)
        assert asyncio.get_running_loop().time() - since < 4
        server.members[0].resume()
        await put_surely(etcd, "/w/b")
        while isinstance(batch := await anext(stream), Interrupted) or not batch.events:
            pass
        assert batch.events[0].kv.key == "/w/b"


@pytest.mark.parametrize(("permitted_seconds", "trouble"), [(1, ""), (5, "too_many_pings")])
async def test_pings_stay_within_what_etcd_permits(
    lab_binary: Path, tmp_path: Path, servers: list[EtcdServer], permitted_seconds: int, trouble: str
) -> None:
    """etcd closes the connection of a client that pings too often. Here all is five times as fast as by default."""
    minimum = f"--grpc-keepalive-min-time={permitted_seconds}s"
    server = EtcdServer(tmp_path / "etcd", binary=lab_binary, arguments=[minimum])
    servers.append(server)
    server.start()
    await server.wait_ready()
    defaults = Options(server.endpoints)
    async with Etcd(replace(defaults, keepalive_time=defaults.keepalive_time / 5)) as etcd:
        start = (await etcd.range("/w/")).revision + 1
        stream = etcd.watch("/w/", start)
        await anext(stream)
        seen = ""
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                seen = str(await anext(stream))
    assert trouble in seen
    assert bool(trouble) == bool(seen)
