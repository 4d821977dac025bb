"""Changes to headers, as VirtualServices have them at routes and destinations.

Envoy refuses a whole route configuration for one header that it may not touch, so the rules are kept here.
"""

from __future__ import annotations

from collections.abc import Iterator

from istiod.api.fields import Model
from istiod.api.formats import format_problem
from istiod.api.problems import Problem

AUTHORITY = frozenset({"host", ":authority"})


class HeaderOperations(Model):
    """Changes to headers."""

    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Headers(Model):
    """Changes to headers of requests and responses."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


def check_headers(headers: Headers | None, path: str) -> Iterator[Problem]:
    """Names that may be changed, and values that are format strings. The authority of a request may be set."""
    for side in ("request", "response") if headers is not None else ():
        operations: HeaderOperations | None = getattr(headers, side)
        if operations is None:
            continue
        for verb, pairs in (("set", operations.set), ("add", operations.add)):
            for name, value in pairs.items():
                at = f"{path}.{side}.{verb}[{name}]"
                if side == "response" or name.lower() not in AUTHORITY:
                    yield from _name(name, at)
                yield from _value(value, at)
        for index, name in enumerate(operations.remove):
            yield from _name(name, f"{path}.{side}.remove[{index}]")


def _name(name: str, path: str) -> Iterator[Problem]:
    yield from check_header_name(name, path)
    if name.startswith(":") or name.lower() in AUTHORITY:
        yield Problem(path, f"{name[:80]!r} cannot be changed", "set Host of requests; rewrite.uri changes the path")


def check_header_name(name: str, path: str) -> Iterator[Problem]:
    """A name is not empty and on one line."""
    if not name:
        yield Problem(path, "has no name", "name a header")
    yield from check_one_line(name, path)


def check_one_line(text: str, path: str) -> Iterator[Problem]:
    """No line may end inside what becomes part of a header."""
    if any(character in text for character in "\0\r\n"):
        yield Problem(path, "has more than one line", "write it in one line")


def _value(value: str, path: str) -> Iterator[Problem]:
    yield from check_one_line(value, path)
    wrong = format_problem(value)
    if wrong:
        yield Problem(path, f"is no format string: {wrong}", "write %% for a percent sign, or correct the command")
