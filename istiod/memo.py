"""Remembers what was derived from shared, unchanged inputs.

Tables of a snapshot that did not change are the same objects as before, so identity is the key: nothing is compared or
hashed. The result depends on the inputs alone, hence a forgotten entry costs time and never correctness.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Memo(Generic[P, R]):
    """A pure function whose last `size` results are kept per identity of its arguments (which stay alive as long)."""

    def __init__(self, function: Callable[P, R], size: int = 16) -> None:
        self._function = function
        self._size = size
        self._known: OrderedDict[tuple[int, ...], tuple[tuple[object, ...], R]] = OrderedDict()
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        inputs = (*args, *kwargs.values())
        key = tuple(map(id, inputs))
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found[1]
        result = self._function(*args, **kwargs)
        self._known[key] = (inputs, result)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return result


def memo(size: int = 16) -> Callable[[Callable[P, R]], Memo[P, R]]:
    """Decorate a pure function of immutable objects with a `Memo`."""

    def wrap(function: Callable[P, R]) -> Memo[P, R]:
        return Memo(function, size)

    return wrap
