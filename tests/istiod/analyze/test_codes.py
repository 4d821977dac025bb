"""Every code that the source can say is in the list, and the page of the docs shows the list."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from istiod.analyze import codes
from istiod.analyze.codes import OF_ANALYZERS
from istiod.analyze.codes_of_parts import CODES, NOT_ABOUT_OBJECTS, OF_PARTS
from istiod.analyze.page import with_table

ROOT = Path(__file__).parents[3]
PARTS = ("api", "registry", "resolve", "sources", "view", "encode", "xds", "ca")
_WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]*)+")


def said(source: str) -> Iterator[str]:
    """Codes in the source: the arguments of Finding and Problem that stand where a code does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = {"Finding": 1, "Problem": 3}.get(name)
            if place is not None:
                given = node.args[place : place + 1] + [word.value for word in node.keywords if word.arg == "code"]
                yield from (
                    part.value
                    for item in given
                    for part in ast.walk(item)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and _WORD.fullmatch(part.value)
                )


def test_every_code_that_is_said_is_listed() -> None:
    found = {
        code: path
        for part in PARTS
        for path in sorted((ROOT / "istiod" / part).rglob("*.py"))
        for code in said(path.read_text())
    }
    unknown = {code: str(path) for code, path in found.items() if code not in CODES and code not in NOT_ABOUT_OBJECTS}
    assert not unknown, "add these to istiod/analyze/codes_of_parts.py"


def test_codes_are_words_given_once() -> None:
    assert len(CODES) == len(OF_ANALYZERS) + len(OF_PARTS)
    assert all(_WORD.fullmatch(word) for word in CODES)
    assert all(re.fullmatch(r"(IST0\d{3}(, IST0\d{3})*)?", code.istio) for code in CODES.values())
    assert all(code.meaning.endswith(".") and code.action for code in CODES.values())


def test_every_code_of_the_analyzers_is_tested() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert not [code.word for code in OF_ANALYZERS if f'"{code.word}"' not in tests]
    assert len(OF_ANALYZERS) == sum(isinstance(value, codes.Code) for value in vars(codes).values())


def test_the_page_shows_the_list() -> None:
    page = (ROOT / "docs" / "analysis.md").read_text()
    assert with_table(page, CODES) == page, "run scripts/analysis-page"
