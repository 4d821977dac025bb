import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.identity import SpiffeId

DOMAIN = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?", fullmatch=True)
NAME = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?", fullmatch=True)


@given(DOMAIN, NAME, NAME)
def test_every_identity_reads_back(domain: str, namespace: str, account: str) -> None:
    identity = SpiffeId(domain, namespace, account)
    assert SpiffeId.parse(str(identity)) == identity


@given(st.text())
def test_what_is_read_formats_to_the_same_identity(text: str) -> None:
    try:
        identity = SpiffeId.parse(text)
    except ValueError:
        return
    assert SpiffeId.parse(str(identity)) == identity


def test_the_scheme_has_no_case() -> None:
    assert SpiffeId.parse("SPIFFE://west.m1/ns/shop/sa/web") == SpiffeId("west.m1", "shop", "web")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "west.m1/ns/shop/sa/web",
        "https://west.m1/ns/shop/sa/web",
        "spiffe:///ns/shop/sa/web",
        "spiffe://west.m1/ns//sa/web",
        "spiffe://west.m1/ns/shop/sa/",
        "spiffe://west.m1/ns/shop/sa/web/more",
        "spiffe://west.m1/ns/shop/sa/web\n",
        " spiffe://west.m1/ns/shop/sa/web",
        "spiffe://west.m1:443/ns/shop/sa/web",
        "spiffe://me@west.m1/ns/shop/sa/web",
        "spiffe://west.m1/ns/sh op/sa/web",
        "spiffe://west.m1/sa/web/ns/shop",
        "spiffe://we\u017ft.m1/ns/shop/sa/web",  # letters that are equal to ASCII ones but for their case
        "spiffe://\u212aube/ns/shop/sa/web",
        "\u017fpiffe://west.m1/ns/shop/sa/web",
        "spiffe://" + "a" * 254 + "/ns/shop/sa/web",
    ],
)
def test_other_text_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not spiffe://") as refused:
        SpiffeId.parse(text)
    assert repr(text[:300]) in str(refused.value)


def test_a_long_text_is_quoted_in_part() -> None:
    with pytest.raises(ValueError, match="is not spiffe") as refused:
        SpiffeId.parse("x" * 100_000)
    assert len(str(refused.value)) < 500
