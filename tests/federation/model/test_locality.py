import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.locality import NO_LOCALITY, Locality

PART = st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True)
LOCALITY = st.lists(PART, max_size=3).map(lambda parts: Locality(*parts))


@given(LOCALITY)
def test_every_locality_without_gaps_reads_back(locality: Locality) -> None:
    assert Locality.parse(str(locality)) == locality


def test_further_parts_belong_to_the_subzone() -> None:
    assert Locality.parse("eu/eu-1/a/b") == Locality("eu", "eu-1", "a/b")
    assert Locality.parse("") == NO_LOCALITY


@given(LOCALITY)
def test_a_locality_matches_itself_and_every_wildcard_above(locality: Locality) -> None:
    assert locality.matched_by(str(locality) or "*")
    assert locality.matched_by("*")
    assert locality.matched_by(f"{locality.region}/*")
    assert locality.matched_by(f"{locality.region}/{locality.zone}/*")


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("eu/eu-1/a", True),
        ("eu/eu-1", True),  # Istio: what a pattern leaves out is not compared
        ("eu", True),
        ("eu/eu-1/b", False),
        ("eu/eu-2/*", False),
        ("us/*", False),
        ("e", False),
        ("eu/eu-1/a2", False),
        ("", False),
    ],
)
def test_patterns(pattern: str, matched: bool) -> None:
    assert Locality("eu", "eu-1", "a").matched_by(pattern) is matched


def test_a_place_nobody_named_is_in_no_region() -> None:
    assert not NO_LOCALITY.matched_by("eu/*")
    assert NO_LOCALITY.matched_by("*")
