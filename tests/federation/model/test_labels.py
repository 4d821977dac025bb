import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.labels import NO_LABELS, Labels

VALUES = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=5)


@given(VALUES)
def test_equal_by_content_in_whatever_order_it_was_given(values: dict[str, str]) -> None:
    backwards = dict(reversed(values.items()))
    assert Labels(values) == Labels(backwards)
    assert hash(Labels(values)) == hash(Labels(backwards))
    assert str(Labels(values)) == str(Labels(backwards))
    assert dict(Labels(values)) == values


@given(VALUES, VALUES)
def test_different_content_is_different(one: dict[str, str], other: dict[str, str]) -> None:
    assert (Labels(one) == Labels(other)) == (one == other)


@given(VALUES)
def test_later_changes_of_the_source_do_not_reach_it(values: dict[str, str]) -> None:
    labels = Labels(values)
    before = hash(labels)
    values["new"] = "x"
    assert "new" not in labels
    assert hash(labels) == before


def test_it_cannot_be_written_to() -> None:
    with pytest.raises(TypeError):
        Labels({"a": "1"})["a"] = "2"  # type: ignore[index]


def test_it_is_no_plain_dictionary() -> None:
    assert Labels({"a": "1"}) != {"a": "1"}


@given(VALUES, VALUES)
def test_a_selector_selects_what_has_all_its_pairs(values: dict[str, str], selector: dict[str, str]) -> None:
    assert Labels(values).selected_by(selector) == (selector.items() <= values.items())
    assert Labels({**values, **selector}).selected_by(selector)


def test_an_empty_selector_selects_everything() -> None:
    assert NO_LABELS.selected_by({})
    assert not NO_LABELS.selected_by({"a": ""})


@given(VALUES, VALUES)
def test_merging_writes_over(one: dict[str, str], other: dict[str, str]) -> None:
    labels = Labels(one)
    assert labels.merged(other) == Labels({**one, **other})
    assert labels == Labels(one)


def test_text_form() -> None:
    assert str(Labels({"b": "2", "a": "1"})) == "a=1,b=2"
    assert len(Labels({"b": "2", "a": "1"})) == 2
    assert repr(Labels({"a": "1"})) == "Labels({'a': '1'})"
