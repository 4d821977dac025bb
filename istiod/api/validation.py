"""Plain data -> a model of the API, with every error as a Problem at its field path. Pure.

Owns the translation of pydantic's errors into Istio's spelling and words a person can act on. Knows nothing of kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from istiod.api.problems import Problem

M = TypeVar("M", bound=BaseModel)
MAX_SHOWN = 80


def validate_model(model: type[M], fields: Any, root: str) -> tuple[M | None, list[Problem]]:
    """The model of `fields`, or None and all that is wrong; paths start with `root`.

    A null counts as an absent field, as in protobuf's JSON form and Kubernetes.
    """
    try:
        return model.model_validate(fields), []
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False)
    nulls = [error["loc"] for error in errors if error["input"] is None and error["type"] != "extra_forbidden"]
    if nulls:
        cleaned = fields
        for location in nulls:
            cleaned = _without(cleaned, location)
        if cleaned != fields:
            return validate_model(model, cleaned, root)
    return None, list(_problems(model, errors, root))


def _without(data: Any, location: tuple[int | str, ...]) -> Any:
    """`data` without the null at `location`; the same where that is no key of a mapping."""
    if not location:
        return data
    here, rest = location[0], location[1:]
    if isinstance(data, dict) and here in data:
        if data[here] is None:
            return {key: value for key, value in data.items() if key != here}
        return {**data, here: _without(data[here], rest)}
    if isinstance(data, list) and isinstance(here, int) and here < len(data):
        return [*data[:here], _without(data[here], rest), *data[here + 1 :]]
    return data


def _problems(model: type[BaseModel], errors: Any, root: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for error in errors:
        problem = _problem(model, error, root)
        if problem.path not in seen:  # a union reports once for each of its branches
            seen.add(problem.path)
            yield problem


def _problem(model: type[BaseModel], error: Any, root: str) -> Problem:
    location = tuple(part for part in error["loc"] if part not in _BRANCHES)
    path = format_path(root, location)
    match error["type"]:
        case "extra_forbidden":
            near = get_close_matches(str(location[-1]), known_fields(model, location[:-1]), 1)
            return Problem(path, "is no field", format_suggestion(near[0]) if near else "remove it", "UnknownField")
        case "missing":
            return Problem(path, "is missing", "give it a value", "MissingField")
        case "model_type" | "dict_type":
            return Problem(path, f"{_shown(error['input'])} is no mapping", "write name: value, one a line")
        case "tuple_type":
            return Problem(path, f"{_shown(error['input'])} is no list", "write - before each item")
        case "string_type" if isinstance(error["input"], int | float):
            return Problem(path, f"{_shown(error['input'])} is no text", QUOTE)
        case "enum":
            words = _words(error["ctx"]["expected"])
            return Problem(
                path, f"{_shown(error['input'])} is none of {', '.join(words)}", _nearest(error["input"], words)
            )
    text = str(error["msg"]).removeprefix("Value error, ")
    return Problem(path, f"{_shown(error['input'])}: {text[:1].lower()}{text[1:]}", "correct the value")


def format_suggestion(word: str) -> str:
    """The fix of a finding about a word that was probably meant to be another one."""
    return f"did you mean {word}?"


def parse_suggestion(fix: str) -> str:
    """The word of a fix made by `format_suggestion`; "" if it is another fix."""
    found = _SUGGESTION.fullmatch(fix)
    return found[1] if found else ""


_SUGGESTION = re.compile(r"did you mean (\S+)\?")
QUOTE = "put it in quotes"  # the fix for a value that would have the right type as text
_BRANCHES = frozenset({"int", "str", "[key]"})


def format_path(root: str, location: tuple[int | str, ...]) -> str:
    """A field path as Istio spells it: `spec.http[0].route[1].weight`."""
    path = root
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _words(expected: str) -> list[str]:
    return [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]


def _nearest(value: Any, words: list[str]) -> str:
    near = get_close_matches(str(value)[:100].upper(), words, 1)
    return format_suggestion(near[0]) if near else "use one of them"


def _shown(value: Any) -> str:
    """The value for a message, cut; a collection is named, not shown, as it may be large."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if not isinstance(value, str) else repr(value[:MAX_SHOWN])
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def known_fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The field names at a place of a model, as Istio spells them."""
    here: Any = model
    for part in location:
        if isinstance(part, int) or not hasattr(here, "model_fields"):
            continue
        field = next((field for name, field in here.model_fields.items() if part in (name, field.alias)), None)
        if field is not None:
            here = _model_in(field.annotation) or here
    return [str(field.alias or name) for name, field in here.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in getattr(annotation, "__args__", ()) if (found := _model_in(inner))), None)
