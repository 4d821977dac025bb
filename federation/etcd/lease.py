"""Leases: granted, kept alive on one shared stream, and known to be lost.

A lease may outlive its time, since etcd starts the count again when it changes leader; it never ends before. So the
holder of a lock trusts `expires`, while a reader takes a lease's keys for gone only when etcd deletes them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog

from federation.etcd import rpc
from federation.etcd.connection import Connection, Stream
from federation.etcd.schema import etcd_pb2 as pb
from federation.model.errors import Conflict, Denied, Unavailable
from federation.runtime.backoff import Backoff

log = structlog.get_logger("etcd")

RENEWALS_PER_LIFE = 3
REVOKE_SECONDS = 2.0


@dataclass(eq=False)
class Lease:
    """A lease that is being kept alive. `ttl` is seconds; `expires` is event loop time, until which it certainly holds.

    `lost` is set once etcd has said that the lease is gone, or after `revoke`. During an outage `expires` passes first.
    """

    id: int
    ttl: int
    expires: float
    renew_at: float
    lost: asyncio.Event = field(default_factory=asyncio.Event)


class Leases:
    """The leases of one holder; made by `Etcd.leases`, which runs `keep` for as long as they are in use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: dict[int, Lease] = {}
        self._changed = asyncio.Event()

    async def grant(self, ttl: int) -> Lease:
        """A new lease of at least `ttl` seconds (etcd may give more), kept alive from now on."""
        sent = asyncio.get_running_loop().time()
        answer = await self._connection.call(rpc.LEASE_GRANT, pb.LeaseGrantRequest(ttl=ttl))
        lease = Lease(answer.id, answer.ttl, 0.0, 0.0)
        _renewed(lease, sent)
        self._held[lease.id] = lease
        self._changed.set()
        return lease

    async def revoke(self, lease: Lease) -> None:
        """End the lease; etcd deletes its keys. Nothing happens when it is gone already. Raises Unavailable."""
        self._held.pop(lease.id, None)
        try:
            await self._connection.call(rpc.LEASE_REVOKE, pb.LeaseId(id=lease.id))
        except Conflict:
            log.debug("lease_gone_before_revoke", lease=f"{lease.id:x}")
        lease.lost.set()

    async def revoke_all(self) -> None:
        """End all leases, within two seconds or not at all: they run out by themselves."""
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                for lease in list(self._held.values()):
                    await self.revoke(lease)
        except (TimeoutError, Unavailable, Denied) as error:
            log.warning("lease_not_revoked", error=str(error))

    async def keep(self) -> None:
        """Keep all leases alive until cancelled, over lost connections and changes of leader."""
        backoff = Backoff()
        while True:
            await self._wait_until_due()
            try:
                async with self._connection.stream(rpc.LEASE_KEEP_ALIVE) as stream:
                    while self._held:
                        await self._renew_due(stream)
                        backoff.reset()
                        await self._wait_until_due()
            except (Unavailable, Denied) as error:
                if isinstance(error, Denied):
                    self._connection.forget_token()
                log.warning("leases_not_renewed", leases=len(self._held), error=str(error))
                await asyncio.sleep(backoff.pause())

    async def _renew_due(self, stream: Stream[pb.LeaseId, pb.LeaseAnswer]) -> None:
        loop = asyncio.get_running_loop()
        for lease in [lease for lease in self._held.values() if lease.renew_at <= loop.time()]:
            sent = loop.time()
            await stream.write(pb.LeaseId(id=lease.id))
            # A third of its life is spent, a third may go waiting, and the last is left to try elsewhere.
            answer = await stream.read(min(lease.ttl / RENEWALS_PER_LIFE, self._connection.options.request_timeout))
            if answer.ttl > 0:
                _renewed(lease, sent)
            elif self._held.pop(lease.id, None):
                log.warning("lease_lost", lease=f"{lease.id:x}")
                lease.lost.set()

    async def _wait_until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            due = min((lease.renew_at for lease in self._held.values()), default=None)
            if due is not None and due <= loop.time():
                return
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                return


def _renewed(lease: Lease, sent: float) -> None:
    lease.expires = sent + lease.ttl
    lease.renew_at = sent + lease.ttl / RENEWALS_PER_LIFE
