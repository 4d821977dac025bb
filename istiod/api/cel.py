"""CEL expressions, as access log filters and format strings hold them. Pure.

Envoy refuses a whole listener for one expression that it cannot compile, so they are read here first. The grammar is
CEL's; functions and macros are those that the Envoy that we ship knows, found by trial: it has no comprehensions
(`exists`, `map` and the like) and no `string()`. Whether an attribute exists is not asked: a missing one is an error
when the expression runs, which costs no configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from istiod.api.regex import regex_problem

MAX_CHARACTERS = 4_096
MAX_DEPTH = 64

_SPACE = r"(?:\s|//[^\n]*(?:\n|$))*"
_ESCAPE = r"\\(?:[abfnrtv\\'\"`?]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|[0-3][0-7]{2})"
_TEXT = (
    r"[rR](?:'''(?:.|\n)*?'''|\"\"\"(?:.|\n)*?\"\"\"|'[^'\r\n]*'|\"[^\"\r\n]*\")"
    rf"|'''(?:[^\\]|{_ESCAPE})*?'''|\"\"\"(?:[^\\]|{_ESCAPE})*?\"\"\""
    rf"|'(?:[^\\'\r\n]|{_ESCAPE})*'|\"(?:[^\\\"\r\n]|{_ESCAPE})*\""
)
_TOKEN = re.compile(
    rf"{_SPACE}(?:(?P<text>{_TEXT})|(?P<bytes>[bB](?:{_TEXT}))"
    r"|(?P<number>(?:\d+\.\d+|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|0x[0-9a-fA-F]+[uU]?|\d+[uU]?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}]))"
)
_REST = re.compile(_SPACE)
_RESERVED = frozenset(
    {
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"),
        *("namespace", "return", "var", "void", "while"),
    }
)
_CONSTANTS = frozenset({"true", "false", "null"})
_COMPREHENSIONS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_BOUNDS = (-(2**63), 2**63 - 1, 2**64 - 1)

# Functions by name with the numbers of arguments that they take: alone, of a value (`x.size()`), and of `re`.
_CALENDAR = ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear")
_CLOCK = ("Hours", "Minutes", "Seconds", "Milliseconds")
_FUNCTIONS = {
    **dict.fromkeys(("size", "type", "int", "uint", "double", "bool", "bytes", "dyn", "duration", "timestamp"), (1,)),
    "matches": (2,),
}
_METHODS = {
    "size": (0,),
    **dict.fromkeys(("startsWith", "endsWith", "contains", "matches"), (1,)),
    **{f"get{part}": (0, 1) for part in (*_CALENDAR, *_CLOCK)},
}
_OF_RE = {"extract": (3,), "capture": (2,), "captureN": (2,)}


class _NoCel(ValueError):
    """What is wrong, for people."""


def cel_problem(text: str) -> str:
    """Why Envoy would refuse an expression; "" if it would take it."""
    if len(text) > MAX_CHARACTERS:
        return f"it is longer than {MAX_CHARACTERS} characters"
    try:
        _Reader(list(_tokens(text))).whole()
    except _NoCel as wrong:
        return str(wrong)
    return ""


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of each token; comments and white space are left out."""
    at = 0
    while (rest := _REST.match(text, at)) is not None and rest.end() < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _NoCel(f"character {rest.end() + 1}, {text[rest.end()]!r}, begins nothing that CEL knows")
        assert found.lastgroup is not None
        yield found.lastgroup, found.group(found.lastgroup)
        at = found.end()


class _Reader:
    """Reads one expression by recursive descent. Each step gives the literal text that it read, "" for all else, and
    `selected` says whether it ended in a field, which is all that has to be known of a part.
    """

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0
        self._selected = False

    def whole(self) -> None:
        """Everything up to the end."""
        self._expression()
        if self._at < len(self._tokens):
            raise _NoCel(f"{self._peek()!r} follows a whole expression")

    def _peek(self) -> str:
        """The next sign or name; "" for literals and at the end."""
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        return text if kind in ("sign", "name") else ""

    def _take(self, *signs: str) -> str:
        if self._peek() in signs and self._peek():
            self._at += 1
            return self._tokens[self._at - 1][1]
        return ""

    def _want(self, sign: str) -> None:
        if not self._take(sign):
            after = "".join(text for _, text in self._tokens[max(0, self._at - 3) : self._at])
            raise _NoCel(f"{sign!r} is missing after {after!r}" if after else f"{sign!r} is missing")

    def _expression(self) -> str:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _NoCel(f"it is nested more than {MAX_DEPTH} deep")
        said = self._operations()
        if self._take("?"):
            self._operations()
            self._want(":")
            self._expression()
            said, self._selected = "", False
        self._depth -= 1
        return said

    def _operations(self) -> str:
        """Operands between binary operators: their order of precedence makes no difference to what is valid."""
        said = self._unary()
        while self._take("||", "&&", "==", "!=", "<=", ">=", "<", ">", "in", "+", "-", "*", "/", "%"):
            self._unary()
            said, self._selected = "", False
        return said

    def _unary(self) -> str:
        signed = self._take("!", "-")
        while self._take(signed):
            pass
        if signed and self._peek() == {"!": "-", "-": "!"}[signed]:
            raise _NoCel("'!' and '-' stand together")
        said = self._member(signed)
        self._selected = self._selected and not signed
        return "" if signed else said

    def _member(self, signed: str = "") -> str:
        first = self._peek()
        said = self._primary(signed)
        while sign := self._take(".", "["):
            self._selected = False
            if sign == "[":
                self._expression()
                self._want("]")
                self._selected = False
            else:
                self._field("re" if said == "" and first == "re" else "")
            said, first = "", ""
        return said

    def _field(self, owner: str) -> None:
        kind, name = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind != "name" or name in _CONSTANTS | {"in"}:
            raise _NoCel("a name is missing after '.'")
        self._at += 1
        if self._take("("):
            if name in _COMPREHENSIONS:
                raise _NoCel(f"{name}() is not supported: Envoy compiles no comprehensions")
            known = _OF_RE if owner == "re" and name in _OF_RE else _METHODS
            arguments = self._call(f".{name}", known.get(name))
            if name == "matches":
                self._pattern(arguments[0])
            elif known is _OF_RE:
                self._pattern(arguments[1])
            self._selected = False
        else:
            self._selected = True

    def _call(self, name: str, counts: tuple[int, ...] | None) -> list[str]:
        """The arguments of a function, after the opening parenthesis."""
        if counts is None:
            raise _NoCel(f"{name.lstrip('.')}() is no function that Envoy knows")
        arguments = self._list(")")
        if len(arguments) not in counts:
            raise _NoCel(f"{name.lstrip('.')}() has {len(arguments)} arguments, not {' or '.join(map(str, counts))}")
        return arguments

    def _list(self, end: str) -> list[str]:
        items: list[str] = []
        while not self._take(end):
            if items:
                self._want(",")
                if end != ")" and self._take(end):
                    break
            items.append(self._expression())
        return items

    def _pattern(self, literal: str) -> None:
        wrong = regex_problem(literal)
        if wrong:
            raise _NoCel(f"{literal[:80]!r} is no regular expression: {wrong}")

    def _primary(self, signed: str) -> str:
        if self._at >= len(self._tokens):
            raise _NoCel("it ends too early" if self._at else "it is empty")
        self._selected = False
        kind, text = self._tokens[self._at]
        self._at += 1
        match kind:
            case "text":
                return _unquoted(text)
            case "bytes":
                return ""
            case "number":
                _check_number(text, negative=signed == "-")
                return ""
            case "name":
                self._name(text)
                return ""
        return self._group(text)

    def _name(self, name: str) -> None:
        if name in _RESERVED or name == "in":
            raise _NoCel(f"{name!r} is a reserved word")
        if name in _CONSTANTS:
            return
        if self._peek() == "{":
            raise _NoCel(f"there is no message type {name!r}")
        if not self._take("("):
            return
        if name == "has":
            self._expression()
            if not self._selected:
                raise _NoCel("has() wants a field, like has(request.headers)")
            self._want(")")
            self._selected = False
            return
        arguments = self._call(name, _FUNCTIONS.get(name))
        if name == "matches":
            self._pattern(arguments[1])

    def _group(self, sign: str) -> str:
        match sign:
            case "(":
                self._expression()
                self._want(")")
            case "[":
                self._list("]")
            case "{":
                self._map()
            case ".":
                kind, name = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
                if kind != "name" or name in _CONSTANTS:
                    raise _NoCel("a name is missing after '.'")
                self._at += 1
                self._name(name)
            case _:
                raise _NoCel(f"{sign!r} stands where a value is wanted")
        self._selected = False
        return ""

    def _map(self) -> None:
        first = True
        while not self._take("}"):
            if not first:
                self._want(",")
                if self._take("}"):
                    return
            first = False
            self._expression()
            self._want(":")
            self._expression()


def _check_number(text: str, negative: bool) -> None:
    digits = text.rstrip("uU")
    if "." in digits or ("x" not in digits and "e" in digits.lower()):
        return
    lowest, highest, unsigned = _BOUNDS
    value = int(digits, 16 if digits.startswith("0x") else 10)
    if value > (unsigned if digits != text else -lowest if negative else highest):
        raise _NoCel(f"{text[:40]} is too large")


def _unquoted(text: str) -> str:
    """What a literal means, as far as a regular expression in it is concerned."""
    raw = text[:1] in "rR"
    body = text.lstrip("rR")
    quote = 3 if body[:3] in ("'''", '"""') else 1
    inner = body[quote:-quote]
    if raw and inner.endswith("\\"):
        raise _NoCel(f"{text[:80]} ends in a backslash")
    return inner if raw else re.sub(r"\\([\\'\"`?])", r"\1", inner)


def without_string(text: str) -> str:
    """An expression without a `string()` around the whole of it, which makes no difference where text is wanted.

    Envoy does not know this function, and Istio's examples of tags have it.
    """
    inner = text.strip()
    if not inner.startswith("string(") or not inner.endswith(")"):
        return text
    inner = inner.removeprefix("string(")[:-1]
    return inner if not cel_problem(inner) else text
