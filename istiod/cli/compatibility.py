"""docs/compatibility.md, made of the models that read Istio's API: every field, and what happens where it is set.

Run by scripts/compatibility. Input: the catalogue of kinds and the table of fields without effect.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from istiod.api import destinationrule, providers, workloadgroup
from istiod.api.gatewayapi import filters
from istiod.api.kinds import KINDS, UNBUILT, KindInfo
from istiod.api.meshconfig import NOT_FOLLOWED, MeshConfig, MeshNetworks
from istiod.resolve.unsupported import NOT_BUILT, messages_in

_ANSWERS_500 = "its rule answers 500, and its status says so"

# What other findings, or a status, say where it is set.
_SAID: Mapping[Any, Mapping[str, str]] = {
    workloadgroup.WorkloadGroup: dict.fromkeys(
        ("metadata", "template", "probe"), "has no effect yet, as nothing registers workloads of a group"
    ),
    filters.HTTPFilter: dict.fromkeys(("extension_ref", "external_auth"), _ANSWERS_500),
    filters.GRPCFilter: {"extension_ref": _ANSWERS_500},
    destinationrule.OutlierDetection: {"consecutive_errors": "has no effect; consecutive5xxErrors took its place"},
    providers.HttpHeader: {"env_name": "has no effect yet"},
    providers.OpenTelemetry: {
        "dynatrace_sampler": "has no effect yet",
        "service_attribute_enrichment": "has no effect yet but for ISTIO_CANONICAL",
    },
    providers.ResourceDetectors: {"dynatrace": "has no effect yet"},
}
WITHOUT_EFFECT: Mapping[Any, Mapping[str, str]] = {**NOT_BUILT, **NOT_FOLLOWED, **_SAID}
HEAD = """# What of Istio's API is followed

Made by `scripts/compatibility` from the models that read the API: do not edit. A field that is not listed here is no
field of this version; it is refused with an error that names it. A field marked "no" is read, has the effect that is
said, and is named by a finding in `isthmus analyze`, `isthmus status` and istiod's log wherever it is set. Nothing is
ignored in silence.
"""


def render() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    kinds = kinds_of_istio()
    yield "| kind | API group | where it is invalid |\n|---|---|---|"
    for info in kinds:
        invalid = "what it selects fails closed" if info.security else "it counts as absent"
        link = f"[{_name(info)}](#{_anchor(_name(info))})"
        yield f"| {link} | {', '.join(sorted(info.groups))} | {invalid}, with findings |"
    for kind, group in UNBUILT.items():
        yield f"| {kind} | {group} | not followed: a finding (`KindNotSupported`) names each object |"
    for info in kinds:
        yield from _kind(_name(info), info.model)
    yield from _kind("MeshConfig", MeshConfig)
    yield from _kind("MeshNetworks", MeshNetworks)


def kinds_of_istio() -> list[KindInfo]:
    """Istio's kinds and those of the Gateway API."""
    return [
        info
        for info in KINDS.values()
        if any(group.endswith(("istio.io", "gateway.networking.k8s.io")) for group in info.groups)
    ]


def _name(info: KindInfo) -> str:
    return (info.called and f"{info.called} (Gateway API)") or info.kind.value


def _anchor(text: str) -> str:
    return text.lower().replace(" ", "-").replace("(", "").replace(")", "")


def _kind(name: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"\n## {name}\n"
    for message in messages_of(model):
        if message is not model:
            yield f"\n### {name}: {message.__name__}\n"
        yield from _fields(message)


def messages_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A message and those inside that have an effect, each once, in the order of fields."""
    found: dict[type[BaseModel], None] = {model: None}
    for message in iter(waiting := [model]):
        for name, field in message.model_fields.items():
            used = name not in WITHOUT_EFFECT.get(message, {})
            fresh = [inner for inner in messages_in(field.annotation) if used and inner not in found]
            found.update(dict.fromkeys(fresh))
            waiting += fresh
    return list(found)


def _fields(message: type[BaseModel]) -> Iterator[str]:
    yield "| field | type | followed |\n|---|---|---|"
    for name, field in message.model_fields.items():
        what = WITHOUT_EFFECT.get(message, {}).get(name)
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
