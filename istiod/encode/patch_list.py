"""Patches of named things in a list: filters, routes, virtual hosts. Changes the list that it is given.

Knows the operations and not what the things are; which of them a patch means is said by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from istiod.api.envoyfilter import Operation
from istiod.encode.patch import value_of
from istiod.encode.patch_merge import merge
from istiod.resolve.specs.patch import PatchSpec

# After these nothing can follow in a chain: Envoy refuses it.
TERMINAL = frozenset(
    {
        "envoy.filters.http.router",
        "envoy.filters.network.http_connection_manager",
        "envoy.filters.network.tcp_proxy",
    }
)


def edit(items: Any, patch: PatchSpec, matches: Callable[[Any], bool], selective: bool) -> bool:
    """Apply one operation but MERGE to a list; whether that changed it.

    `matches` tells the things that the patch means; `selective` whether it means particular ones, without which
    INSERT_BEFORE and INSERT_AFTER go to the ends, and REPLACE does nothing.
    """
    operation = patch.operation
    found = [index for index in range(len(items)) if matches(items[index])]
    if operation is Operation.REMOVE:
        if len(found) < len(items):
            found = [index for index in found if index < end_of(items)]  # what is left would end without an end
        for index in reversed(found):
            del items[index]
        return bool(found)
    value = value_of(patch).message
    if value is None or (selective and operation is not Operation.ADD and not found):
        return False
    match operation:
        case Operation.REPLACE:
            items[found[0]].CopyFrom(value)
        case Operation.INSERT_FIRST:
            items.insert(0, value)
        case Operation.INSERT_BEFORE:
            items.insert(found[0] if selective else 0, value)
        case Operation.INSERT_AFTER:
            items.insert(min(found[0] + 1 if selective else len(items), end_of(items)), value)
        case _:
            items.insert(end_of(items), value)
    return True


def end_of(items: Any) -> int:
    """Where something can be appended: before what must be last."""
    last = len(items)
    return last - 1 if last and getattr(items[last - 1], "name", "") in TERMINAL else last


def merge_into(items: Any, patch: PatchSpec, matches: Callable[[Any], bool]) -> bool:
    """Merge the value into each thing that the patch means; whether there was one."""
    value = value_of(patch).message
    if value is None:
        return False
    found = [item for item in items if matches(item)]
    for item in found:
        merge(item, value, patch.operation is Operation.MERGE_AND_REPLACE_LIST)
    return bool(found)
