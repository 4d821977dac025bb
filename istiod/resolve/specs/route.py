"""HTTP routing (Envoy's RouteConfiguration)."""

from __future__ import annotations

from dataclasses import dataclass

from istiod.resolve.specs.match import ClaimMatch, HeaderMatch, QueryMatch, StringMatch
from istiod.resolve.specs.patch import PatchSpec


@dataclass(frozen=True, slots=True)
class HeaderOperations:
    """Changes to headers: `set` overwrites, `add` appends, `remove` deletes. Order is the user's."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


NO_HEADERS = HeaderOperations()


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """What a request must look like. `path` None matches every path; `template` is an Envoy URI template."""

    path: StringMatch | None = None
    template: str = ""
    path_separated_prefix: bool = False  # the prefix ends at a path segment (Gateway API PathPrefix)
    headers: tuple[HeaderMatch, ...] = ()
    query: tuple[QueryMatch, ...] = ()
    claims: tuple[ClaimMatch, ...] = ()
    connect: bool = False


@dataclass(frozen=True, slots=True)
class RetrySpec:
    """Retries. Times in seconds. After `previous_priorities` tries a locality tier is left for another; 0: never."""

    retry_on: tuple[str, ...]
    attempts: int
    per_try_timeout: float | None = None
    retriable_status_codes: tuple[int, ...] = ()
    previous_hosts: bool = True
    previous_priorities: int = 0
    host_selection_attempts: int = 5
    backoff_base: float | None = None
    backoff_max: float | None = None
    ignore_previous_hosts: bool = False


@dataclass(frozen=True, slots=True)
class WeightedCluster:
    """An upstream and its share of the requests."""

    name: str
    weight: int
    request_headers: HeaderOperations = NO_HEADERS
    response_headers: HeaderOperations = NO_HEADERS
    host_rewrite: str = ""


@dataclass(frozen=True, slots=True)
class MirrorSpec:
    """A copy of some requests to another upstream; `percent` of them."""

    cluster: str
    percent: float


@dataclass(frozen=True, slots=True)
class HashPolicy:
    """What consistent hashing looks at: exactly one of header, cookie, query, source address.

    `cookie_ttl` None = only an existing cookie counts; else Envoy makes one (0 = session cookie).
    """

    header: str = ""
    cookie: str = ""
    cookie_path: str = ""
    cookie_ttl: float | None = None
    cookie_attributes: tuple[tuple[str, str], ...] = ()
    query: str = ""
    source_ip: bool = False
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class RouteAction:
    """Forward to upstreams. `timeout` 0 = none; it counts from the end of the request on, or with `whole_stream` from
    its beginning, which is what gRPC's own client knows; so does the deadline that a gRPC call brings along. At most
    one rewrite is set; `regex_rewrite` is (pattern, substitution).
    """

    clusters: tuple[WeightedCluster, ...]
    timeout: float = 0.0
    retry: RetrySpec | None = None
    prefix_rewrite: str | None = None
    path_rewrite: str | None = None
    regex_rewrite: tuple[str, str] | None = None
    host_rewrite: str = ""
    auto_host_rewrite: bool = False
    mirrors: tuple[MirrorSpec, ...] = ()
    hash_policies: tuple[HashPolicy, ...] = ()
    idle_timeout: float | None = None
    max_grpc_timeout: float | None = None
    whole_stream: bool = False
    hedge_on_per_try_timeout: bool = False
    upgrades: tuple[str, ...] = ()  # e.g. CONNECT
    not_found_status: int = 503  # the answer while there is no such upstream: 503, 404 or 500
    forwarded_host: bool = False  # keep an authority that is rewritten in x-forwarded-host


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer with a redirect. Empty fields keep the request's part; `port` 0 keeps it, `derive_port` writes the
    scheme's default.
    """

    status: int = 301
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    prefix: str | None = None
    regex: tuple[str, str] | None = None
    strip_query: bool = False
    https: bool = False


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """Answer from the proxy itself."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """Injected delay (seconds, percent of requests) and abort (HTTP status or gRPC status, percent)."""

    delay: float | None = None
    delay_percent: float = 0.0
    abort_status: int | None = None
    abort_grpc_status: int | None = None
    abort_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class CorsSpec:
    """Cross-origin policy of a route."""

    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: float | None = None
    allow_credentials: bool | None = None
    forward_not_matching_preflights: bool = True


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """One route: the first whose match holds decides."""

    name: str
    match: RouteMatch
    action: RouteAction | Redirect | DirectResponse
    request_headers: HeaderOperations = NO_HEADERS
    response_headers: HeaderOperations = NO_HEADERS
    fault: FaultSpec | None = None
    cors: CorsSpec | None = None
    operation: str = ""  # tracing: Envoy's decorator
    config: str = ""  # the VirtualService behind it, as metadata
    stat_prefix: str = ""  # statistics of its own, under this name
    origin: str = ""  # for people, never encoded: the field of the VirtualService that it was made of


@dataclass(frozen=True, slots=True)
class VirtualHostSpec:
    """Routes of a set of host names. Domains are unique over one route configuration."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[RouteSpec, ...]
    require_tls: bool = False
    include_attempt_count: bool = True


MAX_DIRECT_RESPONSE_BODY = 1 << 20  # bytes; Envoy refuses route configurations with longer ones, at 4 KiB by itself


@dataclass(frozen=True, slots=True)
class RouteConfigSpec:
    """A named set of virtual hosts, sent as RDS or inline in a connection manager."""

    name: str
    virtual_hosts: tuple[VirtualHostSpec, ...]
    ignore_port_in_host_matching: bool = True
    max_direct_response_body: int = MAX_DIRECT_RESPONSE_BODY
    patches: tuple[PatchSpec, ...] = ()
