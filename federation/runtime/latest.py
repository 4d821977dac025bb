"""`Latest`: a cell with the newest value, for state that flows between tasks.

A slow reader skips values for free; there is no queue to overflow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """One writer or many, any number of readers, in one event loop. The first value is given or comes with the first
    `set`.
    """

    __slots__ = ("_changed", "_value", "_version")

    def __init__(self, value: T | None = None) -> None:
        self._value = value
        self._version = 0 if value is None else 1
        self._changed = asyncio.Event()

    @property
    def version(self) -> int:
        """How many values have been set; 0 while there is none."""
        return self._version

    def peek(self) -> T | None:
        """The newest value, or None while there is none."""
        return self._value

    def set(self, value: T) -> None:
        """Replace the value and wake all readers."""
        self._value = value
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, after: int = 0) -> tuple[int, T]:
        """The newest value and its version, as soon as there is one newer than version `after`."""
        while self._version <= after:
            await self._changed.wait()
        assert self._value is not None
        return self._version, self._value

    async def changes(self) -> AsyncIterator[T]:
        """The current value and then every newer one that the reader is quick enough to see."""
        seen = 0
        while True:
            seen, value = await self.wait(seen)
            yield value
