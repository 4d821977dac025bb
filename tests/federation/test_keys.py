import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.keys import (
    ClusterKey,
    CompleteKey,
    EndpointsKey,
    EntryKey,
    GatewayKey,
    HeartbeatKey,
    Layout,
    ServiceRecordKey,
    ViewKey,
)

LAYOUT = Layout("m1")
NAME = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(NAME, NAME, NAME, NAME)
def test_every_key_reads_back(cluster: str, namespace: str, name: str, part: str) -> None:
    for key in (
        ClusterKey(cluster),
        HeartbeatKey(cluster),
        CompleteKey(cluster),
        GatewayKey(cluster, name),
        ViewKey(cluster, name),
        ServiceRecordKey(cluster, namespace, name),
        EntryKey(cluster, namespace, name),
        EndpointsKey(cluster, namespace, name, part),
    ):
        assert LAYOUT.parse(LAYOUT.format(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/isthmus/other/v1/c/a/heartbeat",
        "/isthmus/m1/v1/c/a",
        "/isthmus/m1/v1/c/A/heartbeat",
        "/isthmus/m1/v1/c/a/services/x",
    ],
)
def test_other_text_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not below|lower-case|no key of the layout"):
        LAYOUT.parse(text)


def test_what_a_cluster_owns_is_its_own_prefix_alone() -> None:
    assert LAYOUT.format(ServiceRecordKey("west", "ns", "s")).startswith(LAYOUT.owned_by("west"))
    assert not LAYOUT.format(ServiceRecordKey("west-2", "ns", "s")).startswith(LAYOUT.owned_by("west"))
    assert not LAYOUT.format(ClusterKey("west")).startswith(LAYOUT.owned_by("west"))
