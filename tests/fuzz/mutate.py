"""Objects that nobody would write: seeds of every kind (goldens, pools, cases) with parts changed, removed or added.

Knows the models only to find fields to add. Everything is drawn from one `random.Random`, so a seed number repeats it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from istiod.api.kinds import KindInfo, info_of
from istiod.resolve.unsupported import messages_in

TESTS = Path(__file__).parents[1]
Json = Any

# What tends to break parsers and Envoys: empty, long, many-lined, of another type, nearly right.
TEXTS = (
    "", "*", "**", "*.", ".", "/", "//", "/a/", "a", "A", "b", "b.apps.svc.cluster.local", "*.test", "*.test.*", "b:80",
    "apps/b", "./b", "~/*", "*/*", "istio-system/gw", "mesh", "default", "127.0.0.1", "10.0.0.1/8", "::1", "0.0.0.0:0",
    "10.0.0.300", "unix:///a", "[::1]:80", "%", "%%", "%REQ(x)%", "%REQ(x", "%DYNAMIC_METADATA(a:b)%", "${x}", "a\nb",
    "a\r\nb: c", "\0", "\u00e9", "\U0001f600", "x" * 300, "x" * 70_000, "(", "[a-z", "(a+)+$", ".*", "^/v[0-9]+$", "\\",
    "{*}", "/{*}/{**}", "/{**}/a/{*}", "spiffe://", "spiffe://td/ns/a/sa/b", "td/ns/a/sa/b", "@request.auth.claims.a",
    ":authority", ":path", "host", "Host", "x-a b", "content-length", "connection", "x-envoy-retry-on", "1s", "0s",
    "-1s", "1ns", "99999999h", "1", "true", "null", "STRICT", "ISTIO_MUTUAL", "http://a/b", "https://[::1", "{}", "[]",
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 7, 15, 53, 80, 99, 100, 101, 200, 404, 443, 599, 600, 8080, 15001, 15006, 15021, 15090, 65535,
           65536, 2**31 - 1, 2**31, 2**32, 2**63, -1, 0.5, 33.3, 1e-9, 1e300, float("nan"))  # fmt: skip
ODD: tuple[Json, ...] = (None, True, False, [], {}, [[]], [None], {"a": 1}, {"": ""})


def seeds() -> list[dict[str, Json]]:
    """Every object of our own tests' YAML."""
    found = []
    for path in sorted((*TESTS.glob("golden/*/input.yaml"), *TESTS.glob("sequences/pool/*.yaml"))):
        found += _objects(path.read_text())
    for path in sorted(TESTS.glob("conformance/cases/*.yaml")):
        for case in yaml.safe_load_all(path.read_text()):
            for step in (case or {}).get("steps", [case or {}]):
                found += _objects(step.get("config") or "")
    return found


def _objects(text: str) -> Iterator[dict[str, Json]]:
    return (item for item in yaml.safe_load_all(text) if isinstance(item, dict) and "kind" in item)


class Mutator:
    """Draws objects. `corpus` are values of all seeds by the name of their field."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._seeds = seeds()
        self._corpus: dict[str, list[Json]] = {}
        for seed in self._seeds:
            self._gather(seed.get("spec"))

    def _gather(self, value: Json) -> None:
        for key, item in value.items() if isinstance(value, dict) else ():
            self._corpus.setdefault(str(key), []).append(item)
            self._gather(item)
        for item in value if isinstance(value, list) else ():
            self._gather(item)

    def draw(self) -> dict[str, Json]:
        """One object: a seed with a few changes, under one of few names, so that later ones replace earlier ones."""
        item = copy.deepcopy(self._chance.choice(self._seeds))
        group = str(item.get("apiVersion", "")).rpartition("/")[0]
        info = info_of(group, item["kind"])
        for _ in range(self._chance.choice((0, 1, 1, 1, 2, 3, 6))):
            self._change(item, info)
        if self._chance.random() < 0.3 and isinstance(item.get("metadata"), dict):
            item["metadata"]["namespace"] = self._chance.choice(("apps", "shop", "other", "istio-system"))
        return item

    def _change(self, item: dict[str, Json], info: KindInfo | None) -> None:
        """One change somewhere below the top."""
        whole = info is not None and info.whole
        places = list(_places(item if whole else item.get("spec"), info.model if info is not None else None))
        if not places:
            item["spec"] = self._odd()
            return
        holder, key, model = self._chance.choice(places)
        match self._chance.randrange(8):
            case 0 if isinstance(holder, dict):
                del holder[key]
            case 1 if isinstance(holder, dict) and model is not None:
                self._add(holder, model)
            case 2 if isinstance(holder, list):
                holder.insert(self._chance.randrange(len(holder) + 1), copy.deepcopy(self._chance.choice(holder)))
            case 3 if isinstance(holder, list):
                holder.pop(key)
            case 4 | 5 if str(key) in self._corpus:
                holder[key] = copy.deepcopy(self._chance.choice(self._corpus[str(key)]))
            case 6:
                holder[key] = self._chance.choice((*TEXTS, *NUMBERS, self._odd()))
            case _:
                holder[key] = self._like(holder[key])

    def _add(self, holder: dict[str, Json], model: type[BaseModel]) -> None:
        """A field that is not there, from another object or made up."""
        missing = [f for n, f in model.model_fields.items() if (f.alias or n) not in holder]
        if missing:
            field = self._chance.choice(missing)
            name = str(field.alias)
            known = self._corpus.get(name)
            holder[name] = copy.deepcopy(self._chance.choice(known)) if known else self._made(field.annotation)

    def _odd(self) -> Json:
        return copy.deepcopy(self._chance.choice(ODD))

    def _made(self, annotation: Any) -> Json:
        """A value of a type."""
        if isinstance(annotation, type) and issubclass(annotation, StrEnum):
            return self._chance.choice(list(annotation)).value
        inner = list(messages_in(annotation))
        if inner:
            made: dict[str, Json] = {}
            for _ in range(self._chance.randrange(3)):
                self._add(made, inner[0])
            return [made] if "tuple" in str(annotation) else made
        if "tuple" in str(annotation):
            return [self._chance.choice(TEXTS)]
        if "dict" in str(annotation):
            return {self._chance.choice(TEXTS): self._chance.choice(TEXTS)}
        enums = [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, StrEnum)]
        return self._made(enums[0]) if enums else self._chance.choice((*TEXTS, *NUMBERS, True, False))

    def _like(self, value: Json) -> Json:
        """Another value of the same shape."""
        match value:
            case bool():
                return not value
            case int() | float():
                return self._chance.choice(NUMBERS)
            case str():
                return self._chance.choice(TEXTS)
            case list():
                return value + copy.deepcopy(value)
            case dict():
                return {**value, self._chance.choice(TEXTS): self._chance.choice((*TEXTS, self._odd()))}
        return self._odd()


def _places(value: Json, model: type[BaseModel] | None) -> Iterator[tuple[Any, Any, type[BaseModel] | None]]:
    """Every (holder, key, message of the holder) below a value."""
    if isinstance(value, dict):
        fields = {f.alias or n: f for n, f in model.model_fields.items()} if model is not None else {}
        for key, item in value.items():
            yield value, key, model
            field = fields.get(key)
            yield from _places(item, next(messages_in(field.annotation), None) if field is not None else None)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value, index, model
            yield from _places(item, model)
