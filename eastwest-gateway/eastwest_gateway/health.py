"""From Envoy's answers to what the gateway says of itself. The rule is pure; the loop asks and passes it on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from eastwest_gateway.envoy import Admin
from federation.records import DRAINING, READY, UNREADY

POLL_SECONDS = 0.5
FIRST_POLL_SECONDS = 0.05
FAILURES = 3


def next_state(state: str, failures: int) -> str:
    """The state after so many failed checks in a row ("" = never ready yet, which is not announced).

    One success makes it ready; only several failures take that back, since a busy Envoy may answer late once. A gateway
    that drains goes on to drain.
    """
    if state == DRAINING:
        return DRAINING
    if failures == 0:
        return READY
    return UNREADY if state and failures >= FAILURES else state


async def follow_health(admin: Admin, state: Callable[[], str], change: Callable[[str], None]) -> None:
    """Poll Envoy until cancelled; `change` is called with each new state."""
    failures = 0
    while True:
        failures = 0 if await admin.is_ready() else failures + 1
        now = state()
        fresh = next_state(now, failures)
        if fresh != now:
            change(fresh)
        await asyncio.sleep(POLL_SECONDS if fresh else FIRST_POLL_SECONDS)
