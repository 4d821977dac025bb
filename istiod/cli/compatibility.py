"""docs/compatibility.md, made of the models that read Istio's API: every field, and what happens where it is set.

Run by scripts/compatibility. Input: the catalogue of kinds and the table of fields without effect.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from istiod.api.kinds import KINDS, UNBUILT, KindInfo
from istiod.api.meshconfig import MeshConfig, MeshNetworks, not_followed
from istiod.resolve.unsupported import NOT_BUILT, messages_in

HEAD = """# What of Istio's API is followed

Made by `scripts/compatibility` from the models that read the API: do not edit. A field that is not listed here is no field of this
version; it is refused with an error that names it. A field marked "no" is read, has the effect that is said, and is named by a finding
(`FieldNotSupported`, in `isthmus analyze`, `isthmus status` and istiod's log) wherever it is set. Nothing is ignored in silence.
"""


def render() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    kinds = [info for info in KINDS.values() if any("." in group for group in info.groups) and not info.whole]
    yield "| kind | API group | where it is invalid |\n|---|---|---|"
    for info in kinds:
        invalid = "what it selects fails closed" if info.security else "it counts as absent"
        yield f"| [{_name(info)}](#{_anchor(_name(info))}) | {', '.join(sorted(info.groups))} | {invalid}, with findings |"
    for kind, group in UNBUILT.items():
        yield f"| {kind} | {group} | not followed: a finding (`KindNotSupported`) names each object |"
    for info in kinds:
        yield from _kind(_name(info), info.model)
    yield from _kind("MeshConfig", MeshConfig)
    yield from _kind("MeshNetworks", MeshNetworks)


def _name(info: KindInfo) -> str:
    return info.called and f"{info.called} (Gateway API)" or info.kind.value


def _anchor(text: str) -> str:
    return text.lower().replace(" ", "-").replace("(", "").replace(")", "")


def _kind(name: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"\n## {name}\n"
    for message in _messages(model):
        if message is not model:
            yield f"\n### {name}: {message.__name__}\n"
        yield from _fields(message)


def _messages(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A message and those inside, each once, in the order of fields."""
    found: dict[type[BaseModel], None] = {model: None}
    for message in iter(waiting := [model]):
        for field in message.model_fields.values():
            fresh = [inner for inner in messages_in(field.annotation) if inner not in found]
            found.update(dict.fromkeys(fresh))
            waiting += fresh
    return list(found)


def _fields(message: type[BaseModel]) -> Iterator[str]:
    yield "| field | type | followed |\n|---|---|---|"
    for name, field in message.model_fields.items():
        what = NOT_BUILT.get(message, {}).get(name) or not_followed(message, name)
        yield f"| `{field.alias or name}` | {_type(field.annotation, field)} | {f'no: {what}' if what else 'yes'} |"


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in arguments if part is not type(None)))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"map of {_type(arguments[0])} to {_type(arguments[1])}"
    if origin is not None and arguments:  # Annotated
        return _type(arguments[0], field)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{item.value}`" for item in annotation)
    if field is not None and any(getattr(part, "func", None) is not None for part in field.metadata):
        return "duration"
    return _NAMES.get(annotation, getattr(annotation, "__name__", "value"))


_NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value"}


if __name__ == "__main__":
    sys.stdout.write(render())
