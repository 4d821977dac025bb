"""Reading and writing a real etcd."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from federation.etcd import Compacted, Compare, Delete, Etcd, Get, KeyValue, Options, Put
from federation.lab.etcd_server import EtcdServer
from federation.model.errors import Bug, Conflict, InvalidInput, Unavailable


async def test_put_get_delete(etcd: Etcd, prefix: str) -> None:
    key = prefix + "a"
    first = await etcd.put(key, b"1")
    second = await etcd.put(key, b"2")
    assert await etcd.get(key) == KeyValue(key, b"2", create_revision=first, mod_revision=second, version=2, lease=0)
    assert await etcd.delete(key) == 1
    assert await etcd.delete(key) == 0
    assert await etcd.get(key) is None


async def test_range_is_of_a_prefix_only_and_can_look_back(etcd: Etcd, prefix: str) -> None:
    await etcd.put(prefix + "a", b"1")
    before = await etcd.put(prefix + "b", b"1")
    await etcd.put(prefix[:-1] + "0", b"no: sorts right behind the prefix")
    await etcd.put(prefix + "b", b"2")
    now = await etcd.range(prefix, prefix=True)
    assert [(kv.key, kv.value) for kv in now.kvs] == [(prefix + "a", b"1"), (prefix + "b", b"2")]
    past = await etcd.range(prefix, prefix=True, revision=before)
    assert [kv.value for kv in past.kvs] == [b"1", b"1"]
    assert past.revision == before
    limited = await etcd.range(prefix, prefix=True, limit=1)
    assert (len(limited.kvs), limited.count, limited.more) == (1, 2, True)
    assert (await etcd.range(prefix, prefix=True, keys_only=True)).kvs[1].value == b""
    assert (await etcd.range(prefix, prefix=True, count_only=True)).count == 2
    assert now.cluster_id == etcd.cluster_id != 0


async def test_keys_that_are_not_text_survive(etcd: Etcd, prefix: str) -> None:
    key = prefix + b"\xff\xfe".decode("utf-8", "surrogateescape")
    await etcd.put(key, b"1")
    assert [kv.key for kv in (await etcd.list_prefix(key[:-1])).kvs] == [key]


async def test_pages_are_of_one_revision(etcd: Etcd, prefix: str) -> None:
    keys = [f"{prefix}{number:05}" for number in range(2_500)]
    for start in range(0, len(keys), 100):
        await etcd.txn([], [Put(key, b"old") for key in keys[start : start + 100]])

    async def disturb() -> None:
        while True:
            await etcd.txn([], [Put(keys[-1], b"new"), Put(keys[-2], b"new"), Delete(keys[5])])

    async with asyncio.TaskGroup() as group:
        disturbing = group.create_task(disturb())
        for _ in range(5):
            listing = await etcd.list_prefix(prefix, page=300)
            same = await etcd.range(prefix, prefix=True, revision=listing.revision)
            assert listing.kvs == same.kvs
            assert listing.count in (2_500, 2_499)
        disturbing.cancel()


async def test_compacted_revision_is_said(server: EtcdServer) -> None:
    async with Etcd(Options(server.endpoints)) as etcd:
        first = await etcd.put("/a", b"1")
        last = await etcd.put("/a", b"2")
        await etcd.compact(last)
        with pytest.raises(Compacted):
            await etcd.range("/a", revision=first)


async def test_txn_takes_one_branch(etcd: Etcd, prefix: str) -> None:
    key = prefix + "a"
    mine = [Compare(key, "value", "==", b"mine")]
    done = await etcd.txn(mine, [Delete(key)], [Put(key, b"mine"), Get(prefix, prefix=True)])
    assert not done.succeeded
    assert [kv.value for kv in done.found[1]] == [b"mine"]
    assert done.found[1][0].mod_revision == done.revision
    assert (await etcd.txn(mine, [Delete(prefix, prefix=True)])).succeeded
    assert await etcd.get(key) is None


@pytest.mark.parametrize(
    ("field", "result", "operand", "holds"),
    [
        ("version", "==", 0, True),
        ("create_revision", ">", 0, False),
        ("mod_revision", "<", 1, True),
        ("lease", "!=", 0, False),
    ],
)
async def test_compares_with_zero(etcd: Etcd, prefix: str, field: str, result: str, operand: int, holds: bool) -> None:
    compare = Compare(prefix + "absent", field, result, operand)  # type: ignore[arg-type]
    assert (await etcd.txn([compare], [])).succeeded is holds


async def test_create_and_replace_meet_conflicts(etcd: Etcd, prefix: str) -> None:
    key = prefix + "lock"
    revision = await etcd.create(key, b"first")
    with pytest.raises(Conflict):
        await etcd.create(key, b"second")
    newer = await etcd.replace(key, b"third", revision)
    assert newer > revision
    with pytest.raises(Conflict):
        await etcd.replace(key, b"fourth", revision)
    kv = await etcd.get(key)
    assert kv is not None
    assert (kv.value, kv.create_revision) == (b"third", revision)


async def test_what_etcd_refuses(etcd: Etcd, prefix: str) -> None:
    with pytest.raises(InvalidInput):
        await etcd.put(prefix + "large", bytes(1_700_000))
    with pytest.raises(Bug):
        await etcd.txn([], [Put(prefix + str(number), b"") for number in range(200)])
    with pytest.raises(Conflict):
        await etcd.put(prefix + "leased", b"", lease=12345)


async def test_status_and_members(etcd: Etcd, shared_server: EtcdServer) -> None:
    status = await etcd.status()
    assert status.is_leader
    assert status.version.startswith("3.")
    assert status.db_size > 0
    (member,) = await etcd.members()
    assert member.client_urls == (f"http://{shared_server.endpoints[0]}",)
    assert member.id == status.header.member_id


async def test_nobody_there_is_unavailable(server: EtcdServer) -> None:
    server.kill()
    async with Etcd(Options(server.endpoints, retry_for=0.3)) as etcd:
        with pytest.raises(Unavailable, match="refused"):
            await etcd.put("/a", b"1")
        with pytest.raises(Unavailable, match="refused"):
            await etcd.get("/a")


async def test_backup_can_be_restored(server: EtcdServer, tmp_path: Path) -> None:
    async with Etcd(Options(server.endpoints)) as etcd:
        await etcd.put("/a", bytes(200_000))
        await backup(etcd, tmp_path / "backup.db")
        await etcd.put("/a", b"later")
        server.kill()
        await server.restore(tmp_path / "backup.db")
        server.start()
        await server.wait_ready()
        kv = await etcd.get("/a")
        assert kv is not None
        assert kv.value == bytes(200_000)


async def backup(etcd: Etcd, path: Path) -> None:
    """Write a backup into a file."""
    with path.open("wb") as file:
        async for piece in etcd.snapshot():
            file.write(piece)
