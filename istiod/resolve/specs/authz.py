"""What is checked before a request or a connection is let in (Envoy's RBAC and ext_authz).

Conditions form a tree. One spec is for HTTP or for bytes: `istiod.resolve` leaves out what bytes cannot have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from istiod.resolve.specs.match import HeaderMatch, StringMatch


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds when every part does; without parts always."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds when one part does; without parts never."""

    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when the part does not."""

    part: Condition


@dataclass(frozen=True, slots=True)
class PeerName:
    """The identity in the caller's verified certificate, `spiffe://…`; without a certificate it does not hold."""

    match: StringMatch


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """The address of the connection's other end, within a CIDR."""

    cidr: str


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """The address of the client as proxies on the way report it (`X-Forwarded-For`, PROXY protocol), within a CIDR."""

    cidr: str


@dataclass(frozen=True, slots=True)
class DestinationAddress:
    """The address that was called, within a CIDR."""

    cidr: str


@dataclass(frozen=True, slots=True)
class DestinationPort:
    """The workload's port that was called."""

    port: int


@dataclass(frozen=True, slots=True)
class ServerName:
    """The server name of the TLS handshake."""

    match: StringMatch


@dataclass(frozen=True, slots=True)
class Header:
    """A request header."""

    match: HeaderMatch


@dataclass(frozen=True, slots=True)
class Path:
    """The request's path without its query."""

    match: StringMatch


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """The same by a template: `*` is one segment, `**` any number."""

    template: str


class ValueForm(StrEnum):
    """How a value stands in metadata: alone, in a list, or either way."""

    TEXT = "text"
    LIST = "list"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Metadata:
    """A value that an earlier filter left at a path of its dynamic metadata."""

    filter: str
    path: tuple[str, ...]
    match: StringMatch
    form: ValueForm = ValueForm.TEXT


Condition = (
    AllOf
    | AnyOf
    | Not
    | PeerName
    | PeerAddress
    | ClientAddress
    | DestinationAddress
    | DestinationPort
    | ServerName
    | Header
    | Path
    | PathTemplate
    | Metadata
)
ALWAYS = AllOf()
NEVER = AnyOf()


class Verdict(StrEnum):
    """What a match means. Under ALLOW, what no rule matches is denied."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    LOG = "LOG"


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """One rule by name: what is called, and who calls."""

    name: str
    operation: Condition
    caller: Condition


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules with one verdict."""

    verdict: Verdict
    rules: tuple[RuleSpec, ...]


@dataclass(frozen=True, slots=True)
class RbacSpec:
    """Rules that are enforced, and rules that are only tried: their outcome goes to statistics and metadata, under
    names with `shadow_prefix`.
    """

    rules: RuleSet | None = None
    shadow: RuleSet | None = None
    shadow_prefix: str = ""


@dataclass(frozen=True, slots=True)
class BodySpec:
    """How much of a request's body the server is sent, in bytes. `partial` sends the beginning of a longer one."""

    max_bytes: int
    partial: bool
    as_bytes: bool


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server asked over HTTP. Header names are matches; `added` are (name, format string)."""

    upstream: str
    host: str
    path_prefix: str
    sent: tuple[StringMatch, ...]
    added: tuple[tuple[str, str], ...]
    to_upstream: tuple[StringMatch, ...]
    to_client_on_deny: tuple[StringMatch, ...]
    to_client_on_allow: tuple[StringMatch, ...]


@dataclass(frozen=True, slots=True)
class GrpcServer:
    """A server asked over Envoy's gRPC."""

    upstream: str
    authority: str


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """A server is asked about what `when` matches, before all rules. `timeout` in seconds.

    `mark` begins the names of the rules of `when` and of no other's, which is how the second filter knows that the
    first one matched. `status_on_error` 0 = Envoy's 403.
    """

    when: RbacSpec
    mark: str
    server: HttpServer | GrpcServer
    timeout: float
    fail_open: bool = False
    status_on_error: int = 0
    clear_route_cache: bool = False
    body: BodySpec | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """Everything, in order: `checks` before tokens are looked at, `rules` after."""

    checks: tuple[CheckSpec | RbacSpec, ...] = ()
    rules: tuple[RbacSpec, ...] = ()


NO_AUTHORIZATION = Authorization()
