"""CEL expressions that Envoy takes, and those that it refuses. Every line was tried with Envoy."""

from __future__ import annotations

import pytest

from istiod.api.cel import cel_problem

TAKEN = (
    "response.code >= 400",
    "has(response.code)",
    "'a' in request.headers && request.headers['x-a'] == \"b\"",
    "request.path.startsWith('/a') || request.path.matches('^/b+$')",
    "size(request.path) > 2 && request.path.size() > 1",
    "!connection.mtls",
    "-response.code < 3 && response.code % 2 == 0",
    "int(response.code) == 1 && double(1) == 1.5e3 && 5u == 5U && 0x1F == 31 && .5 == 0.5",
    "duration('1s') > response.duration && timestamp('2020-01-01T00:00:00Z') < request.time",
    "request.time.getHours() == 1 && request.time.getFullYear('UTC') == 1",
    "re.extract('a', '(b)', '\\\\1') == 'x' || re.captureN('a', 'b')['x'] == 'x'",
    "r'a\\d' == 'x' || '''a''' == b'abc' || '\\x41' == '\\u0041'",
    "a ? b : c ? d : e",
    "[1, 2,] == [] && {'a': 1}['a'] == {}['b']",
    "// comment\ntrue\n&& null == null",
    ".a.b == -9223372036854775808",
    "a == b == c && !!a && - - 1 == 1",
    "unknown_thing.of[1] == _a",
)
REFUSED = (
    ("", "it is empty"),
    ("1 +", "it ends too early"),
    ("(1", "')' is missing after '(1'"),
    ("1)", "')' follows a whole expression"),
    ("a ? b", "':' is missing after 'a?b'"),
    ("a.", "a name is missing after '.'"),
    ("a.in", "a name is missing after '.'"),
    ("if == 1", "'if' is a reserved word"),
    ("'a", 'character 1, "\'", begins nothing that CEL knows'),
    ("'\\q' == 'a'", 'character 1, "\'", begins nothing that CEL knows'),
    ("a & b", "character 3, '&', begins nothing that CEL knows"),
    ("1_000 == 1", "'_000' follows a whole expression"),
    ("99999999999999999999 == 1", "99999999999999999999 is too large"),
    ("foo(1)", "foo() is no function that Envoy knows"),
    ("string(1) == '1'", "string() is no function that Envoy knows"),
    ("'a'.lowerAscii() == 'a'", "lowerAscii() is no function that Envoy knows"),
    ("size(1, 2) == 1", "size() has 2 arguments, not 1"),
    ("[1].exists(x, x == 1)", "exists() is not supported: Envoy compiles no comprehensions"),
    ("has(request.headers['a'])", "has() wants a field, like has(request.headers)"),
    ("has(!a.b)", "has() wants a field, like has(request.headers)"),
    (".true", "a name is missing after '.'"),
    ("r'\\' == a", "r'\\' ends in a backslash"),
    ("Foo{a: 1}", "there is no message type 'Foo'"),
    ("request.path.matches('[')", "'[' is no regular expression: unterminated character set at position 0"),
    ("request.path.matches('(?=a)')", "'(?=a)' is no regular expression: '(?=' is not supported"),
    ("(" * 70 + "1" + ")" * 70, "it is nested more than 64 deep"),
    ("a" * 5_000, "it is longer than 4096 characters"),
)


@pytest.mark.parametrize("text", TAKEN)
def test_taken(text: str) -> None:
    assert cel_problem(text) == ""


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_refused(text: str, problem: str) -> None:
    assert cel_problem(text) == problem
