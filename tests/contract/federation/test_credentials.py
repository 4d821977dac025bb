"""What the credentials that come of a join open in the store, and what they do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from federation.etcd import Etcd, Options
from federation.join import answer_key, request_key, token_key
from federation.keys import ClusterKey, GatewayKey, HeartbeatKey, ServiceRecordKey
from federation.model.errors import Denied, Unavailable
from federation.pki.bundle import load_authority
from federation.pki.issue import sign_user
from federation.pki.keys import encode_key, generate_key

if TYPE_CHECKING:
    from tests.contract.federation.conftest import Mesh


async def test_a_member_writes_its_own_prefix_only(mesh: Mesh) -> None:
    west, east = await mesh.joined("west", "east")
    layout = mesh.layout
    token = await mesh.token("north")
    for key in (HeartbeatKey("west"), GatewayKey("west", "gw-1"), ServiceRecordKey("west", "shop", "echo")):
        await west.put(layout.format(key), b"1")
    await east.put(layout.format(HeartbeatKey("east")), b"1")
    forbidden = (
        layout.format(HeartbeatKey("east")),
        layout.format(ServiceRecordKey("east", "shop", "echo")),
        layout.format(HeartbeatKey("west-2")),
        layout.owned_by("west").rstrip("/"),
        layout.format(ClusterKey("west")),
        layout.format(ClusterKey("east")),
        layout.format(ClusterKey("new")),
        layout.meta,
        layout.bundle,
        token_key(layout, token.id),
        request_key(layout, token.id),
        answer_key(layout, token.id),
        layout.base + "ops/drains/east",
        "/isthmus/other/v1/c/west/heartbeat",
        "/",
    )
    before = (await mesh.etcd.list_prefix("/")).kvs
    for key in forbidden:
        with pytest.raises(Denied):
            await west.put(key, b"stolen")
        with pytest.raises(Denied):
            await west.create(key, b"stolen")
        with pytest.raises(Denied):
            await west.delete(key)
    for prefix in (layout.exports, layout.base, layout.owned_by("east"), "/"):
        with pytest.raises(Denied):
            await west.delete(prefix, prefix=True)
    assert (await mesh.etcd.list_prefix("/")).kvs == before


async def test_a_member_reads_the_mesh_and_nothing_else(mesh: Mesh) -> None:
    (west,) = await mesh.joined("west")
    await mesh.etcd.put("/other/secret", b"x")
    assert (await west.list_prefix(mesh.layout.base)).count >= 2
    joins = west.list_prefix(mesh.layout.joins)
    for forbidden in (west.list_prefix("/"), west.get("/other/secret"), joins, west.auth.users()):
        with pytest.raises(Denied):
            await forbidden


async def test_a_member_makes_no_users_and_gives_itself_nothing(mesh: Mesh) -> None:
    (west,) = await mesh.joined("west")
    own = next(user for user in await mesh.etcd.auth.users() if user.startswith("cluster-west-"))
    for forbidden in (
        west.auth.grant_role(own, "root"),
        west.auth.add_user("mine"),
        west.auth.disable(),
        west.auth.delete_user("root"),
    ):
        with pytest.raises(Denied):
            await forbidden


async def test_a_member_cannot_end_the_lease_of_another(mesh: Mesh) -> None:
    west, east = await mesh.joined("west", "east")
    key = mesh.layout.format(GatewayKey("east", "gw-1"))
    async with east.leases() as leases:
        lease = await leases.grant(30)
        await east.put(key, b"1", lease.id)
        async with west.leases(revoke_at_end=False) as stolen:
            with pytest.raises(Denied):
                await stolen.revoke(lease)
        assert await east.get(key) is not None


async def test_a_gateway_writes_its_announcements_and_reads_nothing(mesh: Mesh) -> None:
    (west,) = await mesh.joined("west")
    files, layout = mesh.cluster("west"), mesh.layout
    options = Options(mesh.server.endpoints, files.etcd_ca, files.gateway_cert, files.gateway_key)
    async with Etcd(options) as gateway, gateway.leases() as leases:
        lease = await leases.grant(30)
        await gateway.put(layout.format(GatewayKey("west", "gw-1")), b"1", lease.id)
        assert await west.get(layout.format(GatewayKey("west", "gw-1"))) is not None
        for key in (HeartbeatKey("west"), ServiceRecordKey("west", "shop", "echo"), GatewayKey("east", "gw-1")):
            with pytest.raises(Denied):
                await gateway.put(layout.format(key), b"1")
        for prefix in (layout.base, layout.exports, layout.joins):
            with pytest.raises(Denied):
                await gateway.list_prefix(prefix)


@pytest.mark.parametrize("user", ["root", "cluster-east"])
async def test_the_ca_of_a_cluster_opens_nothing_in_the_store(mesh: Mesh, user: str) -> None:
    """Name constraints bind URIs, and to the store a common name is a right: it trusts a CA of its own."""
    await mesh.joined("west", "east")
    files = mesh.cluster("west")
    authority, _ = load_authority(files.ca)
    key = generate_key()
    forged = sign_user(authority, key.public_key(), user, timedelta(hours=1), datetime.now(UTC)) + authority.chain_pem
    async with Etcd(Options(mesh.server.endpoints, files.etcd_ca, forged, encode_key(key), retry_for=1.0)) as etcd:
        with pytest.raises(Unavailable):
            await etcd.get(mesh.layout.meta)
