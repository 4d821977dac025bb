"""Virtual addresses for services that have none of their own, from a ledger that outlives restarts. Pure.

Range and purpose are Istio's (240.240.0.0/16, so that a name resolves to something a sidecar can tell apart). An
address once given to a host stays with it; a new host starts at a place derived from its name, so that
clusters mostly agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from ipaddress import IPv4Address

FIRST = int(IPv4Address("240.240.0.1"))
SIZE = (1 << 16) - 2


def allocate(hosts: Iterable[str], ledger: Mapping[str, str]) -> dict[str, str]:
    """The ledger with an address for each of these hosts, as far as the range reaches."""
    result = dict(ledger)
    taken = set(result.values())
    for host in sorted(set(hosts) - set(result)):
        if len(taken) >= SIZE:
            break
        place = int.from_bytes(blake2b(host.encode(), digest_size=4).digest()) % SIZE
        while (address := str(IPv4Address(FIRST + place))) in taken:
            place = (place + 1) % SIZE
        result[host] = address
        taken.add(address)
    return result
