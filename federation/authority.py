"""The authority of a mesh: hands out join tokens, answers join requests, takes clusters out.

A shell around `federation.join` (which checks) and `federation.pki` (which signs). Whoever runs it holds the root's
key and the store's root user; nobody else does, and neither ever goes into the store.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from federation.etcd import Compacted, Etcd, Listing, Permission, StoreReplaced, Watched
from federation.founding import USER_TTL
from federation.join import (
    OPEN,
    REVOKED,
    USED,
    JoinAnswer,
    JoinRequest,
    JoinToken,
    TokenRecord,
    answer_key,
    check_grant,
    check_request,
    request_key,
    token_key,
)
from federation.keys import ClusterKey, Layout
from federation.mesh_files import AuthorityFiles
from federation.model.errors import Conflict, InvalidInput, Unavailable
from federation.pki.bundle import fingerprint, load_authority
from federation.pki.csr import read_csr
from federation.pki.issue import Authority as Signer
from federation.pki.issue import sign_intermediate, sign_user
from federation.pki.keys import encode_key, generate_key
from federation.records import SCHEMA
from federation.schema import records_pb2 as pb

log = structlog.get_logger("authority")

LEFT = "left"
_ADMISSION = 8  # characters of the token's id in the name of a member's user
_OWN_JOIN = "use `isthmus cluster join`"


class Authority:
    """Acts for one mesh with its root key and its store."""

    def __init__(self, files: AuthorityFiles, etcd: Etcd) -> None:
        self._files = files
        self._etcd = etcd
        self._info = files.info()
        self._layout = Layout(self._info.mesh)

    def _signer(self) -> tuple[Signer, bytes]:
        return load_authority(self._files.root)

    def _store_signer(self) -> tuple[Signer, bytes]:
        return load_authority(self._files.store_ca)

    async def create_token(self, cluster: str, network: str, region: str, trust_domain: str, ttl: float) -> JoinToken:
        """A new token; `ttl` seconds. Its store user can write one request and read one answer.

        Raises InvalidInput for names that no cluster can have.
        """
        if findings := check_grant(cluster, network, trust_domain):
            raise InvalidInput(findings)
        now = time.time()
        await self._sweep(now)
        record = TokenRecord(secrets.token_hex(8), cluster, network, region, trust_domain, now, now + ttl)
        user = f"join-{record.id}"
        store, store_roots_pem = self._store_signer()
        key = generate_key()
        certificate = sign_user(store, key.public_key(), user, timedelta(seconds=ttl), datetime.now(UTC))
        await self._etcd.create(token_key(self._layout, record.id), msgspec.json.encode(record))
        await self._add_user(
            user,
            Permission(request_key(self._layout, record.id), prefix=False, write=True),
            Permission(answer_key(self._layout, record.id), prefix=False),
            Permission(self._layout.meta, prefix=False),
        )
        return JoinToken(
            self._info.mesh, record.id, cluster, network, region, trust_domain, self._info.endpoints,
            store_roots_pem, encode_key(key), certificate, record.expires,
        )  # fmt: skip

    async def tokens(self) -> list[TokenRecord]:
        """All tokens, oldest first."""
        listing = await self._etcd.list_prefix(self._layout.joins)
        records = [msgspec.json.decode(kv.value, type=TokenRecord) for kv in listing.kvs if kv.key.endswith("/token")]
        return sorted(records, key=lambda record: record.created)

    async def _sweep(self, now: float) -> None:
        """Users of tokens whose time is over have nothing left to do in the store."""
        users = frozenset(await self._etcd.auth.users())
        for record in await self.tokens():
            if now > record.expires and (user := f"join-{record.id}") in users:
                await self._remove_user(user)

    async def revoke_token(self, token: str) -> None:
        """Make a token useless; raises Conflict if there is none of that id."""
        record = await self._token(token)
        if record is None:
            raise Conflict(f"there is no token {token!r}: see `isthmus cluster token list`")
        await self._close_token(record, REVOKED)
        await self._remove_user(f"join-{token}")

    async def _token(self, token: str) -> TokenRecord | None:
        kv = await self._etcd.get(token_key(self._layout, token))
        return msgspec.json.decode(kv.value, type=TokenRecord) if kv is not None else None

    async def _close_token(self, record: TokenRecord, state: str) -> None:
        closed = msgspec.structs.replace(record, state=state)
        await self._etcd.put(token_key(self._layout, record.id), msgspec.json.encode(closed))

    async def clusters(self) -> list[pb.Cluster]:
        """All registrations, tombstones included."""
        listing = await self._etcd.list_prefix(self._layout.clusters)
        return [pb.Cluster.FromString(kv.value) for kv in listing.kvs]

    async def pending(self) -> list[str]:
        """Ids of tokens with a request that has no answer."""
        return self._unanswered(await self._etcd.list_prefix(self._layout.joins))

    def _unanswered(self, listing: Listing) -> list[str]:
        keys = {kv.key for kv in listing.kvs}
        asked = [kv.key.split("/")[-2] for kv in listing.kvs if kv.key.endswith("/request")]
        return [token for token in asked if answer_key(self._layout, token) not in keys]

    async def answer(self, token: str) -> JoinAnswer:
        """Check one request, sign or refuse, register the cluster. The answer is in the store when this returns.

        Raises Conflict if there is no request or it has been answered: an answer is never taken back.
        """
        kv = await self._etcd.get(request_key(self._layout, token))
        if kv is None:
            raise Conflict(f"token {token!r} has no request yet")
        if await self._etcd.get(answer_key(self._layout, token)) is not None:
            raise Conflict(f"the request of token {token!r} has been answered")
        record = await self._token(token)
        answer = await self._judge(record, kv.value)
        await self._etcd.create(answer_key(self._layout, token), msgspec.msgpack.encode(answer))
        if answer.accepted and record is not None:  # after the answer: an end between them must not refuse a member
            await self._close_token(record, USED)
        log.info(
            "join_answered", token=token, accepted=answer.accepted, problems=[" ".join(p) for p in answer.problems]
        )
        return answer

    async def _judge(self, record: TokenRecord | None, value: bytes) -> JoinAnswer:
        try:
            request = msgspec.msgpack.decode(value, type=JoinRequest)
        except msgspec.DecodeError as wrong:
            return JoinAnswer((("", f"the request cannot be read: {wrong}"[:500], _OWN_JOIN),))
        findings = check_request(request, record, await self.clusters(), time.time())
        if findings or record is None:
            return JoinAnswer(problems=tuple((f.path, f.message, f.fix) for f in findings))
        return await self._admit(request, record)

    async def _admit(self, request: JoinRequest, record: TokenRecord) -> JoinAnswer:
        root, roots_pem = self._signer()
        store, store_roots_pem = self._store_signer()
        now = datetime.now(UTC)
        try:
            ca_key, user_key, gateway_key = (
                _public_key(csr) for csr in (request.intermediate_csr, request.etcd_csr, request.gateway_csr)
            )
        except ValueError as wrong:
            return JoinAnswer(problems=(("csr", f"{wrong}"[:500], _OWN_JOIN),))
        intermediate = sign_intermediate(root, ca_key, request.cluster, request.trust_domain, now)
        user, gateway = (f"{kind}-{request.cluster}-{record.id[:_ADMISSION]}" for kind in ("cluster", "gateway"))
        await self._remove_members_users(request.cluster, but=(user, gateway))
        owned = self._layout.owned_by(request.cluster)
        await self._add_user(user, Permission(owned, write=True), Permission(self._layout.base))
        await self._add_user(gateway, Permission(f"{owned}gateways/", write=True))
        registration = pb.Cluster(
            schema=SCHEMA,
            name=request.cluster,
            uid=request.uid,
            network=request.network,
            region=request.region,
            trust_domain=request.trust_domain,
            ca_fingerprint=fingerprint(intermediate),
            schema_min=request.schema_min,
            schema_max=request.schema_max,
            joined_unix_ms=int(time.time() * 1000),
            state="member",
        )
        await self._etcd.put(self._layout.format(ClusterKey(request.cluster)), registration.SerializeToString())
        return JoinAnswer(
            (),
            intermediate,
            sign_user(store, user_key, user, USER_TTL, now),
            sign_user(store, gateway_key, gateway, USER_TTL, now),
            roots_pem,
            store_roots_pem,
        )

    async def _add_user(self, user: str, *permissions: Permission) -> None:
        for step in (self._etcd.auth.add_role(user), self._etcd.auth.add_user(user)):
            with suppress(Conflict):
                await step
        for permission in permissions:
            await self._etcd.auth.grant_permission(user, permission)
        await self._etcd.auth.grant_role(user, user)

    async def _remove_user(self, user: str) -> None:
        for step in (self._etcd.auth.delete_user(user), self._etcd.auth.delete_role(user)):
            with suppress(Conflict):
                await step

    async def _remove_members_users(self, cluster: str, but: Collection[str] = ()) -> None:
        """The users of all admissions of a cluster: a certificate of an earlier one must not work for the next."""
        form = re.compile(rf"(?:cluster|gateway)-{re.escape(cluster)}-[0-9a-f]{{{_ADMISSION}}}")
        for user in await self._etcd.auth.users():
            if form.fullmatch(user) and user not in but:
                await self._remove_user(user)

    async def remove(self, cluster: str) -> list[str]:
        """Take a cluster out of the mesh: tombstone, its user, its records. Returns the keys deleted; only its own."""
        key = self._layout.format(ClusterKey(cluster))
        kv = await self._etcd.get(key)
        if kv is None:
            raise Conflict(f"there is no cluster {cluster!r}: see `isthmus cluster list`")
        registration = pb.Cluster.FromString(kv.value)
        registration.state = LEFT
        await self._etcd.put(key, registration.SerializeToString())
        await self._remove_members_users(cluster)
        owned = await self._etcd.list_prefix(self._layout.owned_by(cluster))
        await self._etcd.delete(self._layout.owned_by(cluster), prefix=True)
        return [item.key for item in owned.kvs]

    async def serve(self, on_answer: Callable[[str, JoinAnswer], None]) -> None:
        """Answer every request as it comes, until cancelled."""
        while True:
            try:
                listing = await self._etcd.list_prefix(self._layout.joins)
                for token in self._unanswered(listing):
                    with suppress(Conflict):  # somebody else was quicker
                        on_answer(token, await self.answer(token))
                async for batch in self._etcd.watch(self._layout.joins, listing.revision + 1):
                    events = batch.events if isinstance(batch, Watched) else ()
                    if any(event.kv.key.endswith("/request") and not event.deleted for event in events):
                        break
            except (Compacted, StoreReplaced, Unavailable) as error:
                log.warning("store_lost", error=str(error))
                await asyncio.sleep(0.5)


def _public_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a signing request; raises ValueError unless it is EC."""
    key = read_csr(csr).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("has a key that is not EC P-256")
    return key


def is_open(record: TokenRecord, now: float) -> bool:
    """Whether a token can still be used."""
    return record.state == OPEN and now < record.expires
