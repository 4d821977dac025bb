"""Corrections of a file that are certain: a misspelt field or word of a list, a value that has to be in quotes. Pure.

Works on the text itself, so that comments and order stay. A correction counts only if the document has fewer errors
with it, and none that it did not have, and a word only if it is nearly the one meant: the rest is left to people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from typing import Any

import yaml

from federation.model.findings import Finding, Severity
from istiod.api.document import Document, split_documents
from istiod.api.kinds import KINDS
from istiod.api.parse import parse_one
from istiod.api.validation import QUOTE, parse_suggestion

NEAR = 0.8  # of 1
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters `start` to `end` of a text become `text`."""

    start: int
    end: int
    text: str


def fixed(text: str, name: str) -> str:
    """The text of a file with every correction that is certain; `name` is that of the file."""
    parts, at = [], 0
    for document in split_documents(text):
        start = text.index(document.text, at)
        parts += [text[at:start], _fixed_document(document, name)]
        at = start + len(document.text)
    return "".join([*parts, text[at:]])


def patch(text: str, name: str) -> str:
    """The corrections of a file as a unified diff; "" if there are none."""
    after = fixed(text, name)
    lines = unified_diff(text.splitlines(True), after.splitlines(True), f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _fixed_document(document: Document, name: str) -> str:
    text = document.text
    refused: set[Edit] = set()
    while True:
        errors = _errors(text, name)
        edits = ((finding, edit) for finding in errors for edit in _edit(text, finding) if edit not in refused)
        found = next(edits, None)
        if found is None:
            return text
        after = _applied(text, found[1])
        now = _errors(after, name)
        if len(now) < len(errors) and set(now) <= set(errors):
            text, refused = after, set()
        else:
            refused.add(found[1])


def _errors(text: str, name: str) -> list[Finding]:
    found = parse_one(Document(text), name).findings
    return [finding for finding in found if finding.severity is Severity.ERROR]


def _applied(text: str, edit: Edit) -> str:
    return text[: edit.start] + edit.text + text[edit.end :]


def _edit(text: str, finding: Finding) -> Iterator[Edit]:
    """What would correct a finding, if it is of a sort that can be corrected."""
    word = parse_suggestion(finding.fix)
    if not word and finding.fix != QUOTE:
        return
    place = find(yaml.compose(text, Loader=_Loader), finding.path)
    if place is None:
        return
    key, value = place
    if finding.fix == QUOTE:
        said = text[value.start_mark.index : value.end_mark.index]
        if isinstance(value, yaml.ScalarNode) and said and "\n" not in said:
            yield Edit(value.start_mark.index, value.end_mark.index, f'"{said}"')
    elif finding.code == "UnknownField" and key is not None and _is_near(key.value, word):
        yield _replaced(key, word)
    elif finding.code == "InvalidValue" and isinstance(value, yaml.ScalarNode) and _is_near(value.value, word):
        yield _replaced(value, word)


def _replaced(node: Any, word: str) -> Edit:
    """Another word in the place of a scalar, quoted as that was."""
    quote = node.style if node.style in ("'", '"') else ""
    return Edit(node.start_mark.index, node.end_mark.index, f"{quote}{word}{quote}")


def _is_near(written: str, meant: str) -> bool:
    """Whether a word differs by a slip of the hand: a letter or two, two in each other's place, upper or lower case."""
    one, other = written.lower(), meant.lower()
    return sorted(one) == sorted(other) or SequenceMatcher(None, one, other).ratio() >= NEAR


def find(node: Any, path: str) -> tuple[Any, Any] | None:
    """The key and the value node at a field path; the key is None in a list. None if the path leads nowhere.

    Keys may hold dots and brackets themselves, so the longest key that fits is tried first.
    """
    if not path:
        return None, node
    if isinstance(node, yaml.SequenceNode):
        index, bracket, rest = path.removeprefix("[").partition("]")
        if not path.startswith("[") or not bracket or not index.isdigit() or int(index) >= len(node.value):
            return None
        item = node.value[int(index)]
        return (None, item) if not rest else find(item, rest.removeprefix("."))
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in sorted(node.value, key=lambda pair: -len(str(pair[0].value))):
        name = str(key.value)
        for said in (name, f"[{name}]"):
            if path == said:
                return key, value
            if path.startswith(said) and path[len(said)] in ".[":
                found = find(value, path[len(said) :].removeprefix("."))
                if found is not None:
                    return found
    return None


_PLAIN_PATH = re.compile(r"[A-Za-z0-9]+(?:\[\d+\]|\.[A-Za-z0-9]+)*")
_VALUE = re.compile(r"'([^']*)' is none of ")  # how the parser begins what it says of a word that is not in a list
_STEP = re.compile(r"[A-Za-z0-9]+")


def object_patch(finding: Finding) -> str:
    """The correction of an object in a running cluster as a `kubectl patch` command; "" if none is certain."""
    word = parse_suggestion(finding.fix)
    kind, _, key = finding.object.partition(" ")
    info = KINDS.get(kind)
    if not word or info is None or not _PLAIN_PATH.fullmatch(finding.path):
        return ""
    steps = _STEP.findall(finding.path)
    pointer = "/" + "/".join(steps)
    value = _VALUE.match(finding.message)
    if finding.code == "UnknownField" and _is_near(steps[-1], word):
        change = {"op": "move", "from": pointer, "path": f"{pointer.rpartition('/')[0]}/{word}"}
    elif finding.code == "InvalidValue" and value is not None and _is_near(value[1], word):
        change = {"op": "replace", "path": pointer, "value": word}
    else:
        return ""
    group = min(info.groups)
    resource = f"{(info.called or kind).lower()}{'.' if group else ''}{group}"
    namespace, slash, name = key.rpartition("/")
    where = f" -n {namespace}" if slash else ""
    return f"kubectl patch {resource} {name}{where} --type=json -p '{json.dumps([change])}'"
