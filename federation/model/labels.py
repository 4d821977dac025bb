"""Labels and label selectors as immutable, hashable values.

Owns equality and matching; refuses to know which objects carry labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Labels(Mapping[str, str]):
    """An immutable set of `key=value` labels; equal and hashable by content."""

    __slots__ = ("_hash", "_items")

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._items: dict[str, str] = dict(sorted(values.items())) if values else {}
        self._hash: int | None = None

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(tuple(self._items.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Labels):
            return self._items == other._items
        return NotImplemented

    def __repr__(self) -> str:
        return f"Labels({self._items!r})"

    def __str__(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self._items.items())

    def selected_by(self, selector: Mapping[str, str]) -> bool:
        """Whether every pair of `selector` is among these labels. An empty selector selects everything."""
        items = self._items
        return all(items.get(key) == value for key, value in selector.items())

    def merged(self, other: Mapping[str, str]) -> Labels:
        """These labels with `other` written over them."""
        return Labels({**self._items, **other})


NO_LABELS = Labels()
