"""The server name that tells an east-west gateway which service a TLS connection is for.

Owns the form `outbound_.<port>_.<subset>_.<host>` (Istio's SNI-DNAT names) and the upstream name it mirrors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True, order=True)
class OutboundName:
    """One port of a service, optionally narrowed to a subset: the name of an upstream and of its SNI."""

    port: int
    subset: str
    host: str

    def format_cluster(self) -> str:
        """`outbound|<port>|<subset>|<host>`, the name of the Envoy cluster."""
        return f"outbound|{self.port}|{self.subset}|{self.host}"

    def format_sni(self) -> str:
        """`outbound_.<port>_.<subset>_.<host>`, the server name of a mutual TLS connection to it."""
        return f"outbound_.{self.port}_.{self.subset}_.{self.host}"

    @classmethod
    def parse(cls, text: str) -> OutboundName:
        """Read either form; raises ValueError on anything else."""
        parts = text.split("|", 3) if "|" in text else text.split("_.", 3)
        if len(parts) != 4 or parts[0] != "outbound" or not _is_port(parts[1]) or not parts[3]:
            raise ValueError(f"{text[:300]!r} is neither outbound|port|subset|host nor outbound_.port_.subset_.host")
        return cls(int(parts[1]), parts[2], parts[3])


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and 0 < int(text) < 65536
