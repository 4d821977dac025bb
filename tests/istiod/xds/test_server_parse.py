"""Requests are taken apart by hand so that a class of proxies shares what it has in common, with protobuf's own result."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from istiod.xds.server import _parse

words = st.text(max_size=12)


@given(words, words, st.lists(words, max_size=5), st.dictionaries(words, words, max_size=5), words, st.integers(0, 400))
def test_a_request_reads_as_protobuf_reads_it(
    node: str, url: str, names: list[str], known: dict[str, str], error: str, padding: int
) -> None:
    message = DeltaDiscoveryRequest(type_url=url, resource_names_subscribe=names, initial_resource_versions=known)
    if node or padding:
        message.node.id = node + "x" * padding
    if error:
        message.error_detail.message = error
    found, request = _parse(message.SerializeToString(), delta=True)
    assert found == message.node
    assert (request.type_url, request.names, request.error) == (url, frozenset(names), error)
    assert request.initial_versions == (known or None)


def test_long_requests_of_one_class_are_one_object() -> None:
    names = [f"outbound|80||service-{n}.shop.svc.cluster.local" for n in range(200)]
    requests = []
    for proxy in ("a", "b"):
        message = DeltaDiscoveryRequest(resource_names_subscribe=names)
        message.node.id = proxy
        node, request = _parse(message.SerializeToString(), delta=True)
        assert node.id == proxy
        requests.append(request)
    assert requests[0] is requests[1]


@pytest.mark.parametrize("raw", [b"\x0a", b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff\xff\x01", b"\x0a\x02\x0a\x09"])
def test_a_node_that_is_cut_short_is_an_error(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        _parse(raw, delta=True)
