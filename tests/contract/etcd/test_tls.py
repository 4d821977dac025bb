"""TLS: who holds a client certificate is the user of its common name, and may write where its role allows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from federation.etcd import Etcd, Interrupted, Options, Permission, Watched
from federation.lab.etcd_server import EtcdServer, ServerTls
from federation.model.errors import Denied, InvalidInput, Unavailable
from tests.contract.etcd.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest_asyncio.fixture(loop_scope="session")
async def secured(
    binary: Path, tmp_path: Path, authority: Authority, servers: list[EtcdServer], quick: tuple[str, ...]
) -> EtcdServer:
    """Client certificates demanded; a user without password and a role for each of two clusters."""
    tls = ServerTls(*authority.issue("etcd"), client_ca=authority.file)
    server = EtcdServer(tmp_path / "etcd", binary=binary, tls=tls, arguments=quick)
    servers.append(server)
    server.start()
    await server.wait_ready()
    async with Etcd(options(server, authority, "root")) as root:
        await root.auth.add_user("root")
        await root.auth.add_role("root")
        await root.auth.grant_role("root", "root")
        for cluster in ("east", "west"):
            await root.auth.add_user(cluster)
            await root.auth.add_role(cluster)
            await root.auth.grant_permission(cluster, Permission("/mesh/"))
            await root.auth.grant_permission(cluster, Permission(f"/mesh/c/{cluster}/", write=True))
            await root.auth.grant_role(cluster, cluster)
        await root.auth.enable()
    return server


def options(server: EtcdServer, authority: Authority, user: str) -> Options:
    cert, key = authority.issue(user)
    return Options(server.endpoints, ca=authority.file, cert=cert, key=key, retry_for=0.2)


async def test_each_cluster_writes_its_own_prefix_only(secured: EtcdServer, authority: Authority) -> None:
    async with (
        Etcd(options(secured, authority, "east")) as east,
        Etcd(options(secured, authority, "west")) as west,
        asyncio.timeout(20),
    ):
        start = await east.put("/mesh/c/east/heartbeat", b"1")
        await west.put("/mesh/c/west/heartbeat", b"1")
        for forbidden in ("/mesh/c/west/heartbeat", "/mesh/c/east", "/mesh/meta", "/other"):
            with pytest.raises(Denied):
                await east.put(forbidden, b"stolen")
        with pytest.raises(Denied):
            await east.delete("/mesh/c/", prefix=True)
        assert [kv.value for kv in (await east.list_prefix("/mesh/")).kvs] == [b"1", b"1"]
        stream = east.watch("/mesh/", start)
        assert isinstance(await anext(stream), Watched)
        with pytest.raises(Denied):
            await anext(east.watch("/", start))


async def test_strangers_stay_out(secured: EtcdServer, authority: Authority, tmp_path: Path) -> None:
    mine = options(secured, authority, "east")
    (tmp_path / "foreign").mkdir()
    foreign = Authority(tmp_path / "foreign", "foreign")
    cert, key = foreign.issue("east")
    for stranger in (
        replace(mine, cert=None, key=None),
        replace(mine, cert=cert, key=key),
        replace(mine, ca=foreign.file),
        replace(mine, ca=None, cert=None, key=None),
    ):
        async with Etcd(stranger) as etcd:
            with pytest.raises(Unavailable):
                await etcd.get("/mesh/c/east/heartbeat")
    async with Etcd(options(secured, authority, "nobody")) as etcd:
        with pytest.raises(Denied):
            await etcd.get("/mesh/c/east/heartbeat")


async def test_material_may_be_bytes(secured: EtcdServer, authority: Authority) -> None:
    cert, key = authority.issue("east")
    given = Options(secured.endpoints, authority.file.read_bytes(), cert.read_bytes(), key.read_bytes())
    async with Etcd(given) as etcd:
        await etcd.put("/mesh/c/east/a", b"1")
    assert "PRIVATE KEY" not in repr(given)


async def test_renewed_certificates_are_taken_into_use(
    secured: EtcdServer, authority: Authority, tmp_path: Path
) -> None:
    """The server comes back with another authority; the files of the client are renewed in place."""
    mine = options(secured, authority, "east")
    async with Etcd(replace(mine, retry_for=10.0)) as etcd, asyncio.timeout(30):
        start = await etcd.put("/mesh/c/east/a", b"1")
        stream = etcd.watch("/mesh/", start + 1)
        await anext(stream)
        secured.kill()
        renewed = Authority(tmp_path)  # writes over the files of the first
        renewed.issue("etcd")
        renewed.issue("east")
        secured.start()
        await secured.wait_ready()
        await etcd.put("/mesh/c/east/a", b"2")
        async for batch in stream:
            if not isinstance(batch, Interrupted) and batch.events:
                assert batch.events[0].kv.value == b"2"
                break


async def test_unreadable_material_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.pem"):
        Etcd(Options(("127.0.0.1:1",), ca=tmp_path / "absent.pem"))
