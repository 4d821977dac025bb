"""The order in which a gateway goes: first out of everyone's endpoints, then its listeners, then its connections.

In any other order somebody dials a gateway that no longer answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from eastwest_gateway.announce import Announcer
from eastwest_gateway.envoy import Admin
from federation.model.errors import Unavailable
from federation.records import DRAINING

log = structlog.get_logger("gateway")

ANNOUNCE_SECONDS = 3.0


async def drain(
    announcer: Announcer, change: Callable[[str], None], admin: Admin, withdraw: float, seconds: float
) -> None:
    """Say that the gateway drains, give others `withdraw` seconds, drain listeners, wait for connections to end.

    Without the store others cannot be told; then they find out by themselves, and this is still bounded by `seconds`.
    """
    change(DRAINING)
    try:
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            async for record in announcer.announced.changes():
                if record.state == DRAINING:
                    break
        await asyncio.sleep(withdraw)
    except TimeoutError:
        log.warning("drain_not_announced")
    try:
        await admin.drain_listeners()
        log.info("draining")
        async with asyncio.timeout(seconds):
            await admin.wait_without_connections()
    except TimeoutError:
        log.info("connections_cut", after=seconds)
    except Unavailable as error:
        log.warning("not_drained", error=str(error))
