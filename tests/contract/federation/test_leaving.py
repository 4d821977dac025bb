"""Taking a cluster out: what changes is its own, and its credential is worth nothing afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from federation.keys import (
    ClusterKey,
    CompleteKey,
    EndpointsKey,
    EntryKey,
    GatewayKey,
    HeartbeatKey,
    Key,
    ServiceRecordKey,
    ViewKey,
)
from federation.leaving import leave
from federation.model.errors import Conflict, Denied
from federation.schema import records_pb2 as pb

if TYPE_CHECKING:
    from tests.contract.federation.conftest import Mesh

Run = Callable[[Any], "asyncio.Task[None]"]
Until = Callable[..., Any]


def records_of(cluster: str) -> tuple[Key, ...]:
    return (
        HeartbeatKey(cluster),
        CompleteKey(cluster),
        GatewayKey(cluster, "gw-1"),
        ServiceRecordKey(cluster, "shop", "echo"),
        EndpointsKey(cluster, "shop", "echo", "0"),
        EntryKey(cluster, "shop", "entry"),
        ViewKey(cluster, "east"),
    )


async def two_members(mesh: Mesh) -> None:
    """West leaves in these tests; east and west-2, whose name begins alike, stay."""
    for name, client in zip(("west", "east", "west-2"), await mesh.joined("west", "east", "west-2"), strict=True):
        for key in records_of(name):
            await client.put(mesh.layout.format(key), name.encode())


async def test_only_the_leavers_records_change(mesh: Mesh) -> None:
    await two_members(mesh)
    before = {kv.key: kv for kv in (await mesh.etcd.list_prefix("/")).kvs}
    proof = await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    after = {kv.key: kv for kv in (await mesh.etcd.list_prefix("/")).kvs}
    registration = mesh.layout.format(ClusterKey("west"))
    owned = {mesh.layout.format(key) for key in records_of("west")}
    assert set(proof.changes) == {("put", registration), *(("delete", key) for key in owned)}
    assert proof.foreign == ()
    assert before.keys() - after.keys() == owned
    assert after.keys() <= before.keys()
    assert {key for key in after if after[key] != before[key]} == {registration}
    assert pb.Cluster.FromString(after[registration].value).state == "left"


async def test_a_dry_run_says_the_same_and_does_nothing(mesh: Mesh) -> None:
    await two_members(mesh)
    before = (await mesh.etcd.list_prefix("/")).kvs
    told = await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=True)
    assert (await mesh.etcd.list_prefix("/")).kvs == before
    assert any(user.startswith("cluster-west-") for user in await mesh.etcd.auth.users())
    done = await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    assert sorted(told.changes) == sorted(done.changes)


async def test_its_credential_opens_nothing_any_more(mesh: Mesh) -> None:
    (west,) = await mesh.joined("west")
    key = mesh.layout.format(HeartbeatKey("west"))
    await west.put(key, b"1")
    await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    for client in (west, await mesh.member("west")):
        for forbidden in (client.put(key, b"2"), client.get(key), client.list_prefix(mesh.layout.base)):
            with pytest.raises(Denied):
                await forbidden
    left = (*await mesh.etcd.auth.users(), *await mesh.etcd.auth.roles())
    assert not any(name.startswith("cluster-west-") for name in left)


async def test_others_go_on_working(mesh: Mesh) -> None:
    _, east = await mesh.joined("west", "east")
    await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    await east.put(mesh.layout.format(HeartbeatKey("east")), b"2")
    assert (await east.list_prefix(mesh.layout.base)).count >= 3


async def test_signs_of_life_of_others_are_no_change(mesh: Mesh, run: Run, until: Until) -> None:
    await two_members(mesh)
    counts = {"heartbeat": 0, "service": 0}

    async def keep_writing(what: str, key: Key) -> None:
        while True:
            counts[what] += 1
            await mesh.etcd.put(mesh.layout.format(key), b"%d" % counts[what])

    run(keep_writing("heartbeat", HeartbeatKey("east")))
    await until(lambda: counts["heartbeat"] > 1)
    start = counts["heartbeat"]
    proof = await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    assert counts["heartbeat"] > start + 1
    assert proof.foreign == ()


async def test_any_other_change_shows(mesh: Mesh, run: Run, until: Until) -> None:
    """Somebody writes a record of east meanwhile: it is not hidden."""
    await two_members(mesh)
    service = mesh.layout.format(ServiceRecordKey("east", "shop", "echo"))
    written = 0

    async def keep_writing() -> None:
        nonlocal written
        while True:
            await mesh.etcd.put(service, b"%d" % written)
            written += 1

    run(keep_writing())
    await until(lambda: written > 1)
    proof = await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    assert proof.foreign == (("put", service),)


async def test_a_cluster_that_is_none_cannot_leave(mesh: Mesh) -> None:
    with pytest.raises(Conflict, match="there is no cluster 'west'"):
        await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)


async def test_leaving_twice_does_no_harm(mesh: Mesh) -> None:
    await two_members(mesh)
    await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    before = (await mesh.etcd.list_prefix(mesh.layout.exports)).kvs
    proof = await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    assert (await mesh.etcd.list_prefix(mesh.layout.exports)).kvs == before
    assert proof.foreign == ()


async def test_who_has_left_may_be_admitted_again(mesh: Mesh) -> None:
    """With a new token and new keys; the old credential stays worthless."""
    first = await mesh.join("west")
    await leave(mesh.authority, mesh.etcd, mesh.layout, "west", dry_run=False)
    mesh.cluster("west").directory.rename(mesh.directory / "old")
    second = await mesh.join("west")
    assert second.uid != first.uid
    west, old = await mesh.member("west"), await mesh.member("old")
    await west.put(mesh.layout.format(HeartbeatKey("west")), b"1")
    with pytest.raises(Denied):
        await old.put(mesh.layout.format(HeartbeatKey("west")), b"2")
    with pytest.raises(Denied):
        await old.list_prefix(mesh.layout.base)
    kv = await mesh.etcd.get(mesh.layout.format(ClusterKey("west")))
    assert kv is not None
    known = pb.Cluster.FromString(kv.value)
    assert (known.state, known.uid) == ("member", second.uid)
