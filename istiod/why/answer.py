"""The answer to "what would happen to this request", as values for programs and for the printer.

Written by `istiod.why.explain`, read by `isthmus proxy why`. Nothing is decided here.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Struct(msgspec.Struct, frozen=True, rename="camel"):
    """Fields have camelCase names on the wire."""


class Outcome(StrEnum):
    """What becomes of a request: passed on, answered by the proxy itself, refused, or not known from here."""

    ROUTED = "routed"
    ANSWERED = "answered"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Cause(Struct, frozen=True):
    """An object, as findings name it, and the field of it that decided ("" = the object as a whole)."""

    object: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.object} {self.field}".rstrip()


class Step(Struct, frozen=True):
    """One thing that happens to the request. `topic` is a word of a fixed set (listener, chain, route, …)."""

    topic: str
    said: str
    causes: tuple[Cause, ...] = ()


class Host(Struct, frozen=True):
    """An endpoint of an upstream. Lower priorities get requests only when the higher ones fail."""

    address: str
    health: str
    locality: str
    priority: int
    weight: int
    mutual_tls: bool


class Upstream(Struct, frozen=True):
    """Where requests go: `percent` of them; a mirror gets copies. `endpoints` are None where Envoy looks them up."""

    name: str
    percent: float
    mirror: bool = False
    endpoints: tuple[Host, ...] | None = None
    causes: tuple[Cause, ...] = ()


class Answer(Struct, frozen=True):
    """All of it. Names are those in Envoy; "" where the request did not come so far. `status` is what the caller gets
    from the proxy itself, None where the upstream answers or the connection is closed.
    """

    proxy: str
    request: str
    outcome: Outcome
    status: int | None
    reason: str
    steps: tuple[Step, ...]
    listener: str = ""
    chain: str = ""
    route_configuration: str = ""
    virtual_host: str = ""
    route: str = ""
    upstreams: tuple[Upstream, ...] = ()
