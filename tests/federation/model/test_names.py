import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.names import (
    NamespacedName,
    ServiceKey,
    host_matches,
    hosts_overlap,
    resolve_short_host,
    service_host,
)

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
WILDCARD = HOST.map("*.{}".format)
PATTERN = st.one_of(HOST, WILDCARD, st.just("*"))


def test_text_forms() -> None:
    assert str(NamespacedName("shop", "echo")) == "shop/echo"
    assert str(ServiceKey("echo.shop.svc.cluster.local", "shop")) == "shop/echo.shop.svc.cluster.local"
    assert service_host("echo", "shop") == "echo.shop.svc.cluster.local"
    assert service_host("echo", "shop", "corp.example") == "echo.shop.svc.corp.example"


@given(LABEL, LABEL)
def test_a_name_without_a_dot_is_of_the_objects_namespace(name: str, namespace: str) -> None:
    assert resolve_short_host(name, namespace) == service_host(name, namespace)
    assert resolve_short_host(name, namespace, "corp") == f"{name}.{namespace}.svc.corp"


@given(st.one_of(st.tuples(LABEL, HOST).map(".".join), WILDCARD, st.just("*"), st.just("")), LABEL)
def test_other_hosts_are_whole_already(host: str, namespace: str) -> None:
    assert resolve_short_host(host, namespace) == host


@given(PATTERN)
def test_a_pattern_covers_itself_and_the_star_covers_all(pattern: str) -> None:
    assert host_matches(pattern, pattern)
    assert host_matches("*", pattern)


@given(LABEL, HOST)
def test_a_wildcard_covers_what_is_below_its_suffix_only(label: str, suffix: str) -> None:
    assert host_matches(f"*.{suffix}", f"{label}.{suffix}")
    assert host_matches(f"*.{suffix}", f"*.{label}.{suffix}")
    for host in (suffix, f"{label}{suffix}", f"{label}.{suffix}.0", f"*.{label}.{suffix}x", "*"):
        assert not host_matches(f"*.{suffix}", host), host
    assert host_matches(f"*{suffix}", suffix)


@given(HOST, HOST)
def test_a_host_covers_no_other(one: str, other: str) -> None:
    assert host_matches(one, other) == (one == other)


@given(PATTERN, PATTERN)
def test_overlap_has_no_direction(one: str, other: str) -> None:
    assert hosts_overlap(one, other) == hosts_overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("*.a.b", "*.b", True),
        ("*.a.b", "x.a.b", True),
        ("*.a.b", "x.c.b", False),
        ("*.a.b", "*.c.b", False),
        ("x.b", "y.b", False),
    ],
)
def test_overlap(one: str, other: str, overlap: bool) -> None:
    assert hosts_overlap(one, other) is overlap
