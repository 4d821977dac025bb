"""Leases of a real etcd: kept alive, run out, revoked, and carried over a change of leader."""

from __future__ import annotations

import asyncio

from federation.etcd import Etcd, Event, Lease, Options, Watched
from federation.lab.etcd_server import EtcdServer


async def gone(etcd: Etcd, key: str, revision: int) -> Event:
    """Wait until a key is deleted after a revision."""
    async with asyncio.timeout(15):
        async for batch in etcd.watch(key, revision + 1, single_key=True):
            if isinstance(batch, Watched) and batch.events:
                return batch.events[0]
    raise AssertionError("a watch has no end")


async def outlive(lease: Lease, lives: float) -> None:
    """Wait until the lease has certainly been renewed past its first lives; fails when it is lost."""
    until = asyncio.get_running_loop().time() + lives * lease.ttl
    async with asyncio.timeout(20):
        while lease.expires < until:
            assert not lease.lost.is_set()
            await asyncio.sleep(0.02)


async def test_kept_alive_beyond_its_time_then_revoked(etcd: Etcd, prefix: str) -> None:
    async with etcd.leases() as leases:
        short, long = await leases.grant(1), await leases.grant(60)
        assert short.ttl < long.ttl == 60
        revision = await etcd.put(prefix + "a", b"", short.id)
        await etcd.put(prefix + "b", b"", long.id)
        assert await etcd.keys_of_lease(short.id) == (prefix + "a",)
        await outlive(short, 2.5)
        assert await etcd.get(prefix + "a") is not None
        assert 50 < await etcd.time_to_live(long.id) <= 60
    assert (await gone(etcd, prefix + "a", revision)).deleted
    assert short.lost.is_set()
    assert await etcd.time_to_live(long.id) == -1
    assert await etcd.get(prefix + "b") is None


async def test_runs_out_when_nobody_keeps_it(etcd: Etcd, prefix: str) -> None:
    async with etcd.leases(revoke_at_end=False) as leases:
        lease = await leases.grant(1)
        revision = await etcd.put(prefix + "a", b"", lease.id)
    assert await etcd.get(prefix + "a") is not None
    assert (await gone(etcd, prefix + "a", revision)).deleted


async def test_loss_is_told_and_others_stay(etcd: Etcd, shared_server: EtcdServer, prefix: str) -> None:
    async with etcd.leases() as leases, Etcd(Options(shared_server.endpoints)) as other:
        lost, kept = await leases.grant(1), await leases.grant(1)
        async with other.leases(revoke_at_end=False) as theirs:
            await theirs.revoke(Lease(lost.id, 1, 0.0, 0.0))
        async with asyncio.timeout(5):
            await lost.lost.wait()
        await outlive(kept, 2)
        assert not kept.lost.is_set()


async def test_loss_after_an_outage_longer_than_the_lease(server: EtcdServer) -> None:
    """While nobody answers nothing is known; the holder learns of its loss with the first answer."""
    async with Etcd(Options(server.endpoints)) as etcd, etcd.leases() as leases:
        lease = await leases.grant(1)
        server.kill()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(lease.expires - loop.time())
        assert not lease.lost.is_set()
        server.wipe("another")
        server.start()
        async with asyncio.timeout(15):
            await lease.lost.wait()


async def test_lives_on_when_the_leader_dies(trio: EtcdServer) -> None:
    async with Etcd(Options(trio.endpoints, request_timeout=2.0)) as etcd, etcd.leases() as leases:
        lease = await leases.grant(2)
        await etcd.put("/a", b"", lease.id)
        statuses = [await etcd.status(endpoint) for endpoint in trio.endpoints]
        leader = next(status.endpoint for status in statuses if status.is_leader)
        trio.member_at(leader).kill()
        await outlive(lease, 2)
        assert await etcd.get("/a") is not None
        assert etcd.endpoint in trio.endpoints
