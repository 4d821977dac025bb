"""Says in the shared store where this gateway is and whether it takes traffic, under a lease that ends with it.

A thin shell: what to say comes as a value. While the store is away nothing is lost; the record is written again on
return.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from eastwest_gateway.metrics import ANNOUNCED
from federation.etcd import Etcd, Lease
from federation.keys import GatewayKey, Layout
from federation.model.errors import Conflict, Denied, Unavailable
from federation.records import GatewayRecord, encode_gateway
from federation.runtime.backoff import Backoff
from federation.runtime.latest import Latest

log = structlog.get_logger("gateway")


class Announcer:
    """Keeps one gateway's record as the newest of `records` says. `announced` is what the store holds, None before."""

    def __init__(self, layout: Layout, etcd: Etcd, records: Latest[GatewayRecord], lease_seconds: int) -> None:
        self._layout = layout
        self._etcd = etcd
        self._records = records
        self._lease_seconds = lease_seconds
        self.announced: Latest[GatewayRecord] = Latest()

    async def run(self) -> None:
        """Announce until cancelled; the record goes with the lease at the end."""
        backoff = Backoff()
        await self._records.wait()
        while True:
            try:
                async with self._etcd.leases() as leases:
                    lease = await leases.grant(self._lease_seconds)
                    backoff.reset()
                    await self._follow(lease)
                    log.warning("lease_lost_announced_again", gateway=self._id)
            except (Unavailable, Denied, Conflict) as error:
                log.warning("not_announced", gateway=self._id, error=str(error))
            finally:
                ANNOUNCED.set(0)
            await asyncio.sleep(backoff.pause())

    async def _follow(self, lease: Lease) -> None:
        """Write every new record until the lease is lost."""
        seen = 0
        lost = asyncio.ensure_future(lease.lost.wait())
        try:
            while not lost.done():
                fresh = asyncio.ensure_future(self._records.wait(seen))
                await asyncio.wait((fresh, lost), return_when=asyncio.FIRST_COMPLETED)
                if not fresh.done():
                    fresh.cancel()
                    with suppress(asyncio.CancelledError):
                        await fresh
                    return
                seen, record = fresh.result()
                await self._etcd.put(self._key(record), encode_gateway(record), lease.id)
                log.info("announced", gateway=record.id, state=record.state, address=record.gateway.address)
                ANNOUNCED.set(1)
                self.announced.set(record)
        finally:
            lost.cancel()

    @property
    def _id(self) -> str:
        record = self._records.peek()
        return record.id if record is not None else ""

    def _key(self, record: GatewayRecord) -> str:
        return self._layout.format(GatewayKey(record.gateway.cluster, record.id))
