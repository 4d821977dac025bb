"""Joining a mesh, both sides of it, and what the credentials that come of it may do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography import x509

from federation.etcd import Etcd
from federation.founding import connect, init_files, init_store
from federation.join import (
    OPEN,
    REVOKED,
    USED,
    JoinAnswer,
    JoinRequest,
    answer_key,
    format_token,
    parse_token,
    request_key,
    token_key,
)
from federation.joining import join
from federation.keys import ClusterKey, HeartbeatKey
from federation.mesh_files import MeshInfo
from federation.model.errors import Conflict, Denied, InvalidInput
from federation.pki.bundle import fingerprint, load_authority
from federation.pki.chain import read_certificates, verify_chain
from federation.pki.csr import make_csr
from federation.pki.issue import sign_workload
from federation.pki.keys import generate_key
from federation.schema import records_pb2 as pb

if TYPE_CHECKING:
    from tests.contract.federation.conftest import Mesh

Run = Callable[[Any], "asyncio.Task[None]"]
Until = Callable[..., Any]


def request(mesh: Mesh, token: str, **fields: Any) -> JoinRequest:
    """A request that could be granted for west."""
    given: dict[str, Any] = {
        "token": token,
        "cluster": "west",
        "uid": "uid-1",
        "network": "net-west",
        "region": "eu-1",
        "trust_domain": "west.m1",
        "intermediate_csr": make_csr(generate_key(), "west"),
        "etcd_csr": make_csr(generate_key(), "cluster-west"),
        "gateway_csr": make_csr(generate_key(), "gateway-west"),
        "sent": time.time(),
        "schema_min": 1,
        "schema_max": 1,
        "version": "test",
    }
    return JoinRequest(**{**given, **fields})


async def registration(mesh: Mesh, cluster: str) -> pb.Cluster | None:
    kv = await mesh.etcd.get(mesh.layout.format(ClusterKey(cluster)))
    return pb.Cluster.FromString(kv.value) if kv is not None else None


async def users(mesh: Mesh, cluster: str) -> list[str]:
    return [user for user in await mesh.etcd.auth.users() if user.startswith(f"cluster-{cluster}-")]


async def test_a_cluster_joins(mesh: Mesh) -> None:
    token = parse_token(format_token(await mesh.token("west")))
    info = await mesh.join("west", token)
    files = mesh.cluster("west")
    assert files.info() == info
    assert (info.mesh, info.cluster, info.network, info.trust_domain) == ("m1", "west", "net-west", "west.m1")

    authority, roots = load_authority(files.ca)
    now = datetime.now(UTC)
    leaf = sign_workload(
        authority, generate_key().public_key(), "spiffe://west.m1/ns/shop/sa/web", timedelta(hours=1), now
    )
    verify_chain(read_certificates(leaf + authority.chain_pem), read_certificates(roots), now)
    foreign = sign_workload(
        authority, generate_key().public_key(), "spiffe://east.m1/ns/shop/sa/web", timedelta(hours=1), now
    )
    with pytest.raises(ValueError, match="permitted subtree violation"):
        verify_chain(read_certificates(foreign + authority.chain_pem), read_certificates(roots), now)

    known = await registration(mesh, "west")
    assert known is not None
    assert (known.uid, known.network, known.region, known.state) == (info.uid, "net-west", "eu-1", "member")
    assert known.ca_fingerprint == fingerprint((files.ca / "ca-cert.pem").read_bytes())
    west = await mesh.member("west")
    await west.put(mesh.layout.format(HeartbeatKey("west")), b"")


async def test_keys_stay_where_they_were_made(mesh: Mesh) -> None:
    """Nothing in the store is a key, and the files are their owner's alone."""
    await mesh.join("west")
    files = mesh.cluster("west")
    for key in (files.etcd_key, files.ca / "ca-key.pem", mesh.files.etcd_key, mesh.files.root / "ca-key.pem"):
        assert key.stat().st_mode & 0o777 == 0o600, key
    stored = (await mesh.etcd.list_prefix("/")).kvs
    assert len(stored) >= 5
    assert not any(b"PRIVATE KEY" in kv.value for kv in stored)


async def test_the_authority_serves_all_that_come(mesh: Mesh, run: Run, until: Until) -> None:
    """One that asked before it started and one after; and what is no request harms neither."""
    early, late, odd = (await mesh.token("early"), await mesh.token("late"), await mesh.token("odd"))
    for_odd = await mesh.holder(odd)
    await for_odd.put(request_key(mesh.layout, odd.id), b"\xff no request")
    first = asyncio.ensure_future(join(early, mesh.cluster("early"), "test"))
    answered: dict[str, JoinAnswer] = {}
    run(mesh.authority.serve(answered.__setitem__))
    async with asyncio.timeout(20):
        assert (await first).cluster == "early"
        assert (await join(late, mesh.cluster("late"), "test")).cluster == "late"
    await until(lambda: len(answered) == 3)
    assert answered[early.id].accepted
    assert answered[late.id].accepted
    assert "cannot be read" in answered[odd.id].problems[0][1]
    assert await mesh.authority.pending() == []


async def test_a_token_admits_once(mesh: Mesh) -> None:
    token = await mesh.token("west")
    await mesh.join("west", token)
    assert [record.state for record in await mesh.authority.tokens()] == [USED]
    with pytest.raises(Denied, match="the token was used already"):
        await join(token, mesh.cluster("again"), "test")
    assert not mesh.cluster("again").directory.exists()


async def test_an_answer_is_never_taken_back(mesh: Mesh) -> None:
    """Whoever holds the token writes its request anew, or a second authority answers too."""
    token = await mesh.token("west")
    info = await mesh.join("west", token)
    answer = await mesh.etcd.get(answer_key(mesh.layout, token.id))
    for_token = await mesh.holder(token)
    again = request(mesh, token.id, uid="another")
    await for_token.put(request_key(mesh.layout, token.id), msgspec.msgpack.encode(again))
    with pytest.raises(Conflict, match="has been answered"):
        await mesh.authority.answer(token.id)
    assert await mesh.etcd.get(answer_key(mesh.layout, token.id)) == answer
    known = await registration(mesh, "west")
    assert known is not None
    assert known.uid == info.uid


async def test_two_authorities_give_one_answer(mesh: Mesh) -> None:
    token = await mesh.token("west")
    for_token = await mesh.holder(token)
    await for_token.put(request_key(mesh.layout, token.id), msgspec.msgpack.encode(request(mesh, token.id)))
    results = await asyncio.gather(*(mesh.authority.answer(token.id) for _ in range(4)), return_exceptions=True)
    given = [result for result in results if isinstance(result, JoinAnswer)]
    assert len(given) == 1, results
    assert all(isinstance(result, Conflict) for result in results if result not in given)
    kv = await mesh.etcd.get(answer_key(mesh.layout, token.id))
    assert kv is not None
    assert msgspec.msgpack.decode(kv.value, type=JoinAnswer) == given[0]
    assert given[0].accepted
    assert len(await users(mesh, "west")) == 1


async def test_a_revoked_token_opens_nothing(mesh: Mesh) -> None:
    token = await mesh.token("west")
    await mesh.authority.revoke_token(token.id)
    assert [record.state for record in await mesh.authority.tokens()] == [REVOKED]
    with pytest.raises(Denied, match="revoked"):
        await join(token, mesh.cluster("west"), "test")
    assert await mesh.authority.pending() == []
    assert f"join-{token.id}" not in await mesh.etcd.auth.users()
    with pytest.raises(Conflict, match="there is no token 'none'"):
        await mesh.authority.revoke_token("none")


async def test_a_token_revoked_after_the_request_admits_nobody(mesh: Mesh) -> None:
    token = await mesh.token("west")
    for_token = await mesh.holder(token)
    await for_token.put(request_key(mesh.layout, token.id), msgspec.msgpack.encode(request(mesh, token.id)))
    await mesh.authority.revoke_token(token.id)
    answer = await mesh.authority.answer(token.id)
    assert [problem[0] for problem in answer.problems] == ["token"]
    assert await registration(mesh, "west") is None


async def test_an_expired_token_is_refused_on_both_sides(mesh: Mesh) -> None:
    token = await mesh.token("west")
    old = msgspec.structs.replace(token, expires=time.time() - 5)
    with pytest.raises(InvalidInput, match="TokenExpired: Join token: ran out 5 s ago"):
        await join(old, mesh.cluster("west"), "test")
    assert await mesh.authority.pending() == []
    # the new cluster's clock is not the one that counts
    (record,) = await mesh.authority.tokens()
    late = msgspec.structs.replace(record, expires=time.time() - 5)
    await mesh.etcd.put(token_key(mesh.layout, token.id), msgspec.json.encode(late))
    joining = asyncio.ensure_future(join(token, mesh.cluster("west"), "test"))
    await mesh.answer(token)
    with pytest.raises(InvalidInput, match="JoinRefused: Cluster west token: ran out 5 s ago"):
        await joining
    assert await registration(mesh, "west") is None
    assert await users(mesh, "west") == []


async def test_the_holder_of_a_token_can_only_ask(mesh: Mesh) -> None:
    await mesh.join("east")
    token, other = await mesh.token("west"), await mesh.token("north")
    holder = await mesh.holder(token)
    layout = mesh.layout
    await mesh.etcd.put(answer_key(layout, other.id), b"not yours")
    await holder.put(request_key(layout, token.id), b"1")
    assert await holder.get(answer_key(layout, token.id)) is None
    assert await holder.get(layout.meta) is not None
    for key in (
        answer_key(layout, token.id),
        token_key(layout, token.id),
        request_key(layout, token.id) + "s",
        request_key(layout, other.id),
        layout.format(ClusterKey("west")),
        layout.format(HeartbeatKey("west")),
        layout.format(HeartbeatKey("east")),
        layout.meta,
    ):
        with pytest.raises(Denied):
            await holder.put(key, b"stolen")
    for forbidden in (
        holder.get(token_key(layout, token.id)),
        holder.get(answer_key(layout, other.id)),
        holder.get(request_key(layout, other.id)),
        holder.list_prefix(layout.joins),
        holder.list_prefix(layout.base),
        holder.auth.users(),
    ):
        with pytest.raises(Denied):
            await forbidden


async def test_a_refused_cluster_hears_everything_and_keeps_nothing(mesh: Mesh) -> None:
    await mesh.join("east")
    token = await mesh.token("west", trust_domain="east.m1")
    joining = asyncio.ensure_future(join(token, mesh.cluster("west"), "test"))
    await mesh.answer(token)
    with pytest.raises(InvalidInput) as refused:
        await joining
    (finding,) = refused.value.findings
    assert (finding.code, finding.object, finding.path) == ("JoinRefused", "Cluster west", "trustDomain")
    assert finding.fix == "give each cluster its own"
    assert not mesh.cluster("west").directory.exists()
    assert await registration(mesh, "west") is None
    assert await users(mesh, "west") == []
    assert [r.state for r in await mesh.authority.tokens() if r.cluster == "west"] == [OPEN]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"cluster": "east"}, "cluster"),
        ({"trust_domain": "east.m1"}, "trustDomain"),
        ({"intermediate_csr": b"garbage"}, "csr"),
        ({"etcd_csr": b""}, "csr"),
        ({"gateway_csr": b""}, "csr"),
        ({"sent": 0.0}, "clock"),
        ({"schema_min": 2, "schema_max": 2}, "schema"),
    ],
)
async def test_a_request_by_hand_gets_no_more_than_was_granted(mesh: Mesh, fields: dict[str, Any], path: str) -> None:
    token = await mesh.token("west")
    holder = await mesh.holder(token)
    asked = request(mesh, token.id, **fields)
    await holder.put(request_key(mesh.layout, token.id), msgspec.msgpack.encode(asked))
    answer = await mesh.authority.answer(token.id)
    assert [problem[0] for problem in answer.problems] == [path]
    assert not answer.intermediate_pem
    assert not answer.etcd_pem
    assert await mesh.authority.clusters() == []
    assert set(await mesh.etcd.auth.users()) == {"root", f"join-{token.id}"}


async def test_names_in_signing_requests_prove_nothing(mesh: Mesh) -> None:
    """A request whose CSRs name root and east gets west's certificates."""
    token = await mesh.token("west")
    holder = await mesh.holder(token)
    asked = request(
        mesh,
        token.id,
        intermediate_csr=make_csr(generate_key(), "east", ("spiffe://east.m1/ns/a/sa/b",)),
        etcd_csr=make_csr(generate_key(), "root"),
    )
    await holder.put(request_key(mesh.layout, token.id), msgspec.msgpack.encode(asked))
    answer = await mesh.authority.answer(token.id)
    assert answer.accepted
    user = x509.load_pem_x509_certificate(answer.etcd_pem)
    assert user.subject.rfc4514_string() == f"CN={(await users(mesh, 'west'))[0]}"
    intermediate = x509.load_pem_x509_certificate(answer.intermediate_pem)
    bound = intermediate.extensions.get_extension_for_class(x509.NameConstraints).value
    assert bound.permitted_subtrees == [x509.UniformResourceIdentifier("west.m1")]
    with pytest.raises(x509.ExtensionNotFound):
        intermediate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


async def test_a_directory_belongs_to_one_membership(mesh: Mesh) -> None:
    await mesh.join("west")
    token = await mesh.token("east")
    with pytest.raises(InvalidInput, match="is 'west' of mesh 'm1', the token is for 'east' of 'm1'"):
        await join(token, mesh.cluster("west"), "test")
    assert await mesh.authority.pending() == []


async def test_a_member_renews_everything_by_joining_again(mesh: Mesh) -> None:
    """The same uid, other keys; what it had opens nothing any more."""
    first = await mesh.join("west")
    files = mesh.cluster("west")
    old = await mesh.member("west")
    before = {path: path.read_bytes() for path in (files.etcd_key, files.gateway_key, files.ca / "ca-key.pem")}
    again = await mesh.join("west", await mesh.token("west"))
    assert again == first
    assert all(path.read_bytes() != content for path, content in before.items())
    with pytest.raises(Denied):
        await old.put(mesh.layout.format(HeartbeatKey("west")), b"1")
    renewed = await mesh.member("west")
    await renewed.put(mesh.layout.format(HeartbeatKey("west")), b"1")
    assert not files.pending.exists()


async def test_who_was_interrupted_goes_on_waiting_with_the_same_keys(mesh: Mesh) -> None:
    token = await mesh.token("west")
    waiting = asyncio.ensure_future(join(token, mesh.cluster("west"), "test"))
    async with asyncio.timeout(20):
        while not await mesh.authority.pending():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    waiting.cancel()
    assert mesh.cluster("west").pending.stat().st_mode & 0o777 == 0o600
    assert (await mesh.authority.answer(token.id)).accepted
    await join(token, mesh.cluster("west"), "test")
    west = await mesh.member("west")
    await west.put(mesh.layout.format(HeartbeatKey("west")), b"1")
    assert not mesh.cluster("west").pending.exists()
    with pytest.raises(Denied, match="the token was used already"):
        await join(token, mesh.cluster("other"), "test")


async def test_users_of_tokens_go_when_their_time_is_over(mesh: Mesh) -> None:
    token = await mesh.token("west", ttl=60.0)
    (record,) = await mesh.authority.tokens()
    late = msgspec.structs.replace(record, expires=time.time() - 5)
    await mesh.etcd.put(token_key(mesh.layout, token.id), msgspec.json.encode(late))
    other = await mesh.token("east")
    assert set(await mesh.etcd.auth.users()) == {"root", f"join-{other.id}"}


async def test_a_name_in_use_is_not_given_again(mesh: Mesh) -> None:
    info = await mesh.join("west")
    token = await mesh.token("west")
    joining = asyncio.ensure_future(join(token, mesh.cluster("second"), "test"))
    await mesh.answer(token)
    with pytest.raises(InvalidInput, match="is a member with another uid"):
        await joining
    known = await registration(mesh, "west")
    assert known is not None
    assert known.uid == info.uid


@pytest.mark.parametrize(
    ("name", "fields"), [("we/st", {}), ("w" * 48, {}), ("west", {"trust_domain": ".m1"}), ("west", {"network": ""})]
)
async def test_no_token_for_names_that_no_cluster_can_have(mesh: Mesh, name: str, fields: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="InvalidName"):
        await mesh.token(name, **fields)
    assert await mesh.authority.tokens() == []
    assert await mesh.etcd.auth.users() == ("root",)


async def test_the_longest_name_joins(mesh: Mesh) -> None:
    (client,) = await mesh.joined("w" * 47)
    await client.put(mesh.layout.format(HeartbeatKey("w" * 47)), b"1")


async def test_a_lost_credential_is_replaced_by_joining_anew(mesh: Mesh) -> None:
    """The same cluster, by its uid, with another token; names that begin alike are nobody's business."""
    await mesh.joined("west", "west-0badcafe")
    first = (await users(mesh, "west-0badcafe"), await registration(mesh, "west"))
    lost = await mesh.member("west")
    token = await mesh.token("west")
    holder = await mesh.holder(token)
    assert first[1] is not None
    again = request(mesh, token.id, uid=first[1].uid)
    await holder.put(request_key(mesh.layout, token.id), msgspec.msgpack.encode(again))
    assert (await mesh.authority.answer(token.id)).accepted
    with pytest.raises(Denied):
        await lost.put(mesh.layout.format(HeartbeatKey("west")), b"1")
    assert await users(mesh, "west-0badcafe") == first[0]
    other = await mesh.member("west-0badcafe")
    await other.put(mesh.layout.format(HeartbeatKey("west-0badcafe")), b"1")


async def test_beginning_twice_changes_nothing(mesh: Mesh) -> None:
    meta = await mesh.etcd.get(mesh.layout.meta)
    key = mesh.files.etcd_key.read_bytes()
    assert not await init_store(mesh.etcd, "m1")
    assert not init_files(mesh.files, MeshInfo("m1", mesh.server.endpoints), ())
    assert await mesh.etcd.get(mesh.layout.meta) == meta
    assert mesh.files.etcd_key.read_bytes() == key
    with pytest.raises(InvalidInput, match="holds mesh 'm1', not 'm2'"):
        init_files(mesh.files, MeshInfo("m2", mesh.server.endpoints), ())


async def test_the_authority_comes_back_with_its_files(mesh: Mesh) -> None:
    async with connect(mesh.files) as again:
        assert isinstance(again, Etcd)
        assert await again.auth.users() == ("root",)
