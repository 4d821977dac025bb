"""Joining a mesh: the token, the request, the answer, and what is checked before a cluster is let in. Pure.

A token is pasted once. It carries where the store is, the store's root certificate, and a key and certificate for a
store user that can do nothing but write one request and read one answer until the token runs out. Keys of the new
cluster are made there and never leave it: only signing requests do.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b

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
_CHECKSUM_BYTES = 4
_CLUSTER = re.compile(r"[a-z0-9]([a-z0-9.-]{0,45}[a-z0-9])?")  # in a common name, 64 at most, with what is around it
_NETWORK = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")  # a Kubernetes label's value
_TRUST_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?")  # a leading dot would mean all below it


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
    store_root_pem: bytes
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
    gateway_csr: bytes
    sent: float
    schema_min: int
    schema_max: int
    version: str


class JoinAnswer(msgspec.Struct, frozen=True):
    """The signed certificates, or everything that stands against it. Certificates are PEM, leaf first."""

    problems: tuple[tuple[str, str, str], ...] = ()  # (path, message, fix)
    intermediate_pem: bytes = b""
    etcd_pem: bytes = b""
    gateway_pem: bytes = b""
    roots_pem: bytes = b""
    store_roots_pem: bytes = b""

    @property
    def accepted(self) -> bool:
        """Whether the cluster is a member now."""
        return not self.problems


def format_token(token: JoinToken) -> str:
    """The text to paste."""
    body = msgspec.msgpack.encode(token)
    return PREFIX + base64.urlsafe_b64encode(body + _checksum(body)).decode().rstrip("=")


def parse_token(text: str) -> JoinToken:
    """Read a pasted token; raises InvalidInput that never repeats the token's text."""
    text = "".join(text.split())
    if not text.startswith(PREFIX) or len(text) > MAX_TOKEN_CHARACTERS:
        raise InvalidInput(
            [_wrong("is no join token", "paste the whole line that `isthmus cluster token create` printed")]
        )
    coded = text.removeprefix(PREFIX)
    try:
        raw = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
        if checksum != _checksum(body):
            raise ValueError
        return msgspec.msgpack.decode(body, type=JoinToken)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise InvalidInput([_wrong("is damaged or cut short", "copy the whole token again")]) from None


def _checksum(body: bytes) -> bytes:
    """Against slips of the hand, not of evil: what is in a token is checked where it is used."""
    return blake2b(body, digest_size=_CHECKSUM_BYTES).digest()


def check_grant(cluster: str, network: str, trust_domain: str) -> tuple[Finding, ...]:
    """What stands against giving out a token for these names; empty if nothing does."""
    wrong = []
    for path, value, form, fix in (
        ("cluster", cluster, _CLUSTER, "use lower-case letters, digits, - and ., 47 at most"),
        ("network", network, _NETWORK, "use letters, digits, -, _ and ., 63 at most"),
        ("trustDomain", trust_domain, _TRUST_DOMAIN, "use a lower-case DNS name"),
    ):
        if form.fullmatch(value) is None:
            message = f"{value[:300]!r} cannot be a {path}"
            wrong.append(
                Finding(Severity.ERROR, "InvalidName", f"Token for cluster {cluster[:100]!r}", path, message, fix)
            )
    return tuple(wrong)


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
    if not abs(skew) <= MAX_CLOCK_SKEW_SECONDS:  # a request may say that its time is no number
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
