"""Users, roles and tokens against a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from federation.etcd import Etcd, Interrupted, Options, Permission, Watched
from federation.lab.etcd_server import EtcdServer
from federation.model.errors import Conflict, Denied


@pytest_asyncio.fixture(loop_scope="session")
async def locked(server: EtcdServer) -> EtcdServer:
    """Authentication on; root may all, west may write /c/west/ and read /c/."""
    async with Etcd(Options(server.endpoints)) as etcd:
        await etcd.auth.add_user("root", "top")
        await etcd.auth.add_role("root")
        await etcd.auth.grant_role("root", "root")
        await etcd.auth.add_user("west", "secret")
        await etcd.auth.add_role("west")
        await etcd.auth.grant_permission("west", Permission("/c/"))
        await etcd.auth.grant_permission("west", Permission("/c/west/", write=True))
        await etcd.auth.grant_role("west", "west")
        await etcd.auth.enable()
    return server


@pytest_asyncio.fixture(loop_scope="session")
async def west(locked: EtcdServer) -> AsyncIterator[Etcd]:
    async with Etcd(Options(locked.endpoints, user="west", password="secret")) as client:
        yield client


def as_root(server: EtcdServer) -> Etcd:
    return Etcd(Options(server.endpoints, user="root", password="top"))


async def test_a_role_limits_what_can_be_done(west: Etcd) -> None:
    await west.put("/c/west/a", b"1")
    assert (await west.list_prefix("/c/")).count == 1
    for forbidden in (west.put("/c/east/a", b"1"), west.get("/other"), west.list_prefix("/"), west.auth.users()):
        with pytest.raises(Denied):
            await forbidden


async def test_who_has_no_name_or_a_wrong_password_is_denied(locked: EtcdServer) -> None:
    for options in (
        Options(locked.endpoints),
        Options(locked.endpoints, user="west", password="wrong"),
        Options(locked.endpoints, user="nobody", password="secret"),
    ):
        async with Etcd(options) as etcd:
            with pytest.raises(Denied):
                await etcd.get("/c/west/a")
            with pytest.raises(Denied):
                async with asyncio.timeout(10):
                    await anext(etcd.watch("/c/", 1))


async def test_a_forbidden_watch_does_not_hang(west: Etcd) -> None:
    with pytest.raises(Denied):
        async with asyncio.timeout(10):
            await anext(west.watch("/other/", 1))
    async with asyncio.timeout(10):
        assert isinstance(await anext(west.watch("/c/", 1)), Watched)


async def test_tokens_lost_in_a_restart_are_renewed(locked: EtcdServer, west: Etcd) -> None:
    await west.put("/c/west/a", b"1")
    locked.kill()
    locked.start()
    await locked.wait_ready()
    kv = await west.get("/c/west/a")
    assert kv is not None
    assert kv.value == b"1"
    await west.put("/c/west/a", b"2")


async def test_a_watch_survives_the_loss_of_its_token(locked: EtcdServer, west: Etcd) -> None:
    async with asyncio.timeout(20):
        start = await west.put("/c/west/a", b"1")
        stream = west.watch("/c/", start + 1)
        await anext(stream)
        locked.kill()
        assert isinstance(await anext(stream), Interrupted)
        locked.start()
        await locked.wait_ready()
        async with as_root(locked) as root:
            await root.put("/c/east/a", b"2")
        async for batch in stream:
            if isinstance(batch, Watched) and batch.events:
                assert [event.kv.value for event in batch.events] == [b"2"]
                return


async def test_a_lease_survives_the_loss_of_its_token(locked: EtcdServer, west: Etcd) -> None:
    async with west.leases() as leases, asyncio.timeout(20):
        lease = await leases.grant(1)
        await west.put("/c/west/lease", b"", lease.id)
        locked.kill()
        locked.start()
        await locked.wait_ready()
        before = lease.expires
        while lease.expires < before + 1.5:
            assert not lease.lost.is_set()
            await asyncio.sleep(0.05)
        assert await west.get("/c/west/lease") is not None


async def test_permissions_that_change_take_effect(locked: EtcdServer, west: Etcd) -> None:
    async with as_root(locked) as root:
        with pytest.raises(Denied):
            await west.put("/c/east/a", b"1")
        await root.auth.grant_permission("west", Permission("/c/east/", read=False, write=True))
        await west.put("/c/east/a", b"1")
        await root.auth.revoke_permission("west", "/c/east/")
        with pytest.raises(Denied):
            await west.put("/c/east/a", b"1")
        await root.auth.change_password("west", "changed")
        await root.auth.delete_user("west")
        with pytest.raises(Denied):
            await west.put("/c/west/a", b"1")


async def test_switching_authentication_on_under_a_client(server: EtcdServer) -> None:
    async with Etcd(Options(server.endpoints, user="root", password="top")) as etcd:
        await etcd.put("/a", b"before")
        await etcd.auth.add_user("root", "top")
        await etcd.auth.add_role("root")
        await etcd.auth.grant_role("root", "root")
        await etcd.auth.enable()
        await etcd.put("/a", b"after")
        await etcd.auth.disable()
        await etcd.put("/a", b"again")


async def test_administration_reads_back_what_was_set(locked: EtcdServer) -> None:
    async with as_root(locked) as root:
        assert await root.auth.users() == ("root", "west")
        assert await root.auth.roles() == ("root", "west")
        assert await root.auth.roles_of("west") == ("west",)
        assert set(await root.auth.permissions("west")) == {Permission("/c/"), Permission("/c/west/", write=True)}
        await root.auth.grant_permission("west", Permission("/one", prefix=False, read=False, write=True))
        await root.auth.grant_permission("west", Permission("", read=True))
        everything = set(await root.auth.permissions("west"))
        assert {Permission("/one", prefix=False, read=False, write=True), Permission("")} < everything
        with pytest.raises(Conflict):
            await root.auth.add_user("west", "x")
        with pytest.raises(Conflict):
            await root.auth.grant_role("nobody", "west")
        await root.auth.revoke_role("west", "west")
        await root.auth.delete_role("west")
        assert await root.auth.roles() == ("root",)
