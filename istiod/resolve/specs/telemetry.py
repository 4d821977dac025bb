"""What a proxy tells about its traffic: access logs, statistics by access log, spans, and who it is to its peers.

Times in seconds, None = Envoy's default. Format strings are Envoy's. Clusters are upstreams by name, which the proxy
has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """A gRPC server behind an upstream; `metadata` goes with every call."""

    cluster: str
    authority: str
    timeout: float | None = None
    metadata: Pairs = ()


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An HTTP server behind an upstream, with headers (format strings)."""

    cluster: str
    uri: str
    timeout: float
    headers: Pairs = ()


@dataclass(frozen=True, slots=True)
class FileLog:
    """Lines of a file: the text of `format`, or JSON objects like `json`, itself JSON text ("" = no JSON)."""

    path: str
    format: str = ""
    json: str = ""
    omit_empty: bool = False


@dataclass(frozen=True, slots=True)
class OtelLog:
    """Records sent to an OpenTelemetry collector: a text as body, and attributes."""

    target: GrpcTarget
    name: str
    body: str
    attributes: Pairs = ()


@dataclass(frozen=True, slots=True)
class GrpcLog:
    """Entries sent to an access log service of Envoy's, for requests or (not `http`) for connections."""

    target: GrpcTarget
    name: str
    http: bool
    filter_state: tuple[str, ...] = ()
    request_headers: tuple[str, ...] = ()
    response_headers: tuple[str, ...] = ()
    response_trailers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stat:
    """A counter, or a histogram of a `unit` ("Milliseconds", "Bytes"), with tags. `value` "" counts one each time."""

    name: str
    tags: Pairs
    value: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class StatsLog:
    """Statistics under Envoy's own names, for whoever scrapes the proxy."""

    stats: tuple[Stat, ...]


class LogEvent(StrEnum):
    """When a log is written: always, or only at one of the moments that a connection has."""

    ANY = ""
    CONNECTED = "TcpUpstreamConnected"
    ENDED = "TcpConnectionEnd"


@dataclass(frozen=True, slots=True)
class AccessLogSpec:
    """A log of requests or connections, of those that the CEL `filter_expression` holds for ("" = all)."""

    sink: FileLog | OtelLog | GrpcLog | StatsLog
    filter_expression: str = ""
    only_no_route: bool = False  # listener logs: only connections without a matching chain
    event: LogEvent = LogEvent.ANY


class TagKind(StrEnum):
    """Where the value of a span's tag comes from."""

    LITERAL = "literal"
    ENVIRONMENT = "environment"
    HEADER = "header"
    FORMAT = "format"


@dataclass(frozen=True, slots=True)
class SpanTag:
    """A tag of spans. `value` is a text, the name of a variable or header, or a format string."""

    name: str
    kind: TagKind
    value: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class OtelTracer:
    """Spans sent by OTLP, over gRPC or HTTP. `environment` reads OTEL_RESOURCE_ATTRIBUTES of the proxy."""

    target: GrpcTarget | HttpTarget
    service_name: str
    environment: bool = False


@dataclass(frozen=True, slots=True)
class ZipkinTracer:
    """Spans sent to Zipkin's v2 JSON endpoint; `w3c` writes and reads W3C headers beside B3."""

    target: HttpTarget
    long_trace_ids: bool = True
    w3c: bool = False


@dataclass(frozen=True, slots=True)
class DatadogTracer:
    """Spans sent to a Datadog agent."""

    cluster: str
    host: str
    service_name: str


@dataclass(frozen=True, slots=True)
class SkyWalkingTracer:
    """Spans sent to SkyWalking's receiver. `token` "" = none is asked for."""

    target: GrpcTarget
    token: str = ""


Tracer = OtelTracer | ZipkinTracer | DatadogTracer | SkyWalkingTracer


@dataclass(frozen=True, slots=True)
class TracingSpec:
    """Spans of a connection manager. `tracer` None = the one of the proxy's bootstrap. `sampling` in percent.

    `max_path_length` 0 = Envoy's default. `by_request_id` None = the trace's decision stays out of `x-request-id`
    only where Envoy's default does so; else whether the decision is taken from it. `upstream_span`: each request that
    is sent on has a span of its own. `propagates` False = the trace's headers are left as they came.
    """

    tracer: Tracer | None
    sampling: float
    tags: tuple[SpanTag, ...] = ()
    max_path_length: int = 0
    by_request_id: bool | None = None
    upstream_span: bool = False
    propagates: bool = True


class Fact(StrEnum):
    """What is told of a workload: its name and namespace, its cluster, and what it is by its labels."""

    NAME = "name"
    NAMESPACE = "namespace"
    SERVICE = "service"  # the canonical one
    REVISION = "revision"
    CLUSTER = "cluster"
    APP = "app"
    VERSION = "version"


UNKNOWN = "unknown"  # what stands where nothing is known

# Where format strings find facts: of the proxy itself with the connection, of callers and of hosts as metadata. Short,
# as each listener has them a hundred times.
OWN_STATE = "own"
PEER_METADATA = "peer"


class PeerExchange(StrEnum):
    """How workloads of the mesh tell each other who they are, for statistics alone: in a request header that a client
    sends to upstreams of the mesh, and that a server takes away, believing it only inside mutual TLS.
    """

    NONE = "none"
    SEND = "send"
    BELIEVE = "believe"
    STRIP = "strip"
