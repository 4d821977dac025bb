"""VirtualService: where requests for a host go. The model; Istio's rules for it are in `istiod.api.rules`."""

from __future__ import annotations

from istiod.api.fields import Base64, Count, Duration, MatchPort, Model, PercentInt, PercentValue, Port, StringMatch
from istiod.api.headers import Headers


class PortSelector(Model):
    """A port by number."""

    number: Port


class Destination(Model):
    """A service, maybe a subset and a port of it."""

    host: str
    subset: str = ""
    port: PortSelector | None = None


class HTTPMatchRequest(Model):
    """Conditions of a route; all must hold."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch | None] = {}
    port: MatchPort = None
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    query_params: dict[str, StringMatch | None] = {}
    ignore_uri_case: bool = False
    without_headers: dict[str, StringMatch | None] = {}
    source_namespace: str = ""
    stat_prefix: str = ""


class HTTPRouteDestination(Model):
    """A destination with its weight."""

    destination: Destination
    weight: Count = 0
    headers: Headers | None = None


class RegexRewrite(Model):
    """Rewrite by regular expression."""

    match: str
    rewrite: str


class HTTPRewrite(Model):
    """Changes of path and authority."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRedirect(Model):
    """An answer that sends the client elsewhere."""

    uri: str = ""
    prefix_rewrite: str = ""
    authority: str = ""
    port: Port | None = None
    derive_port: str | None = None
    scheme: str = ""
    redirect_code: int = 0


class HTTPBody(Model):
    """A response body."""

    string: str | None = None
    bytes: Base64 | None = None


class HTTPDirectResponse(Model):
    """An answer of the proxy itself."""

    status: int
    body: HTTPBody | None = None


class Delegate(Model):
    """Another VirtualService that continues."""

    name: str
    namespace: str = ""


class HTTPRetry(Model):
    """Retries of a route."""

    attempts: Count = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class Delay(Model):
    """An injected delay."""

    percent: PercentInt = 0
    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: PercentValue | None = None


class Abort(Model):
    """An injected error."""

    http_status: int | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: PercentValue | None = None
    percent: PercentInt = 0


class HTTPFaultInjection(Model):
    """Injected faults."""

    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Model):
    """A copy of requests."""

    destination: Destination
    percentage: PercentValue | None = None


class CorsPolicy(Model):
    """Cross-origin policy."""

    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: str = ""


class HTTPRoute(Model):
    """One rule: conditions, and what happens."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: PercentInt | None = None
    mirror_percentage: PercentValue | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class RouteDestination(Model):
    """A destination of TCP or TLS with its weight."""

    destination: Destination
    weight: Count = 0


class L4MatchAttributes(Model):
    """Conditions of a TCP route."""

    destination_subnets: tuple[str, ...] = ()
    port: MatchPort = None
    source_subnet: str = ""
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSMatchAttributes(Model):
    """Conditions of a TLS route."""

    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] = ()
    port: MatchPort = None
    source_labels: dict[str, str] = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TCPRoute(Model):
    """One rule for TCP."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class TLSRoute(Model):
    """One rule for TLS that is passed through."""

    match: tuple[TLSMatchAttributes, ...]
    route: tuple[RouteDestination, ...] = ()


class VirtualService(Model):
    """networking.istio.io VirtualService."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()
