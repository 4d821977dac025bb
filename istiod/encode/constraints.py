"""Which rules of Envoy's own API a message breaks: bounds, patterns, what must be there. Pure.

The rules stand in the descriptors of the API (the `validate.rules` options), and Envoy refuses whatever breaks one. Not
every rule that Envoy has stands there, so no word from here is no promise; and a newer Envoy may be milder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from validate import validate_pb2

_ANY = "google.protobuf.Any"
_DURATION = "google.protobuf.Duration"
_WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String", "Bytes")
)
_TOKEN = re.compile(r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+")
_TEXT = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LINE = re.compile(r"[^\x00\r\n]*")
_MISSING = "is missing"

Broken = tuple[str, str]  # path from the message on, and what is wrong
FindType = Callable[[str], type[Message] | None]


def broken_rules(message: Message, find_type: FindType, partial: bool = False) -> Iterator[Broken]:
    """What is wrong with a message and all that is in it; `find_type` knows the messages inside Any by their URL.

    A `partial` message is to be merged into another one, so what it does not say may still be there.
    """
    yield from _message(message, find_type, partial, "")


def _message(message: Message, find_type: FindType, partial: bool, path: str) -> Iterator[Broken]:
    if message.DESCRIPTOR.full_name == _ANY:
        made = find_type(message.type_url)  # type: ignore[attr-defined]
        if made is not None:
            yield from _message(made.FromString(message.value), find_type, partial, path)  # type: ignore[attr-defined]
        return
    given = {field.name: value for field, value in message.ListFields()}
    if not partial:
        for name in _required_choices(message.DESCRIPTOR):
            if message.WhichOneof(name) is None:
                yield path, f"has no {name}"
    for field in message.DESCRIPTOR.fields:
        if field.name in given or not partial:
            yield from _field(message, field, given, find_type, partial, f"{path}.{field.name}")


def _field(
    message: Message, field: Any, given: Mapping[str, Any], find_type: FindType, partial: bool, path: str
) -> Iterator[Broken]:
    rules, there = _rules(field), field.name in given
    if field.is_repeated:
        yield from _many(field, rules, given.get(field.name, ()), find_type, partial, path)
        return
    if field.message_type is None:
        if rules is not None and (there or not field.has_presence):
            yield from _scalar(rules, getattr(message, field.name), field, path)
        return
    if not there:
        alone = field.containing_oneof is None  # of several, only the one that was chosen must be there
        if rules is not None and alone and (rules.message.required or rules.duration.required or rules.any.required):
            yield path, _MISSING
        return
    value = given[field.name]
    if field.message_type.full_name == _DURATION:
        yield from _duration(rules, value, path)
    elif field.message_type.full_name in _WRAPPERS:
        yield from _scalar(rules, value.value, field, path) if rules is not None else ()
    elif rules is None or not rules.message.skip:
        yield from _message(value, find_type, partial, path)


def _many(
    field: FieldDescriptor, rules: Any, values: Any, find_type: FindType, partial: bool, path: str
) -> Iterator[Broken]:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        if entry.fields_by_name["value"].message_type is not None:
            for key in values:
                yield from _message(values[key], find_type, partial, f"{path}.{key}")
        return
    if rules is not None:
        bounds = rules.repeated
        if len(values) < bounds.min_items and not partial:
            yield path, f"has {len(values)} entries, at least {bounds.min_items} are wanted" if values else _MISSING
        if bounds.HasField("max_items") and len(values) > bounds.max_items:
            yield path, f"has {len(values)} entries, at most {bounds.max_items} are allowed"
        if bounds.HasField("items") and entry is None:
            for index, value in enumerate(values):
                yield from _scalar(bounds.items, value, field, f"{path}[{index}]")
    for index, value in enumerate(values if entry is not None else ()):
        yield from _message(value, find_type, partial, f"{path}[{index}]")


def _duration(rules: Any, value: Duration, path: str) -> Iterator[Broken]:
    if rules is None:
        return
    for name, limit in rules.duration.ListFields():
        if name.name in _COMPARED and not _COMPARED[name.name][0](_nanos(value), _nanos(limit)):
            yield path, f"is not {_COMPARED[name.name][1]} {_nanos(limit) / 1e9:g}s"


def _nanos(value: Duration) -> int:
    return value.seconds * 1_000_000_000 + value.nanos


_COMPARED: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "gt": (lambda value, limit: value > limit, "greater than"),
    "gte": (lambda value, limit: value >= limit, "at least"),
    "lt": (lambda value, limit: value < limit, "less than"),
    "lte": (lambda value, limit: value <= limit, "at most"),
    "const": (lambda value, limit: value == limit, "equal to"),
}


def _scalar(rules: Any, value: Any, field: FieldDescriptor, path: str) -> Iterator[Broken]:
    kind = rules.WhichOneof("type")
    if kind is None:
        return
    said = getattr(rules, kind)
    if kind in ("string", "bytes"):
        yield from _text(said, value, path)
        return
    if kind == "enum":
        if field.enum_type is not None and said.defined_only and value not in field.enum_type.values_by_number:
            yield path, f"{value} is none of the values of {field.enum_type.name}"
        if value in said.not_in:
            yield path, f"{value} is not allowed"
        return
    for name, limit in said.ListFields():
        if name.name in _COMPARED and not _COMPARED[name.name][0](value, limit):
            yield path, f"{value} is not {_COMPARED[name.name][1]} {limit}"


def _text(said: Any, value: Any, path: str) -> Iterator[Broken]:
    """Rules of texts and bytes."""
    is_text = isinstance(value, str)
    if is_text and said.ignore_empty and not value:
        return
    size = len(value.encode()) if is_text else len(value)
    if len(value) < said.min_len or (is_text and size < said.min_bytes):
        yield path, "is empty" if not value else f"is shorter than {max(said.min_len, said.min_bytes)}"
    if (said.max_len and len(value) > said.max_len) or (is_text and said.max_bytes and size > said.max_bytes):
        yield path, f"is longer than {said.max_len or said.max_bytes}"
    if not is_text:
        return
    if not (value.startswith(said.prefix) and value.endswith(said.suffix)):
        yield path, f"does not look like {said.prefix}…{said.suffix}"
    if said.pattern and re.search(said.pattern, value) is None:
        yield path, f"does not match {said.pattern}"
    if getattr(said, "in") and value not in getattr(said, "in"):
        yield path, f"is none of {', '.join(getattr(said, 'in'))}"
    if said.HasField("well_known_regex"):
        name = said.well_known_regex == validate_pb2.HTTP_HEADER_NAME
        wanted = (_TOKEN if name else _TEXT) if said.strict else _LINE
        if wanted.fullmatch(value) is None and (value or said.min_len):
            yield path, f"is no {'name' if name else 'value'} of a header"


@cache
def _rules(field: FieldDescriptor) -> Any:
    options = field.GetOptions()
    return options.Extensions[validate_pb2.rules] if options.HasExtension(validate_pb2.rules) else None


@cache
def _required_choices(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(one.name for one in descriptor.oneofs if one.GetOptions().Extensions[validate_pb2.required])
