"""What differs between two configurations, and between two decoded resources, field by field. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from istiod.debug.report import FieldChange, ResourceChange
from istiod.debug.views import TYPES
from istiod.encode.decode import decode_resource
from istiod.encode.resource import SECRET, Configuration, Resource

MAX_FIELDS = 200  # of one resource; the rest is counted
_NAMES = ("name", "clusterName")


Pair = tuple[Resource | None, Resource | None]  # before and after, None = not there


def changed_resources(before: Configuration, after: Configuration) -> dict[tuple[str, str], Pair]:
    """Resources that came, went or have another content, by type URL and name."""
    found: dict[tuple[str, str], Pair] = {}
    for url in TYPES:
        old, new = before.get(url, {}), after.get(url, {})
        for name in sorted(old.keys() | new.keys()):
            one, other = old.get(name), new.get(name)
            if one is None or other is None or one.version != other.version:
                found[url, name] = (one, other)
    return found


def describe_change(url: str, name: str, pair: Pair, fields: bool) -> ResourceChange:
    """A changed resource in words; with `fields`, what is different inside (never of secrets)."""
    old, new = pair
    word = "added" if old is None else "removed" if new is None else "changed"
    if not fields or old is None or new is None or url == SECRET:
        return ResourceChange(TYPES[url], name, word)
    every = list(changed_fields(decode_resource(old), decode_resource(new)))
    return ResourceChange(TYPES[url], name, word, tuple(every[:MAX_FIELDS]), len(every[MAX_FIELDS:]))


def changed_fields(before: Any, after: Any, path: str = "") -> Iterator[FieldChange]:
    """The fields of plain data that differ, by path; items of a list are told apart by name where each has its own."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _of_mappings(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(before, after, path)
    else:
        yield FieldChange(path, before, after)


def _of_mappings(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[FieldChange]:
    for key in [*before, *(key for key in after if key not in before)]:
        name = f"[{key}]" if "." in key or "/" in key else f".{key}" if path else key
        yield from changed_fields(before.get(key), after.get(key), f"{path}{name}")


def _of_lists(before: list[Any], after: list[Any], path: str) -> Iterator[FieldChange]:
    old, new = _by_name(before), _by_name(after)
    if old is not None and new is not None:
        for name in [*old, *(name for name in new if name not in old)]:
            yield from changed_fields(old.get(name), new.get(name), f"{path}[{name}]")
        kept = [name for name in old if name in new]
        if kept != [name for name in new if name in old]:
            yield FieldChange(f"{path} (order)", list(old), list(new))
        return
    for index in range(max(len(before), len(after))):
        one = before[index] if index < len(before) else None
        other = after[index] if index < len(after) else None
        yield from changed_fields(one, other, f"{path}[{index}]")


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    """The items by a name that each of them has alone; None if they have none."""
    for key in _NAMES:
        named = {item[key]: item for item in items if isinstance(item, Mapping) and isinstance(item.get(key), str)}
        if len(named) == len(items):
            return named
    return None
