"""Free TCP ports for processes of the lab.

They lie below the range from which the kernel picks the ports of outgoing connections: otherwise a client that dials a
stopped server may be given the server's own port, connect to itself, and keep the server from coming back.
"""

from __future__ import annotations

import os
import random
import socket

FIRST = 20_000
LAST = 32_000
PARTS = 61
_given: set[int] = set()  # by this process


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Different ports that nobody listens on now. Raises OSError when there are not enough."""
    found: list[int] = []
    ports = random.sample(range(FIRST, LAST), LAST - FIRST)
    # Nobody holds a port between this look and its use: processes beside each other begin with different ones, and one
    # process gives a port away again only when it has no other.
    ports.sort(key=lambda port: (port in _given, port % PARTS != os.getpid() % PARTS))
    for port in ports:
        if len(found) == count:
            break
        if _is_free(host, port):
            found.append(port)
    else:
        raise OSError(f"fewer than {count} free ports between {FIRST} and {LAST}")
    _given.update(found)
    return found


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True
