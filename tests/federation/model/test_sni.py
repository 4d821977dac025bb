import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.sni import OutboundName

HOST = st.from_regex(r"(\*\.)?[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?", fullmatch=True)
SUBSET = st.one_of(st.just(""), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True))
NAMES = st.builds(OutboundName, st.integers(1, 65535), SUBSET, HOST)


@given(NAMES)
def test_both_forms_read_back(name: OutboundName) -> None:
    assert OutboundName.parse(name.format_cluster()) == name
    assert OutboundName.parse(name.format_sni()) == name


def test_istios_forms() -> None:
    name = OutboundName(80, "v1", "echo.shop.svc.cluster.local")
    assert name.format_cluster() == "outbound|80|v1|echo.shop.svc.cluster.local"
    assert name.format_sni() == "outbound_.80_.v1_.echo.shop.svc.cluster.local"


@given(st.text())
def test_what_is_read_formats_to_the_same_name(text: str) -> None:
    try:
        name = OutboundName.parse(text)
    except ValueError:
        return
    assert OutboundName.parse(name.format_cluster()) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "echo.shop.svc.cluster.local",
        "outbound",
        "outbound|80|v1",
        "outbound|80|v1|",
        "outbound|http|v1|echo",
        "outbound|-80|v1|echo",
        "outbound||v1|echo",
        "outbound|0|v1|echo",
        "outbound|65536|v1|echo",
        "outbound|\u0663|v1|echo",  # digits, but not ours
        "outbound|\u00b2|v1|echo",
        "outbound|" + "9" * 5000 + "|v1|echo",
        "inbound|80|v1|echo",
        "outbound_.80_.v1",
        "outbound_.80_.v1_.",
        "outbound_80_v1_echo",
    ],
)
def test_other_text_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="is neither outbound") as refused:
        OutboundName.parse(text)
    assert repr(text[:300]) in str(refused.value)
