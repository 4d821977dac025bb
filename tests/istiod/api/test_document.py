# ruff: noqa: E501
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from istiod.api.document import MAX_BYTES, MAX_VALUES, NotYaml, parse_document, parse_plain, split_documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("yes", True), ("off", False), ("12", 12), ("-7", -7), ("0x1F", 31), ("010", 8), ("0o10", 8),
        ("0", 0), ("08", "08"), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"), ("10.0.0.0/8", "10.0.0.0/8"), ("-", "-"), ("1_000", "1_000"), ("9" * 30, "9" * 30),
    ],
)  # fmt: skip
def test_plain_scalars(text: str, value: object) -> None:
    got = parse_plain(text)
    assert got == value
    assert type(got) is type(value)


def test_quoted_is_text() -> None:
    assert parse_document("{a: '1', b: \"true\", c: !!str 5, d: |\n  x\n}".replace("d: |\n  x\n", "d: x")) == {
        "a": "1", "b": "true", "c": "5", "d": "x",
    }  # fmt: skip


def test_merge_keys_and_aliases() -> None:
    text = "base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  y: 3\nagain: *b\n"
    assert parse_document(text) == {"base": {"x": 1, "y": 2}, "mine": {"x": 1, "y": 3}, "again": {"x": 1, "y": 2}}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{last}'] * 10)}]\n" for last, this in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: [\n", 3, "did not find expected node content"),
        ("a: 1\na: 2\n", 2, "key 'a' is given twice"),
        ("a: &x [*x]\n", 1, "alias 'x' of nothing"),
        ("? [a]\n: b\n", 1, "a key that is no text"),
        ("[" * 100, 1, "nested more than 64"),
        ("[" * 100_000, 1, "maximum nesting depth"),
        ("? " * 100_000, 1, "a key that is no text"),
        ("- " * 100_000, 1, "nested more than 64"),
        (BOMB, 6, f"aliases make more than {MAX_VALUES} values"),
        ("[" + "1," * MAX_VALUES + "1]", 1, f"more than {MAX_VALUES} values"),
        ("x" * (MAX_BYTES + 1), 0, "characters are more than"),
        ("a: !!int x\n", 1, "the value is no"),
        ("a: !!python/object:os.system x\n", 1, "is no"),
        ("a: \x07\n", 0, "not allowed"),
        ("a: \ud800\n", 0, "no Unicode text"),
        ("a\n...\nb\n", 3, ""),
    ],
)
def test_refused(text: str, line: int, reason: str) -> None:
    with pytest.raises(NotYaml) as wrong:
        parse_document(text)
    assert reason in wrong.value.reason
    assert wrong.value.line == line


def test_split_keeps_lines() -> None:
    parts = list(split_documents("%YAML 1.2\n---\na: 1\n--- # two\nb: |\n  ---\n---\n\n--- {c: 1}"))
    assert [(part.line, parse_document(part.text)) for part in parts] == [
        (1, {"a": 1}), (3, {"b": "---\n"}), (6, None), (8, {"c": 1}),
    ]  # fmt: skip


words = st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="\u2028"), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@given(plain)
@settings(max_examples=150, deadline=None)
def test_reads_json(data: object) -> None:
    assert parse_document(json.dumps(data, ensure_ascii=False)) == data


@given(st.text(alphabet=st.sampled_from("a1:-?[]{},&*!|>'\"%@#~<. \n\t"), max_size=60))
@settings(max_examples=500, deadline=None)
def test_garbage_is_refused_or_read(text: str) -> None:
    for part in split_documents(text):
        try:
            parse_document(part.text)
        except NotYaml:
            continue
