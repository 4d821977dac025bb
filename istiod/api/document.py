"""YAML (and so JSON) text of one file -> plain data, a document at a time. Pure.

Owns the bounds that keep a text from exhausting the process (size, depth, values after alias expansion) and the reading
of plain scalars as Kubernetes reads them: booleans in YAML 1.1's words, but no timestamps and no base-60 numbers. Built
on libyaml's events instead of a constructor: nothing recursive runs on unchecked depth, a key given twice is seen, and
it takes half the time. Knows nothing of kinds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_VALUES = 500_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MARK = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_WORDS: dict[str, bool | None] = {
    word: value
    for value, words in (
        (None, ("", "~", "null", "Null", "NULL")),
        (True, ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON")),
        (False, ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF")),
    )
    for word in words
}
_NUMBER_START = frozenset("0123456789+-.")
_INT = re.compile(r"[-+]?(?:0x[0-9a-fA-F]{1,16}|0o?[0-7]{1,22}|0b[01]{1,64}|0|[1-9][0-9]{0,19})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,20}\.[0-9]{0,20}|\.[0-9]{1,20}|[0-9]{1,20}(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")
_SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_TAG = "tag:yaml.org,2002:"


class NotYaml(ValueError):
    """The text is no YAML, or exceeds a bound. `line` counts from 1 in the document's own text; 0 if unknown."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """The text of one document, and the number of lines before it in its file."""

    text: str
    line: int = 0


def split_documents(text: str) -> Iterator[Document]:
    """The documents of a file: `---` at the start of a line always separates (YAML 1.2, 9.1.2). No directives."""
    starts = [0, *(match.start() for match in _MARK.finditer(text)), len(text)]
    line = 0
    for start, end in pairwise(starts):
        part = text[start:end]
        if part.strip() and not part.startswith("%"):
            yield Document(part, line)
        line += part.count("\n")


def parse_document(text: str) -> Any:
    """Plain data of one document (None for an empty one); raises NotYaml."""
    if len(text) > MAX_BYTES:
        raise NotYaml(f"{len(text)} characters are more than {MAX_BYTES}")
    try:
        return _Builder(text).build()
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        reason = getattr(wrong, "problem", None) or getattr(wrong, "reason", None) or str(wrong)
        raise NotYaml(reason, mark.line + 1 if mark else 0) from None
    except UnicodeError as wrong:
        raise NotYaml(f"no Unicode text: {wrong}") from None


class _Builder:
    """Builds one document of parser events."""

    def __init__(self, text: str) -> None:
        self._next = _Loader(text).get_event
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def build(self) -> Any:
        self._next()  # stream start
        if not isinstance(self._next(), yaml.DocumentStartEvent):
            return None
        data = self._node(self._next(), 0)
        self._next()  # document end
        last = self._next()
        if not isinstance(last, yaml.StreamEndEvent):
            raise self._wrong(last, "a second document without a line ---")
        return data

    def _node(self, event: Any, depth: int) -> Any:
        kind = type(event)
        before = self._values
        self._values += 1
        if kind is yaml.ScalarEvent:
            value = _scalar(event)
        elif kind is yaml.AliasEvent:
            return self._alias(event)
        elif depth >= MAX_DEPTH:
            raise self._wrong(event, f"nested more than {MAX_DEPTH} levels deep")
        elif kind is yaml.MappingStartEvent:
            value = self._mapping(depth + 1)
        else:
            value = self._sequence(depth + 1)
        if self._values > MAX_VALUES:
            raise self._wrong(event, f"more than {MAX_VALUES} values")
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._values - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise self._wrong(event, f"alias {event.anchor!r} of nothing that ends before it")
        value, size = self._anchors[event.anchor]
        self._values += size
        if self._values > MAX_VALUES:
            raise self._wrong(event, f"aliases make more than {MAX_VALUES} values")
        return value

    def _sequence(self, depth: int) -> list[Any]:
        values = []
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            values.append(self._node(event, depth))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: list[Any] = []
        while type(event := self._next()) is not yaml.MappingEndEvent:
            if type(event) is not yaml.ScalarEvent:
                raise self._wrong(event, "a key that is no text")
            key, value = event.value, self._node(self._next(), depth)
            if key == "<<" and event.implicit[0]:
                merged += value if isinstance(value, list) else [value]
            elif key in values:
                raise self._wrong(event, f"key {key!r} is given twice")
            else:
                values[sys.intern(key)] = value
        for other in merged:
            if not isinstance(other, dict):
                raise NotYaml("<< merges something that is no mapping")
            values = {**other, **values}
        return values

    @staticmethod
    def _wrong(event: Any, reason: str) -> NotYaml:
        return NotYaml(reason, event.start_mark.line + 1)


def _scalar(event: Any) -> Any:
    text = event.value
    if event.tag is not None and event.tag != "!":
        return _tagged(event)
    return parse_plain(text) if event.implicit[0] else sys.intern(text) if len(text) <= 64 else text


def _tagged(event: Any) -> Any:
    name = event.tag.removeprefix(_TAG)
    if name == "str":
        return event.value
    value = parse_plain(event.value)
    if type(value).__name__ != {"null": "NoneType"}.get(name, name):
        raise NotYaml(f"the value is no {event.tag}", event.start_mark.line + 1)  # not shown: it may be a Secret's
    return value


def parse_plain(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return sys.intern(text) if len(text) <= 64 else text
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        value = int(digits, 8 if digits.isdigit() and digits[0] == "0" else 0 if digits[0] == "0" else 10)
        return -value if text[0] == "-" else value
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)
