"""What is known of connected proxies, as values for status and debug views."""

from __future__ import annotations

from dataclasses import dataclass

from istiod.xds.session import TypeStatus


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """One connected proxy. Times are seconds ago; `identity` is what its certificate or token says, "" on plaintext.

    `behind` is for how long something it should have was not acknowledged; 0 if it has everything.
    """

    id: str
    type: str
    cluster: str
    network: str
    namespace: str
    identity: str
    connected: float
    delta: bool
    types: tuple[TypeStatus, ...]
    certificate_seconds_left: float | None = None
    certificate_life_seconds: float | None = None
    behind: float = 0.0

    @property
    def state(self) -> str:
        """`nack` if anything was refused, `stale` while something is on its way, else `synced`."""
        if any(item.refused for item in self.types):
            return "nack"
        return "stale" if any(item.pending for item in self.types) or not self.types else "synced"
