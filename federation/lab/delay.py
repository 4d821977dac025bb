"""Holds packets back: a delay line on a netfilter queue, for kernels without netem. Its own process, inside a
namespace, as root.

Packets come from a rule `-j NFQUEUE --queue-num N --queue-bypass` on the *receiving* side (held on the sending side
they would count as the sender's unsent data, and TCP would stop). Only their ids are read; the verdict is given when
they are due. Order is kept. Protocol: nfnetlink_queue, see linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import argparse
import heapq
import random
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

NETLINK_NETFILTER = 12
SUBSYSTEM = 3 << 8
PACKET, VERDICT, CONFIG = SUBSYSTEM | 0, SUBSYSTEM | 1, SUBSYSTEM | 2
REQUEST = 1
ATTRIBUTE_COMMAND, ATTRIBUTE_PARAMETERS, ATTRIBUTE_QUEUE_LENGTH, ATTRIBUTE_MASK, ATTRIBUTE_FLAGS = 1, 2, 3, 4, 5
ATTRIBUTE_PACKET_HEADER, ATTRIBUTE_VERDICT_HEADER = 1, 2
BIND, COPY_META = 1, 1
FAIL_OPEN, GSO = 1, 4
DROP, ACCEPT = 0, 1
QUEUE_LENGTH = 100_000
SO_RCVBUFFORCE, SOL_NETLINK, NETLINK_NO_ENOBUFS = 33, 270, 5
MAX_BATCH = 64


def encode_attribute(kind: int, data: bytes) -> bytes:
    """One netlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def encode_message(kind: int, queue: int, attributes: bytes) -> bytes:
    """One nfnetlink message to a queue."""
    body = struct.pack("=BBH", socket.AF_UNSPEC, 0, socket.htons(queue)) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST, 0, 0) + body


def decode_packets(data: bytes) -> Iterator[int]:
    """The ids of the packets that a datagram from the kernel announces."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if length < 16:
            return
        if kind == PACKET:
            yield from _packet_id(data[offset + 20 : offset + length])
        offset += (length + 3) & ~3


def _packet_id(attributes: bytes) -> Iterator[int]:
    offset = 0
    while offset + 8 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, offset)
        if kind == ATTRIBUTE_PACKET_HEADER:
            yield struct.unpack_from(">I", attributes, offset + 4)[0]
            return
        offset += max(4, (length + 3) & ~3)


class Line:
    """Packets in the order in which they are due. Pure; time and chance are arguments, all times seconds."""

    def __init__(self, delay: float, jitter: float, loss: float) -> None:
        self._delay, self._jitter, self._loss = delay, jitter, loss
        self._held: list[tuple[float, int, int, int]] = []
        self._last = 0.0
        self._count = 0

    def put(self, packet: int, now: float, jitter: float, luck: float) -> None:
        """A packet has come; `jitter` in -1..1 and `luck` in 0..1 are drawn by the caller. Lost ones are dropped at
        once.
        """
        if luck < self._loss:
            heapq.heappush(self._held, (now, self._count, packet, DROP))
        else:
            self._last = max(self._last, now + max(0.0, self._delay + jitter * self._jitter))
            heapq.heappush(self._held, (self._last, self._count, packet, ACCEPT))
        self._count += 1

    def due(self, now: float) -> Iterator[tuple[int, int]]:
        """Packets with their verdicts whose time has come."""
        while self._held and self._held[0][0] <= now:
            _, _, packet, verdict = heapq.heappop(self._held)
            yield packet, verdict

    def wait(self, now: float) -> float | None:
        """Seconds until the next one is due; None if none is held."""
        return max(0.0, self._held[0][0] - now) if self._held else None


def open_queue(queue: int) -> socket.socket:
    """A socket bound to a queue of this namespace."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    kernel.bind((0, 0))
    kernel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    kernel.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
    flags = struct.pack(">I", FAIL_OPEN | GSO)
    for attributes in (
        encode_attribute(ATTRIBUTE_COMMAND, struct.pack(">BBH", BIND, 0, 0)),
        encode_attribute(ATTRIBUTE_PARAMETERS, struct.pack(">IB", 0, COPY_META)),
        encode_attribute(ATTRIBUTE_QUEUE_LENGTH, struct.pack(">I", QUEUE_LENGTH)),
        encode_attribute(ATTRIBUTE_MASK, flags) + encode_attribute(ATTRIBUTE_FLAGS, flags),
    ):
        kernel.send(encode_message(CONFIG, queue, attributes))
    kernel.setblocking(False)
    return kernel


def run(queue: int, line: Line) -> None:
    """Hold and release packets until killed."""
    kernel = open_queue(queue)
    poll = select.poll()
    poll.register(kernel, select.POLLIN)
    while True:
        for packet, verdict in line.due(time.monotonic()):
            header = encode_attribute(ATTRIBUTE_VERDICT_HEADER, struct.pack(">II", verdict, packet))
            kernel.send(encode_message(VERDICT, queue, header))
        wait = line.wait(time.monotonic())
        # poll counts in whole milliseconds: the last fraction of one is spent asking again.
        if not poll.poll(None if wait is None else int(wait * 1000)):
            continue
        for data in _datagrams(kernel):
            now = time.monotonic()
            for packet in decode_packets(data):
                line.put(packet, now, random.uniform(-1, 1), random.random())


def _datagrams(kernel: socket.socket) -> Iterator[bytes]:
    for _ in range(MAX_BATCH):
        try:
            yield kernel.recv(65_536)
        except BlockingIOError:
            return


def main() -> None:
    """Entry of `python -m federation.lab.delay`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets that are lost, 0 to 1")
    said = parser.parse_args()
    sys.stderr.write(f"queue {said.queue}: {said.delay_ms:g} ms ± {said.jitter_ms:g} ms, loss {said.loss:g}\n")
    run(said.queue, Line(said.delay_ms / 1000, said.jitter_ms / 1000, said.loss))


if __name__ == "__main__":
    main()
