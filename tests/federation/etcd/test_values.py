"""Values to messages and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.etcd.schema import etcd_pb2 as pb
from federation.etcd.values import (
    Compare,
    Permission,
    decode_key,
    decode_permission,
    encode_compare,
    encode_key,
    encode_permission,
    encode_range,
)

KEYS = st.binary(max_size=6)


@given(KEYS, KEYS)
def test_a_prefix_covers_exactly_its_keys(prefix: bytes, key: bytes) -> None:
    first, end = encode_range(decode_key(prefix), True)
    inside = first <= key and (end == b"\0" or key < end)
    assert inside == (key.startswith(prefix) and key >= first)
    if key:  # etcd has no empty key
        assert inside == key.startswith(prefix)


def test_a_single_key_has_no_end() -> None:
    assert encode_range("/a", False) == (b"/a", b"")


@given(KEYS)
def test_any_key_survives(key: bytes) -> None:
    assert encode_key(decode_key(key)) == key


@given(st.text(max_size=5), st.booleans(), st.sampled_from([(True, False), (False, True), (True, True)]))
def test_permissions_survive(key: str, prefix: bool, allowed: tuple[bool, bool]) -> None:
    if not key.isprintable() or (not key and not prefix):
        return
    permission = Permission(key, prefix, *allowed)
    assert decode_permission(encode_permission(permission)) == permission


def test_a_permission_allows_something() -> None:
    with pytest.raises(ValueError, match="reading or writing"):
        encode_permission(Permission("/a", read=False))


def test_an_operand_of_zero_is_sent() -> None:
    message = encode_compare(Compare("/a", "create_revision", "==", 0))
    assert message.WhichOneof("operand") == "create_revision"
    assert pb.Compare.FromString(message.SerializeToString()).target == pb.Compare.CREATE
