"""The value of a patch -> Envoy's message, with everything that is wrong with it as problems. Pure.

Owns the reading of free-form values against the descriptors of Envoy's API and the rules in them. A patch whose value
cannot be read is left out everywhere; a field that the descriptors do not have costs that field alone, as in Istio, and
is reported.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf import json_format, symbol_database
from google.protobuf.message import Message

from federation.model.findings import Severity
from istiod.api.envoyfilter import ApplyTo, Operation
from istiod.api.problems import Problem
from istiod.encode.constraints import broken_rules
from istiod.resolve.specs.patch import PatchSpec

MESSAGES: dict[ApplyTo, type[Message]] = {
    ApplyTo.LISTENER: Listener,
    ApplyTo.FILTER_CHAIN: FilterChain,
    ApplyTo.LISTENER_FILTER: ListenerFilter,
    ApplyTo.NETWORK_FILTER: Filter,
    ApplyTo.HTTP_FILTER: HttpFilter,
    ApplyTo.ROUTE_CONFIGURATION: RouteConfiguration,
    ApplyTo.VIRTUAL_HOST: VirtualHost,
    ApplyTo.HTTP_ROUTE: Route,
    ApplyTo.CLUSTER: Cluster,
    ApplyTo.EXTENSION_CONFIG: TypedExtensionConfig,
}
# Messages that are known by a name of their own, and are refused by Envoy without it.
_NAMED = frozenset(
    {
        ApplyTo.LISTENER,
        ApplyTo.LISTENER_FILTER,
        ApplyTo.NETWORK_FILTER,
        ApplyTo.HTTP_FILTER,
        ApplyTo.VIRTUAL_HOST,
        ApplyTo.CLUSTER,
        ApplyTo.EXTENSION_CONFIG,
    }
)
# Where the settings of filters come from: Envoy refuses those of another kind of filter.
_FILTERS = {
    ApplyTo.LISTENER_FILTER: "envoy.extensions.filters.listener.",
    ApplyTo.NETWORK_FILTER: "envoy.extensions.filters.network.",
    ApplyTo.HTTP_FILTER: "envoy.extensions.filters.http.",
}
_TYPE = "@type"
_FREE = frozenset({"udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"})  # hold data, not a message
_PACKAGE = re.compile(r"(?:envoy|xds|udpa)(?:\.[a-z][a-z0-9_]*)+")
_VERSION_3 = re.compile(r"\.v3(?:alpha)?\.")
MAX_UNKNOWN = 50
_TYPES = "use a type of stock Envoy"
_WRONG = (json_format.ParseError, TypeError, ValueError, AttributeError, KeyError, RecursionError)


@dataclass(frozen=True, slots=True)
class Value:
    """The message of a patch, None if it cannot be read; paths of problems start below `patch.value`.

    Whoever puts the message somewhere copies it.
    """

    message: Message | None
    problems: tuple[Problem, ...] = ()


@lru_cache(maxsize=4096)
def value_of(patch: PatchSpec) -> Value:
    """What a patch puts, merges or writes over; REMOVE has no value and no problems."""
    return read_value(patch.apply_to, patch.operation, patch.value) if patch.value else Value(None)


def read_value(apply_to: ApplyTo, operation: Operation, text: str) -> Value:
    """A value of this kind from its JSON text. Unknown fields are told one and all, and taken out."""
    data = json.loads(text)
    problems = list(_unknown_types(data, ""))
    if problems:
        return Value(None, tuple(problems))
    while True:
        try:
            message = json_format.ParseDict(data, MESSAGES[apply_to]())
            break
        except _WRONG as wrong:
            problem = _problem(wrong, data)
        problems.append(problem)
        if problem.code != "UnknownField" or len(problems) > MAX_UNKNOWN or not _take_out(data, problem.path):
            return Value(None, (*problems[:-1], replace(problem, severity=Severity.ERROR)))
    if apply_to in _NAMED and not operation.merges and not getattr(message, "name", ""):
        problems.append(Problem(".name", "is missing", "Envoy knows it by its name", "MissingField"))
        return Value(None, tuple(problems))
    broken = [Problem(*found, "correct the value") for found in broken_rules(message, message_type, operation.merges)]
    broken += _bare_filters(message, "", operation.merges)
    broken += _other_filter(message, apply_to)
    return Value(None if broken else message, (*problems, *broken))


def _other_filter(message: Any, apply_to: ApplyTo) -> Iterator[Problem]:
    """Settings of one kind of filter in a filter of another kind."""
    package = _FILTERS.get(apply_to)
    if package is None or not message.HasField("typed_config"):
        return
    name = message.typed_config.type_url.rpartition("/")[2]
    if name and name not in _FREE and not name.startswith(package):
        yield Problem(
            f".typed_config.{_TYPE}", f"{name[:150]!r} is not of {package}*", "use a type of this kind of filter"
        )


def message_type(url: str) -> type[Message] | None:
    """The message that an `@type` names, None if this version has no such message."""
    name = url.rpartition("/")[2]
    found = _PACKAGE.match(name)
    if found is not None:
        if name.startswith("envoy.") and not _VERSION_3.search(name):
            return None  # an old version of the API, of which there are descriptors and no code
        _load(found.group())
    try:
        made: type[Message] = symbol_database.Default().GetSymbol(name)
    except KeyError:
        return None
    return made


@lru_cache(maxsize=1024)
def _load(package: str) -> None:
    """Import the modules of a protobuf package, so that its messages are known. Nothing else is imported."""
    while package:
        try:
            module = importlib.import_module(package)
        except ImportError:
            package = package.rpartition(".")[0]
            continue
        for part in pkgutil.iter_modules(getattr(module, "__path__", ())):
            if part.name.endswith("_pb2"):
                importlib.import_module(f"{package}.{part.name}")
        return


def _unknown_types(value: Any, path: str) -> Iterator[Problem]:
    """Types that no message is known of; looking for them makes the others known."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_types(item, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    url = value.get(_TYPE)
    if isinstance(url, str):
        if message_type(url) is None:
            old = ".v2." in url or url.startswith("type.googleapis.com/envoy.config.filter")
            fix = "use the type of Envoy's v3 API" if old else _TYPES
            yield Problem(f"{path}.{_TYPE}", f"{url[:150]!r} is no message that is known", fix, "UnknownType")
            return
        if url.rpartition("/")[2] in _FREE:
            yield from _free(value, path)
            return
    for key, item in value.items():
        yield from _unknown_types(item, f"{path}.{key}")


def _free(value: dict[str, Any], path: str) -> Iterator[Problem]:
    """What is wrong with data that Envoy reads as the message named beside it."""
    url = value.get("type_url") or value.get("typeUrl")
    if not isinstance(url, str):
        return
    made = message_type(url)
    if made is None:
        yield Problem(f"{path}.type_url", f"{url[:150]!r} is no message that is known", _TYPES, "UnknownType")
        return
    try:
        json_format.ParseDict(value.get("value") or {}, made(), ignore_unknown_fields=True)
    except _WRONG as wrong:
        problem = _problem(wrong, value.get("value"))
        yield replace(problem, path=f"{path}.value{problem.path}")


def _bare_filters(message: Message, path: str, merged: bool) -> Iterator[Problem]:
    """Filters without settings, which Envoy cannot know; one that is merged into another may have none."""
    if isinstance(message, ListenerFilter | Filter | HttpFilter):
        if not merged and message.WhichOneof("config_type") is None:
            fix = "give the settings with their @type, even if they are empty"
            yield Problem(f"{path}.typed_config", "is missing", fix, "MissingField")
        return
    for field, value in message.ListFields():
        if field.is_repeated and field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for index, item in enumerate(value):
                yield from _bare_filters(item, f"{path}.{field.name}[{index}]", False)


_AT = re.compile(r' at "?[A-Za-z]\w*((?:\.\w+(?:\[[^\]]*\])?)*)"?\.*\s*$')
_FIELDS = re.compile(r"\s*Available Fields\(except extensions\):.*", re.DOTALL)
_STEP = re.compile(r"Failed to parse (\w+) field: ")
_UNKNOWN = re.compile(r'Message type "[\w.]+" has no field named "([^"]*)"')
_PART = re.compile(r"\.(\w+)|\[([^\]]*)\]")
_PLAIN = (
    (re.compile(r"invalid literal for int\(\) with base 10: (.*)"), r"\1 is no whole number"),
    (re.compile(r"expected string or bytes-like object, got '\w+'"), "is no text"),
    (re.compile(r"'\w+' object is not (?:subscriptable|iterable)"), "is no mapping"),
)


def _problem(wrong: Exception, data: Any) -> Problem:
    """Protobuf's words, in ours where they speak of Python, with the path in front."""
    text = _FIELDS.sub("", str(wrong)).strip()
    steps = _STEP.findall(text)
    text = _STEP.sub("", text)
    place = _AT.search(text)
    path = place[1] if place is not None else _find(data, steps)
    text = _AT.sub("", text).rstrip(". ")
    unknown = _UNKNOWN.match(text)
    if unknown is not None:
        return Problem(f"{path}.{unknown[1]}", "is no field", "remove it", "UnknownField", Severity.WARNING)
    for known, plain in _PLAIN:
        text = known.sub(plain, text)
    return Problem(path, text[:200] or type(wrong).__name__, "correct the value")


def _find(data: Any, steps: Sequence[str]) -> str:
    """The path of nested fields, which protobuf names only from the message inside an Any on."""
    path = "".join(f".{step}" for step in steps)
    if not steps or not isinstance(data, dict) or steps[0] in data:
        return path
    for key, value in data.items():
        if isinstance(value, dict) and steps[0] in value:
            return f".{key}{path}"
    return path


def _take_out(data: Any, path: str) -> bool:
    """Delete what is at a path; whether it was found."""
    parts = [name or index for name, index in _PART.findall(path)]
    for part in parts[:-1]:
        try:
            data = data[int(part)] if isinstance(data, list) else data[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return False
    return isinstance(data, dict) and parts != [] and data.pop(parts[-1], MISSING) is not MISSING


MISSING = object()
