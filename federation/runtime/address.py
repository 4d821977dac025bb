"""Addresses to listen on or to dial, as flags give them."""

from __future__ import annotations

from dataclasses import dataclass

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("127.0.0.1", "::1", "localhost")


def parse_address(text: str, flag: str) -> Address | None:
    """`host:port`; "" or "off" is None. Raises InvalidInput that names the flag."""
    if text in ("", "off"):
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        message = f"{text!r} is not host:port"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidFlag", flag, "", message, f"e.g. {flag} 127.0.0.1:15010")])
    return Address(host.strip("[]"), int(port))
