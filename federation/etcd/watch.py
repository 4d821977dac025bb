"""Watching a prefix without missing or repeating an event, over any number of lost connections.

`Position` decides what a response means and where to resume; `watch` is the loop around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from federation.etcd import rpc
from federation.etcd.connection import Connection, Stream
from federation.etcd.errors import BadToken, Compacted, StoreReplaced, convert_cancel
from federation.etcd.schema import etcd_pb2 as pb
from federation.etcd.values import Interrupted, Watched, decode_events, encode_range
from federation.model.errors import Bug, Denied, Unavailable
from federation.runtime.backoff import Backoff

WatchStream = Stream[pb.WatchRequest, pb.WatchResponse]


class Position:
    """How far a watch has come in the history of one store. `next_revision` is the first not yet delivered."""

    def __init__(self, next_revision: int, cluster_id: int) -> None:
        self.next_revision = next_revision
        self.cluster_id = cluster_id

    def take(self, response: pb.WatchResponse) -> Watched:
        """What a response brings. Raises Compacted, Denied, StoreReplaced, or Unavailable when etcd ended the watch.

        The revision in a `created` response is the store's, not the watch's: history up to it is still to come.
        """
        self.check_store(response.header)
        if response.compact_revision:
            raise Compacted(response.compact_revision)
        if response.canceled:
            raise convert_cancel(response.cancel_reason)
        if response.events:
            self.next_revision = response.events[-1].kv.mod_revision + 1
        elif not response.created:
            self.next_revision = max(self.next_revision, response.header.revision + 1)
        return Watched(self.next_revision - 1, decode_events(response.events))

    def check_store(self, header: pb.Header) -> None:
        """Raises StoreReplaced when this is not the store we followed so far."""
        self.cluster_id = self.cluster_id or header.cluster_id
        if header.cluster_id != self.cluster_id:
            raise StoreReplaced(f"etcd cluster {header.cluster_id:x} answers instead of {self.cluster_id:x}")

    def is_behind(self, header: pb.Header) -> bool:
        """Whether a member has not reached what we have seen: it lags, or the store was set back."""
        return header.revision < self.next_revision - 1


async def watch(
    connection: Connection, prefix: str, from_revision: int, single_key: bool = False
) -> AsyncIterator[Watched | Interrupted]:
    """All events of the prefix from a revision on, in order, for ever. See `Etcd.watch`."""
    if from_revision < 1:
        raise Bug("a watch starts at a listing's revision + 1")
    position = Position(from_revision, connection.header.cluster_id if connection.header else 0)
    key, end = encode_range(prefix, not single_key)
    backoff = Backoff()
    refused = False
    while True:
        create = pb.WatchCreate(key=key, range_end=end, start_revision=position.next_revision, progress_notify=True)
        try:
            async with connection.stream(rpc.WATCH) as stream:
                await stream.write(pb.WatchRequest(create=create))
                created = await stream.read(connection.options.request_timeout)
                yield position.take(created)
                if position.is_behind(created.header):
                    await _check_not_set_back(connection, position, create)
                backoff.reset()
                refused = False
                while True:
                    yield position.take(await stream.read())
        except StoreReplaced:
            raise
        except Denied as denied:
            # etcd refuses an outdated token in the same words as a lack of permission: log in and ask once more.
            if refused or not (connection.forget_token() or isinstance(denied, BadToken)):
                raise
            refused = True
        except Unavailable as error:
            yield Interrupted(str(error))
            await asyncio.sleep(backoff.pause())


async def _check_not_set_back(connection: Connection, position: Position, create: pb.WatchCreate) -> None:
    """Ask the majority, since one member may merely lag."""
    answer = await connection.call(
        rpc.RANGE, pb.RangeRequest(key=create.key, range_end=create.range_end, count_only=True)
    )
    position.check_store(answer.header)
    if position.is_behind(answer.header):
        raise StoreReplaced(
            f"the store is at revision {answer.header.revision}, we have seen {position.next_revision - 1}: "
            "it was restored from a backup"
        )
