"""How long a loop waits before it tries again: doubling, with jitter, bounded."""

from __future__ import annotations

import random


class Backoff:
    """Pauses of one loop, in seconds: the first between half of `first` and `first`, doubling up to `longest`."""

    __slots__ = ("_first", "_longest", "_next")

    def __init__(self, first: float = 0.05, longest: float = 1.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def pause(self) -> float:
        """The seconds to wait now; the next pause is longer."""
        seconds = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, self._longest)
        return seconds

    def reset(self) -> None:
        """What was tried has worked."""
        self._next = self._first
