"""Joining a mesh: the token, the request, the answer, and what is checked before a cluster is let in. Pure.

A token is pasted once. It carries where the store is, the mesh's root certificate, and a key and certificate for a
store user
that can do nothing but write one request and read one answer until the token runs out. Keys of the new cluster are made
there and never leave it: only signing requests do.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence

import msgspec

from federation.keys import Layout
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.records import SCHEMA
from federation.schema import records_pb2 as pb

PREFIX = "isthmus1."
MAX_TOKEN_CHARACTERS = 16_384
MAX_CLOCK_SKEW_SECONDS = 60.0
OPEN, USED, REVOKED = "open", "used", "revoked"


class JoinToken(msgspec.Struct, frozen=True, array_like=True):
    """What `cluster token create` prints. `key_pem` and `certificate_pem` are the joining user's; times are Unix
    seconds.
    """

    mesh: str
    id: str
    cluster: str
    network: str
    region: str
    trust_domain: str
    endpoints: tuple[str, ...]
    root_pem: bytes
    key_pem: bytes
    certificate_pem: bytes
    expires: float


class TokenRecord(msgspec.Struct, frozen=True):
    """The authority's record of a token, without anything secret."""

    id: str
    cluster: str
    network: str
    region: str
    trust_domain: str
    created: float
    expires: float
    state: str = OPEN


class JoinRequest(msgspec.Struct, frozen=True):
    """What the new cluster asks to have signed, and says of itself."""

    token: str
    cluster: str
    uid: str
    network: str
    region: str
    trust_domain: str
    intermediate_csr: bytes
    etcd_csr: bytes
    sent: float
    schema_min: int
    schema_max: int
    version: str


class JoinAnswer(msgspec.Struct, frozen=True):
    """The signed certificates, or everything that stands against it. Certificates are PEM, leaf first."""

    problems: tuple[tuple[str, str, str], ...] = ()  # (path, message, fix)
    intermediate_pem: bytes = b""
    etcd_pem: bytes = b""
    roots_pem: bytes = b""

    @property
    def accepted(self) -> bool:
        """Whether the cluster is a member now."""
        return not self.problems


def format_token(token: JoinToken) -> str:
    """The text to paste."""
    return PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(token)).decode().rstrip("=")


def parse_token(text: str) -> JoinToken:
    """Read a pasted token; raises InvalidInput that never repeats the token's text."""
    text = "".join(text.split())
    if not text.startswith(PREFIX) or len(text) > MAX_TOKEN_CHARACTERS:
        raise InvalidInput(
            [_wrong("is no join token", "paste the whole line that `isthmus cluster token create` printed")]
        )
    body = text.removeprefix(PREFIX)
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=JoinToken)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise InvalidInput([_wrong("is damaged or cut short", "copy the whole token again")]) from None


def _wrong(message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "InvalidToken", "Join token", "", message, fix)


def token_key(layout: Layout, token: str) -> str:
    """Key of a token's record; the authority alone writes it."""
    return f"{layout.joins}{token}/token"


def request_key(layout: Layout, token: str) -> str:
    """Key of the request; the token's holder writes it."""
    return f"{layout.joins}{token}/request"


def answer_key(layout: Layout, token: str) -> str:
    """Key of the answer; the authority alone writes it."""
    return f"{layout.joins}{token}/answer"


def check_request(
    request: JoinRequest, token: TokenRecord | None, clusters: Iterable[pb.Cluster], now: float
) -> tuple[Finding, ...]:
    """Everything that stands against a request, all at once; empty when the cluster may join. `now` is Unix seconds."""
    members = {cluster.name: cluster for cluster in clusters}
    return tuple(
        _finding(request, *problem)
        for problem in (
            *_token_problems(request, token, now),
            *_member_problems(request, members),
            *_peer_problems(request, now),
        )
    )


Problem = tuple[str, str, str, str]


def _token_problems(request: JoinRequest, token: TokenRecord | None, now: float) -> Sequence[Problem]:
    if token is None:
        return [("UnknownToken", "token", "is not known to the authority", "create a new token")]
    problems: list[Problem] = []
    if token.state != OPEN:
        problems.append(
            ("TokenNotOpen", "token", f"is {token.state}: a token admits one cluster once", "create a new token")
        )
    if now > token.expires:
        late = f"ran out {int(now - token.expires)} s ago"
        problems.append(("TokenExpired", "token", late, "create a new token, or one with a longer --ttl"))
    for field, asked, granted in (
        ("cluster", request.cluster, token.cluster),
        ("network", request.network, token.network),
        ("region", request.region, token.region),
        ("trustDomain", request.trust_domain, token.trust_domain),
    ):
        if asked != granted:
            problems.append(
                ("NotAsGranted", field, f"{asked!r} is asked for, the token is for {granted!r}", f"use {granted!r}")
            )
    return problems


def _member_problems(request: JoinRequest, members: dict[str, pb.Cluster]) -> Sequence[Problem]:
    problems: list[Problem] = []
    known = members.get(request.cluster)
    if known is not None and known.uid != request.uid and known.state != "left":
        problems.append(
            (
                "NameInUse",
                "cluster",
                f"{request.cluster!r} is a member with another uid",
                "choose another name, or let it leave first",
            )
        )
    for name, member in members.items():
        if name != request.cluster and member.trust_domain == request.trust_domain and member.state != "left":
            problems.append(
                (
                    "TrustDomainInUse",
                    "trustDomain",
                    f"{request.trust_domain!r} belongs to cluster {name}",
                    "give each cluster its own",
                )
            )
    return problems


def _peer_problems(request: JoinRequest, now: float) -> Sequence[Problem]:
    problems: list[Problem] = []
    skew = request.sent - now
    if abs(skew) > MAX_CLOCK_SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        problems.append(
            ("ClockSkew", "clock", f"is {abs(skew):.0f} s {way} the authority's", "synchronise the clocks (NTP)")
        )
    if not request.schema_min <= SCHEMA <= request.schema_max:
        span = f"{request.schema_min} to {request.schema_max}"
        problems.append(
            (
                "SchemaMismatch",
                "schema",
                f"{span} does not include the mesh's {SCHEMA}",
                "use a matching version of Isthmus",
            )
        )
    return problems


def _finding(request: JoinRequest, code: str, path: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, code, f"Join request of {request.cluster[:100]}", path, message, fix)
