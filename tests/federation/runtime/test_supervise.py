"""Services of a process; signals are tried on processes of their own."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from federation.runtime.supervise import Service, supervise

PROGRAM = """
import asyncio, sys
from federation.runtime.supervise import Service, supervise

def say(text):
    print(text, flush=True)

async def serve():
    say("running")
    try:
        await asyncio.Event().wait()
    finally:
        say("ended")

async def farewell():
    say("farewell")
    try:
        await asyncio.sleep(float(sys.argv[1]))
        say("farewell done")
    finally:
        say("farewell over")

asyncio.run(supervise([Service("s", serve)], farewell=farewell if len(sys.argv) > 1 else None))
say("all ended")
"""
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts the program; what still runs at the end is killed."""
    started: list[asyncio.subprocess.Process] = []

    async def run(*arguments: str) -> asyncio.subprocess.Process:
        command = (sys.executable, "-c", PROGRAM, *arguments)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


async def rest(process: asyncio.subprocess.Process) -> list[str]:
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    return output.decode().split("\n")[:-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_in_good_order(start: Start, number: signal.Signals) -> None:
    process = await start()
    assert await line(process) == "running"
    process.send_signal(number)
    assert await rest(process) == ["ended", "all ended"]
    assert process.returncode == 0


async def test_the_farewell_comes_first_while_all_runs(start: Start) -> None:
    process = await start("0.3")
    assert await line(process) == "running"
    process.send_signal(signal.SIGTERM)
    assert await rest(process) == ["farewell", "farewell done", "farewell over", "ended", "all ended"]


async def test_a_second_signal_cuts_the_farewell_short(start: Start) -> None:
    process = await start("600")
    assert await line(process) == "running"
    process.send_signal(signal.SIGTERM)
    assert await line(process) == "farewell"
    process.send_signal(signal.SIGTERM)
    assert await rest(process) == ["farewell over", "ended", "all ended"]
    assert process.returncode == 0


class Loops:
    """Services that say what they do."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stop = asyncio.Event()

    def add(self, name: str, *, fails: int = 0, essential: bool = False) -> Service:
        """A service that fails so many times and then runs on."""
        left = fails

        async def run() -> None:
            nonlocal left
            self.said.append(f"{name} starts")
            if left:
                left -= 1
                raise ValueError(f"{name} fails")
            try:
                self.stop.set()
                await asyncio.Event().wait()
            finally:
                self.said.append(f"{name} ends")

        return Service(name, run, essential)


async def test_a_service_that_fails_is_started_again() -> None:
    loops = Loops()
    async with asyncio.timeout(20):
        await supervise([loops.add("a", fails=2)], loops.stop)
    assert loops.said == ["a starts", "a starts", "a starts", "a ends"]


async def test_there_is_a_pause_before_it_is_started_again() -> None:
    loops = Loops()
    before = time.monotonic()
    async with asyncio.timeout(20):
        await supervise([loops.add("a", fails=1)], loops.stop)
    assert time.monotonic() - before >= 0.2


async def test_an_essential_one_ends_the_process_with_its_error() -> None:
    loops = Loops()
    with pytest.raises(ValueError, match="b fails"):
        async with asyncio.timeout(20):
            await supervise([loops.add("a"), loops.add("b", fails=1, essential=True)])
    assert loops.said == ["a starts", "b starts", "a ends"]


async def test_others_do_not_notice_a_failure() -> None:
    loops = Loops()
    async with asyncio.timeout(20):
        steady = loops.add("a")
        await supervise([steady, loops.add("b", fails=1)], loops.stop)
    assert loops.said.count("a starts") == 1


async def test_one_that_is_done_is_not_started_again() -> None:
    runs = 0
    stop = asyncio.Event()

    async def once() -> None:
        nonlocal runs
        runs += 1
        stop.set()

    async with asyncio.timeout(20):
        await supervise([Service("once", once)], stop)
    assert runs == 1


async def test_an_error_of_the_farewell_is_told_and_all_ends() -> None:
    loops = Loops()

    async def farewell() -> None:
        raise ValueError("the store is away")

    with pytest.raises(ValueError, match="the store is away"):
        async with asyncio.timeout(20):
            await supervise([loops.add("a")], loops.stop, farewell)
    assert loops.said == ["a starts", "a ends"]


async def test_an_essential_failure_does_not_wait_for_the_farewell() -> None:
    loops = Loops()
    fail = asyncio.Event()

    async def essential() -> None:
        await fail.wait()
        raise ValueError("lost")

    async def farewell() -> None:
        fail.set()
        try:
            await asyncio.Event().wait()
        finally:
            loops.said.append("farewell over")

    with pytest.raises(ValueError, match="lost"):
        async with asyncio.timeout(20):
            await supervise([loops.add("a"), Service("e", essential, essential=True)], loops.stop, farewell)
    assert sorted(loops.said) == ["a ends", "a starts", "farewell over"]


async def test_cancelling_it_ends_all() -> None:
    loops = Loops()
    running = asyncio.ensure_future(supervise([loops.add("a")]))
    async with asyncio.timeout(20):
        await loops.stop.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert loops.said == ["a starts", "a ends"]
