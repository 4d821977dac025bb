"""Runs the services of a process: each a coroutine that is meant to last as long as the process.

Owns restart after a failure, and the end on SIGTERM or SIGINT. Knows nothing of what a service does.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

log = structlog.get_logger("supervise")


@dataclass(frozen=True)
class Service:
    """A named loop. It runs until cancelled; if it fails it is started again unless `essential`, which ends the
    process.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    essential: bool = False


FIRST_RESTART_SECONDS = 0.2
LONGEST_RESTART_SECONDS = 10.0


async def supervise(
    services: Sequence[Service],
    stop: asyncio.Event | None = None,
    farewell: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run all services until `stop` is set or SIGTERM/SIGINT arrives, then cancel them and wait for their end.

    `farewell` is awaited before, while all of them still run; a second signal cuts it short. Raises the error of an
    essential service.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_keep_running(service), name=service.name) for service in services]
            await stop.wait()
            if farewell is not None:
                await _unless(stop, farewell())
            for task in tasks:
                task.cancel()
    except* Exception as failed:
        raise failed.exceptions[0] from None
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Await `work`, but not beyond the next time that `stop` is set."""
    stop.clear()
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(service: Service) -> None:
    pause = FIRST_RESTART_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await service.run()
        except Exception as error:
            if service.essential:
                raise
            log.exception("service_failed", service=service.name, error=str(error))
        else:
            return
        if loop.time() - started > LONGEST_RESTART_SECONDS:
            pause = FIRST_RESTART_SECONDS
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_RESTART_SECONDS)
