"""Watching a real etcd that is killed, compacted, replaced and restored meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from federation.etcd import Compacted, Etcd, Event, Interrupted, Options, Put, StoreReplaced, Watched
from federation.lab.etcd_server import EtcdServer
from federation.model.errors import Unavailable

QUICK_CLIENT = {"retry_for": 20.0, "request_timeout": 2.0}


async def follow(stream: AsyncIterator[Watched | Interrupted], until: Callable[[Event], bool]) -> list[Event]:
    """All events up to the first that fits; fails after 20 s."""
    events: list[Event] = []
    async with asyncio.timeout(20):
        async for batch in stream:
            if isinstance(batch, Watched):
                events += batch.events
                if any(map(until, batch.events)):
                    return events
    raise AssertionError("a watch has no end")


def is_key(key: str) -> Callable[[Event], bool]:
    return lambda event: event.kv.key == key


async def test_history_then_live_in_order(etcd: Etcd, prefix: str) -> None:
    start = await etcd.put(prefix + "a", b"1")
    await etcd.txn([], [Put(prefix + "b", b"2"), Put(prefix + "c", b"3")])
    watching = asyncio.create_task(follow(etcd.watch(prefix, start), is_key(prefix + "end")))
    await etcd.delete(prefix + "b")
    await etcd.put("/elsewhere", b"")
    last = await etcd.put(prefix + "end", b"")
    events = await watching
    assert [(event.kv.key[-1], event.deleted) for event in events] == [
        ("a", False), ("b", False), ("c", False), ("b", True), ("d", False),
    ]  # fmt: skip
    assert events[-1].kv.mod_revision == last
    assert events[1].kv.mod_revision == events[2].kv.mod_revision == start + 1


async def test_one_key(etcd: Etcd, prefix: str) -> None:
    start = await etcd.put(prefix + "a", b"1")
    await etcd.put(prefix + "ab", b"2")
    await etcd.put(prefix + "a", b"3")
    events = await follow(etcd.watch(prefix + "a", start, single_key=True), lambda event: event.kv.value == b"3")
    assert [event.kv.value for event in events] == [b"1", b"3"]


async def test_large_history_comes_whole(etcd: Etcd, prefix: str) -> None:
    """More than gRPC's default limit of 4 MiB for a message."""
    start = (await etcd.range(prefix)).revision + 1
    for number in range(12):
        await etcd.put(f"{prefix}{number:02}", bytes(1_000_000))
    await etcd.put(prefix + "end", b"")
    events = await follow(etcd.watch(prefix, start), is_key(prefix + "end"))
    assert sum(len(event.kv.value) for event in events) == 12_000_000


async def test_nothing_lost_or_doubled_over_kills(server: EtcdServer) -> None:
    async with (
        Etcd(Options(server.endpoints, **QUICK_CLIENT)) as writer,  # type: ignore[arg-type]
        Etcd(Options(server.endpoints, **QUICK_CLIENT)) as reader,  # type: ignore[arg-type]
    ):
        start = await writer.put("/w/start", b"")

        interruptions = 0

        async def watch_all() -> list[Event]:
            nonlocal interruptions
            events: list[Event] = []
            async for batch in reader.watch("/w/", start):
                if isinstance(batch, Interrupted):
                    interruptions += 1
                else:
                    events += batch.events
                    if any(map(is_key("/w/end"), batch.events)):
                        break
            return events

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            watching = group.create_task(watch_all())
            for round_ in range(3):
                for number in range(60):
                    await writer.txn([], [Put(f"/w/{round_}/{number}", b"x"), Put("/w/count", b"%d" % number)])
                await kill_while_writing(server, writer, f"/w/{round_}/unsure")
            await writer.put("/w/end", b"")
            seen = await watching
        truth = await follow(writer.watch("/w/", start), is_key("/w/end"))
    assert seen == truth
    assert len(seen) >= 3 * 60 * 2 + 2
    assert interruptions >= 3


async def kill_while_writing(server: EtcdServer, writer: Etcd, key: str) -> None:
    """Kill the server among writes of which nobody knows whether they count, and bring it back."""

    async def write() -> None:
        with suppress(Unavailable):
            for number in range(100_000):
                await writer.put(f"{key}/{number}", b"")

    writing = asyncio.create_task(write())
    while not (await writer.range(key, prefix=True, count_only=True)).count:
        pass
    server.kill()
    server.start()
    await server.wait_ready()
    writing.cancel()
    await asyncio.wait([writing])


async def test_connection_state_is_told(server: EtcdServer) -> None:
    async with Etcd(Options(server.endpoints)) as etcd, asyncio.timeout(15):
        start = await etcd.put("/a", b"1")
        stream = etcd.watch("/", start)
        assert await anext(stream) == Watched(start - 1)
        assert isinstance(first := await anext(stream), Watched)
        assert len(first.events) == 1
        server.kill()
        lost = await anext(stream)
        assert isinstance(lost, Interrupted)
        assert server.endpoints[0] in lost.reason
        server.start()
        while isinstance(back := await anext(stream), Interrupted):
            pass
        assert back == Watched(start)


async def test_compacted_history(server: EtcdServer) -> None:
    async with Etcd(Options(server.endpoints)) as etcd, asyncio.timeout(15):
        start = await etcd.put("/a", b"1")
        last = await etcd.put("/a", b"2")
        await etcd.compact(last)
        with pytest.raises(Compacted) as compacted:
            await follow(etcd.watch("/", start), lambda event: False)
        assert compacted.value.revision == last
        events = await follow(etcd.watch("/", last), is_key("/a"))
        assert [event.kv.value for event in events] == [b"2"]


async def test_compacted_while_disconnected(server: EtcdServer) -> None:
    """The watcher sees the server again only after history that it needs was compacted away."""
    async with (
        Etcd(Options(server.endpoints, dial_timeout=1)) as etcd,
        Etcd(Options(server.endpoints)) as other,
        asyncio.timeout(20),
    ):
        start = await other.put("/a", b"1")
        stream = etcd.watch("/", start)
        await anext(stream)
        await anext(stream)
        server.kill()
        assert isinstance(await anext(stream), Interrupted)
        server.start()  # the watcher itself tries again only when it is asked for the next batch
        await server.wait_ready()
        await other.put("/a", b"2")
        await other.compact(await other.put("/a", b"3"))
        with pytest.raises(Compacted):
            await follow(stream, lambda event: False)


async def test_progress_moves_the_resume_point(lab_binary: Path, tmp_path: Path, servers: list[EtcdServer]) -> None:
    """A quiet prefix in a busy store: after a notice of progress, compaction of what was passed does no harm."""
    progress = "--experimental-watch-progress-notify-interval=100ms"
    server = EtcdServer(tmp_path / "etcd", binary=lab_binary, arguments=[progress])
    servers.append(server)
    server.start()
    await server.wait_ready()
    async with Etcd(Options(server.endpoints)) as etcd, asyncio.timeout(20):
        start = await etcd.put("/quiet", b"")
        stream = etcd.watch("/quiet", start + 1)
        await anext(stream)
        last = start
        for _ in range(20):
            last = await etcd.put("/busy", b"")
        while isinstance(batch := await anext(stream), Watched) and batch.revision < last:
            assert batch.events == ()
        await etcd.compact(last)
        server.kill()
        server.start()
        await server.wait_ready()
        await etcd.put("/quiet", b"back")
        events = await follow(stream, is_key("/quiet"))
        assert [event.kv.value for event in events] == [b"back"]


async def test_another_store_at_the_same_address(server: EtcdServer) -> None:
    async with Etcd(Options(server.endpoints)) as etcd, asyncio.timeout(20):
        listing = await etcd.list_prefix("/")
        stream = etcd.watch("/", listing.revision + 1)
        await anext(stream)
        before = etcd.cluster_id
        server.kill()
        server.wipe("another")
        server.start()
        with pytest.raises(StoreReplaced):
            await follow(stream, lambda event: False)
        assert (await etcd.list_prefix("/")).cluster_id != before


async def test_store_set_back_by_a_backup(server: EtcdServer, tmp_path: Path) -> None:
    """Same cluster id, older revision: etcd would keep the watch waiting for a revision that has long been."""
    async with Etcd(Options(server.endpoints)) as etcd, asyncio.timeout(20):
        await etcd.put("/a", b"1")
        with (tmp_path / "backup.db").open("wb") as file:
            async for piece in etcd.snapshot():
                file.write(piece)
        for _ in range(10):
            last = await etcd.put("/a", b"2")
        stream = etcd.watch("/", last + 1)
        await anext(stream)
        server.kill()
        await server.restore(tmp_path / "backup.db")
        server.start()
        with pytest.raises(StoreReplaced, match="backup"):
            await follow(stream, lambda event: False)
