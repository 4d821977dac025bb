"""Names that Envoy looks up as they are asked for (its dynamic forward proxy)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DnsCacheSpec:
    """The one cache of a proxy: filters that look names up and upstreams that use them must agree in every field.

    `refresh_rate` in seconds. Without `ipv6` only IPv4 addresses are asked for, without `ipv4` only IPv6 ones.
    """

    ipv4: bool
    ipv6: bool
    refresh_rate: float


@dataclass(frozen=True, slots=True)
class SniLookup:
    """Connections go to the server name that they ask for, at `port`."""

    cache: DnsCacheSpec
    port: int
