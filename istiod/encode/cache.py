"""Encoded results by spec: the same spec is never encoded twice, and what nobody asks for any more is forgotten.

Two generations: a hit in the old one moves over; when the young one is full, the old one goes. Bounded without
bookkeeping.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)
R = TypeVar("R")


class Encoded(Generic[S, R]):
    """A function of one spec whose results are kept; `misses` counts how often it really ran."""

    def __init__(self, function: Callable[[S], R], size: int) -> None:
        self._function = function
        self._size = size
        self._young: dict[S, R] = {}
        self._old: dict[S, R] = {}
        self.misses = 0
        self.__doc__ = function.__doc__

    def __call__(self, spec: S) -> R:
        result = self._young.get(spec)
        if result is not None:
            return result
        result = self._old.get(spec)
        if result is None:
            self.misses += 1
            result = self._function(spec)
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[spec] = result
        return result


def encoded(size: int = 20_000) -> Callable[[Callable[[S], R]], Encoded[S, R]]:
    """Keep the results of an encoder, at most twice `size` of them."""

    def wrap(function: Callable[[S], R]) -> Encoded[S, R]:
        return Encoded(function, size)

    return wrap
