"""`Etcd`: everything the mesh asks of its store, as one object over one connection.

Owns paging and the forms of transactions we use; the connection's trouble is `connection.py`'s, the meaning of keys
`federation.keys`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType

from federation.etcd import rpc
from federation.etcd.auth import Auth
from federation.etcd.connection import Connection
from federation.etcd.errors import Compacted, StoreReplaced
from federation.etcd.lease import Leases
from federation.etcd.options import Options
from federation.etcd.schema import etcd_pb2 as pb
from federation.etcd.values import (
    Compare,
    Get,
    Header,
    Interrupted,
    KeyValue,
    Listing,
    Member,
    Operation,
    Put,
    Status,
    TxnResult,
    Watched,
    decode_header,
    decode_key,
    decode_kvs,
    decode_txn,
    encode_compare,
    encode_key,
    encode_operation,
    encode_range,
)
from federation.etcd.watch import watch
from federation.model.errors import Conflict

PAGE = 1_000
LIST_ATTEMPTS = 3


class Etcd:
    """A client of one store. Made in a running event loop; `async with`, or `close` when done.

    Every method raises Unavailable (the store cannot be reached) and Denied (it knows us and says no). After an
    Unavailable that is not NeverSent, a write may have been carried out.
    """

    def __init__(self, options: Options) -> None:
        self._connection = Connection(options)
        self.auth = Auth(self._connection)

    async def __aenter__(self) -> Etcd:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        await self._connection.close()

    @property
    def header(self) -> Header | None:
        """The header of the last answer of any kind, None before the first."""
        return self._connection.header

    @property
    def cluster_id(self) -> int:
        """The id of the store that answered last, 0 before the first answer."""
        return self.header.cluster_id if self.header else 0

    @property
    def endpoint(self) -> str:
        """The endpoint in use."""
        return self._connection.endpoint

    async def range(
        self,
        key: str,
        *,
        prefix: bool = False,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> Listing:
        """One key, or all that begin with it, as of a revision (0: now), in key order.

        For large prefixes see `list_prefix`. Raises Compacted when the revision is no longer kept.
        """
        first, end = encode_range(key, prefix)
        request = pb.RangeRequest(
            key=first, range_end=end, revision=revision, limit=limit, keys_only=keys_only, count_only=count_only
        )
        answer = await self._connection.call(rpc.RANGE, request)
        header = answer.header
        return Listing(
            revision or header.revision, decode_kvs(answer.kvs), header.cluster_id, answer.count, answer.more
        )

    async def get(self, key: str) -> KeyValue | None:
        """One key as it is now, None if there is none."""
        return next(iter((await self.range(key)).kvs), None)

    async def list_prefix(self, prefix: str, page: int = PAGE) -> Listing:
        """All keys that begin with `prefix`, read in pages as of one revision: watch from that revision + 1.

        Raises Compacted when compaction overtakes it three times, StoreReplaced when the store changes under it.
        """
        for _ in range(LIST_ATTEMPTS - 1):
            with suppress(Compacted):
                return await self._list_pages(prefix, page)
        return await self._list_pages(prefix, page)

    async def _list_pages(self, prefix: str, page: int) -> Listing:
        key, end = encode_range(prefix, True)
        kvs: list[KeyValue] = []
        revision = cluster_id = 0
        while True:
            request = pb.RangeRequest(key=key, range_end=end, limit=page, revision=revision)
            answer = await self._connection.call(rpc.RANGE, request)
            revision = revision or answer.header.revision
            cluster_id = cluster_id or answer.header.cluster_id
            if answer.header.cluster_id != cluster_id:
                raise StoreReplaced(f"etcd cluster {answer.header.cluster_id:x} answers instead of {cluster_id:x}")
            kvs += decode_kvs(answer.kvs)
            if not answer.more:
                return Listing(revision, tuple(kvs), cluster_id, len(kvs))
            key = answer.kvs[-1].key + b"\0"

    async def put(self, key: str, value: bytes, lease: int = 0) -> int:
        """Write a key, under a lease unless 0; returns the new revision. Raises Conflict when the lease is gone."""
        request = pb.PutRequest(key=encode_key(key), value=value, lease=lease)
        return (await self._connection.call(rpc.PUT, request)).header.revision

    async def create(self, key: str, value: bytes, lease: int = 0) -> int:
        """Write a key that must not exist. Raises Conflict when it does.

        Returns its create revision, which grows from holder to holder: a fencing token.
        """
        return await self._put_if(Compare(key, "create_revision", "==", 0), Put(key, value, lease), "exists")

    async def replace(self, key: str, value: bytes, mod_revision: int, lease: int = 0) -> int:
        """Write a key that must be unchanged since `mod_revision`; returns the new revision. Raises Conflict."""
        return await self._put_if(
            Compare(key, "mod_revision", "==", mod_revision), Put(key, value, lease), "has changed"
        )

    async def _put_if(self, condition: Compare, put: Put, otherwise: str) -> int:
        result = await self.txn([condition], [put])
        if not result.succeeded:
            raise Conflict(f"etcd key {put.key} {otherwise}")
        return result.revision

    async def delete(self, key: str, *, prefix: bool = False) -> int:
        """Delete a key, or all that begin with it; returns how many there were."""
        first, end = encode_range(key, prefix)
        return (await self._connection.call(rpc.DELETE, pb.DeleteRequest(key=first, range_end=end))).deleted

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TxnResult:
        """Do `then` if all conditions hold, else `otherwise`, at one revision.

        etcd takes at most 128 operations and puts no key twice (else Bug).
        """
        request = pb.TxnRequest(
            compare=map(encode_compare, compares),
            success=map(encode_operation, then),
            failure=map(encode_operation, otherwise),
        )
        only_reads = all(isinstance(operation, Get) for operation in (*then, *otherwise))
        method = rpc.TXN_READ if only_reads else rpc.TXN
        return decode_txn(await self._connection.call(method, request))

    async def compact(self, revision: int, physical: bool = False) -> None:
        """Forget all history before a revision. Raises Compacted when that has been done."""
        await self._connection.call(rpc.COMPACT, pb.CompactRequest(revision=revision, physical=physical))

    def watch(
        self, prefix: str, from_revision: int, *, single_key: bool = False
    ) -> AsyncIterator[Watched | Interrupted]:
        """All events of a prefix from a revision on, in order, none lost or doubled over interruptions.

        Yields `Watched` batches (the first, and the first after every interruption, without events) and `Interrupted`
        while there is no connection; it tries again when asked for the next item. Raises Compacted when the history
        needed is gone and StoreReplaced when another or an older store answers (both: list again, compare, watch
        again), Denied when not permitted.
        """
        return watch(self._connection, prefix, from_revision, single_key)

    @asynccontextmanager
    async def leases(self, revoke_at_end: bool = True) -> AsyncIterator[Leases]:
        """Grants leases and keeps them alive inside the block; at its end they are revoked, unless told otherwise."""
        leases = Leases(self._connection)
        keeper = asyncio.create_task(leases.keep(), name="etcd-leases")
        try:
            yield leases
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            if revoke_at_end:
                await leases.revoke_all()

    async def time_to_live(self, lease: int) -> int:
        """The seconds a lease still has; -1 if there is none of this id."""
        request = pb.LeaseTimeToLiveRequest(id=lease)
        return (await self._connection.call(rpc.LEASE_TIME_TO_LIVE, request)).ttl

    async def keys_of_lease(self, lease: int) -> tuple[str, ...]:
        """The keys that end with a lease."""
        request = pb.LeaseTimeToLiveRequest(id=lease, keys=True)
        return tuple(map(decode_key, (await self._connection.call(rpc.LEASE_TIME_TO_LIVE, request)).keys))

    async def members(self) -> tuple[Member, ...]:
        """The store's members."""
        answer = await self._connection.call(rpc.MEMBER_LIST, pb.Empty())
        return tuple(
            Member(m.id, m.name, tuple(m.peer_urls), tuple(m.client_urls), m.is_learner) for m in answer.members
        )

    async def status(self, endpoint: str = "") -> Status:
        """How the member at one of our endpoints (default: the one in use) sees itself."""
        name = endpoint or self.endpoint
        answer = await self._connection.call(rpc.STATUS, pb.Empty(), self._connection.options.endpoints.index(name))
        return Status(
            endpoint=name,
            header=decode_header(answer.header),
            version=answer.version,
            leader=answer.leader,
            raft_term=answer.raft_term,
            db_size=answer.db_size,
            db_size_in_use=answer.db_size_in_use,
            errors=tuple(answer.errors),
        )

    async def snapshot(self) -> AsyncIterator[bytes]:
        """A backup of the whole store, in pieces, for `etcdctl snapshot restore`.

        Raises Unavailable when it breaks off. Needs the root role once authentication is on.
        """
        async with self._connection.download(rpc.SNAPSHOT, pb.Empty()) as stream:
            while piece := await stream.read_or_end(self._connection.options.request_timeout):
                yield piece.blob
