"""Which listener and which filter chain a connection meets: Envoy's order, without looking back."""

from __future__ import annotations

import pytest

from istiod.resolve.specs.listener import (
    ChainMatch,
    Direction,
    FilterChainSpec,
    InspectorSkip,
    ListenerSpec,
    TcpProxy,
)
from istiod.why.connections import Connection, dialled_listener, find_chain, outbound_listener

HANDLER = TcpProxy("x", (("up", 1),))


def chain(name: str, **match: object) -> FilterChainSpec:
    return FilterChainSpec(name, ChainMatch(**match), HANDLER)  # type: ignore[arg-type]


def listener(*chains: FilterChainSpec, **fields: object) -> ListenerSpec:
    said = {"name": "l", "address": "0.0.0.0", "port": 80, "direction": Direction.OUTBOUND, "tls_inspector": True,
            "http_inspector": True, **fields}  # fmt: skip
    return ListenerSpec(chains=chains, **said)  # type: ignore[arg-type]


CHAINS = (
    chain("port", destination_port=8080, transport_protocol="tls"),
    chain("wide", destinations=("10.0.0.0/8",)),
    chain("narrow", destinations=("10.1.0.0/16",), sources=("10.9.0.0/16",)),
    chain("name", server_names=("a.test",), transport_protocol="tls"),
    chain("below", server_names=("*.test",), transport_protocol="tls"),
    chain("http", transport_protocol="raw_buffer", application_protocols=("http/1.1",)),
    chain("raw", transport_protocol="raw_buffer"),
)


@pytest.mark.parametrize(
    ("connection", "found"),
    [
        (Connection("", 8080, tls=True), "port"),
        (Connection("", 8080), "default"),  # no way back from the port to chains without one
        (Connection("10.2.0.1", 80), "wide"),
        (Connection("10.1.0.1", 80, "10.9.0.1"), "narrow"),
        (Connection("10.1.0.1", 80, "10.8.0.1"), "default"),  # nor from the narrower range
        (Connection("", 80, tls=True, server_name="a.test"), "name"),
        (Connection("", 80, tls=True, server_name="x.y.test"), "below"),
        (Connection("", 80, tls=True, server_name="other"), "default"),
        (Connection("", 80, protocols=("http/1.1",)), "http"),
        (Connection("", 80), "raw"),
    ],
)
def test_the_most_specific_chain_wins(connection: Connection, found: str) -> None:
    one = find_chain(listener(*CHAINS, default_chain=chain("default")), connection)
    assert one is not None
    assert one.name == found


def test_nothing_takes_it() -> None:
    assert find_chain(listener(chain("tls", transport_protocol="tls")), Connection("", 80)) is None


def test_what_no_inspector_sees_does_not_count() -> None:
    secure, http = Connection("", 80, tls=True, server_name="a.test"), Connection("", 80, protocols=("http/1.1",))
    blind = listener(*CHAINS, tls_inspector=False, http_inspector=False)
    skipping = listener(*CHAINS, skip=InspectorSkip((80,), (80,)))
    for made in (blind, skipping):
        for connection in (secure, http):
            found = find_chain(made, connection)
            assert found is not None
            assert found.name == "raw"


def test_a_captured_call_finds_its_listener() -> None:
    own = listener(name="own", address="10.0.0.1")
    shared = listener(name="shared")
    inbound = listener(name="inbound", address="10.0.0.1", direction=Direction.INBOUND)
    rest = listener(name="rest", port=15001, use_original_dst=True)
    every = [inbound, shared, own, rest]

    def met(address: str, port: int) -> str:
        found = outbound_listener(every, Connection(address, port))
        assert found is not None
        return found.name

    assert (met("10.0.0.1", 80), met("10.0.0.2", 80), met("10.0.0.1", 81)) == ("own", "shared", "rest")
    assert met("10.0.0.2", 15001) == "rest"


def test_only_what_is_bound_can_be_dialled() -> None:
    captured = listener(name="captured", bind_to_port=False)
    bound = listener(name="bound", address="127.0.0.1")
    assert dialled_listener([captured], Connection("", 80)) is None
    assert dialled_listener([captured, bound], Connection("127.0.0.1", 80)) is bound
    assert dialled_listener([bound], Connection("", 81)) is None
