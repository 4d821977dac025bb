"""The delay line: order, due times, loss, and the kernel's message format."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from federation.lab.delay import (
    ACCEPT,
    DROP,
    PACKET,
    Line,
    decode_packets,
    encode_attribute,
    encode_message,
)


def test_packets_are_due_after_the_delay() -> None:
    line = Line(0.05, 0, 0)
    assert line.wait(0.0) is None
    line.put(7, 10.0, 0, 1)
    assert list(line.due(10.049)) == []
    assert line.wait(10.04) is not None
    assert abs((line.wait(10.04) or 0) - 0.01) < 1e-9
    assert list(line.due(10.0501)) == [(7, ACCEPT)]


@given(st.lists(st.tuples(st.floats(0, 0.1), st.floats(-1, 1), st.floats(0, 1)), max_size=30))
def test_order_is_kept_and_everything_gets_a_verdict(packets: list[tuple[float, float, float]]) -> None:
    line, now = Line(0.02, 0.02, 0.3), 1.0
    for number, (gap, jitter, luck) in enumerate(packets):
        now += gap
        line.put(number, now, jitter, luck)
    verdicts = list(line.due(now + 1))
    assert sorted(packet for packet, _ in verdicts) == list(range(len(packets)))
    passed = [packet for packet, verdict in verdicts if verdict == ACCEPT]
    assert passed == sorted(passed)
    assert {p for p, v in verdicts if v == DROP} == {n for n, (_, _, luck) in enumerate(packets) if luck < 0.3}


def test_messages_of_the_kernel() -> None:
    header = encode_attribute(1, struct.pack(">IHBB", 4711, 0x0800, 0, 0)[:7])
    other = encode_attribute(5, b"abc")
    data = encode_message(PACKET, 3, other + header) + encode_message(PACKET, 3, header) + encode_message(0, 0, b"")
    assert list(decode_packets(data)) == [4711, 4711]


@given(st.binary(max_size=200))
def test_garbage_from_the_kernel_ends(data: bytes) -> None:
    list(decode_packets(data))
