from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from federation.runtime.latest import Latest

T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    """Every wait in here is for something that happens at once."""
    async with asyncio.timeout(5):
        return await awaitable


async def test_nothing_is_there_before_the_first_value() -> None:
    cell: Latest[int] = Latest()
    assert (cell.peek(), cell.version) == (None, 0)
    waiting = asyncio.ensure_future(cell.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    cell.set(7)
    assert await soon(waiting) == (1, 7)


async def test_a_given_value_is_the_first() -> None:
    assert await soon(Latest(7).wait()) == (1, 7)


async def test_a_value_that_counts_as_nothing_is_one_all_the_same() -> None:
    assert await soon(Latest(0).wait()) == (1, 0)


async def test_waiting_is_for_something_newer() -> None:
    cell = Latest("a")
    version, _ = await cell.wait()
    waiting = asyncio.ensure_future(cell.wait(version))
    await asyncio.sleep(0)
    assert not waiting.done()
    cell.set("b")
    assert await soon(waiting) == (2, "b")


async def test_an_equal_value_is_newer_too() -> None:
    cell = Latest("a")
    cell.set("a")
    assert await soon(cell.wait(1)) == (2, "a")


async def test_a_slow_reader_skips() -> None:
    cell: Latest[int] = Latest()
    seen = []

    async def read() -> None:
        async for value in cell.changes():
            seen.append(value)
            if value == 9:
                return

    reader = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    for value in range(10):
        cell.set(value)
    await soon(reader)
    assert seen == [9]


async def test_a_quick_reader_sees_all_and_every_reader_has_its_own_pace() -> None:
    cell: Latest[int] = Latest()
    seen: list[int] = []
    got = asyncio.Event()

    async def read() -> None:
        async for value in cell.changes():
            seen.append(value)
            got.set()

    reader = asyncio.ensure_future(read())
    for value in range(5):
        got.clear()
        cell.set(value)
        await soon(got.wait())
    reader.cancel()
    assert seen == [0, 1, 2, 3, 4]
    assert await soon(anext(cell.changes())) == 4


async def test_all_readers_are_woken() -> None:
    cell: Latest[int] = Latest()
    readers = [asyncio.ensure_future(cell.wait()) for _ in range(50)]
    await asyncio.sleep(0)
    cell.set(1)
    assert await soon(asyncio.gather(*readers)) == [(1, 1)] * 50


async def test_a_reader_that_gives_up_harms_nobody() -> None:
    cell: Latest[int] = Latest()
    impatient, patient = (asyncio.ensure_future(cell.wait()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    cell.set(1)
    assert await soon(patient) == (1, 1)
