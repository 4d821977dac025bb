"""Extension providers of MeshConfig: servers by name, which policies refer to for checks, traces, logs and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from istiod.api.fields import Duration, Model, Port
from istiod.api.problems import Problem


class RequestBody(Model):
    """How much of a request's body an authorization server sees."""

    max_request_bytes: int = Field(default=0, ge=0)
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


class ExtAuthzHttp(Model):
    """An authorization server that speaks HTTP."""

    service: str
    port: Port
    timeout: Duration | None = None
    path_prefix: str = ""
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_headers_in_check: tuple[str, ...] = ()  # the old name of includeRequestHeadersInCheck
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: dict[str, str] = {}
    include_request_body_in_check: RequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class ExtAuthzGrpc(Model):
    """An authorization server that speaks Envoy's gRPC."""

    service: str
    port: Port
    timeout: Duration | None = None
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_request_body_in_check: RequestBody | None = None


class HttpService(Model):
    """How exports over HTTP are sent."""

    path: str = ""
    timeout: Duration | None = None
    headers: tuple[dict[str, Any], ...] = ()


class GrpcService(Model):
    """How exports over gRPC are sent."""

    timeout: Duration | None = None
    initial_metadata: tuple[dict[str, Any], ...] = ()


class TraceContextOption(StrEnum):
    """Zipkin's headers: B3 alone, or W3C's beside them."""

    USE_B3 = "USE_B3"
    USE_B3_WITH_W3C_PROPAGATION = "USE_B3_WITH_W3C_PROPAGATION"


class Zipkin(Model):
    """A Zipkin collector."""

    service: str
    port: Port
    max_tag_length: int | None = None
    enable64bit_trace_id: bool = Field(default=False, alias="enable64bitTraceId")
    path: str = ""
    timeout: Duration | None = None
    headers: tuple[dict[str, Any], ...] = ()
    trace_context_option: TraceContextOption = TraceContextOption.USE_B3


class OpenTelemetry(Model):
    """An OpenTelemetry collector of traces."""

    service: str
    port: Port
    max_tag_length: int | None = None
    http: HttpService | None = None
    grpc: GrpcService | None = None
    resource_detectors: dict[str, Any] | None = None
    dynatrace_sampler: dict[str, Any] | None = None


class LogFormat(Model):
    """A text, or fields of a JSON object; both are format strings."""

    text: str = ""
    labels: dict[str, Any] | None = None


class EnvoyFileAccessLog(Model):
    """A log to a file."""

    path: str = "/dev/stdout"
    log_format: LogFormat | None = None
    omit_empty_values: bool = False


class EnvoyOtelAls(Model):
    """An OpenTelemetry collector of logs."""

    service: str
    port: Port
    log_name: str = ""
    log_format: LogFormat | None = None


class EnvoyGrpcAls(Model):
    """Envoy's own access log service, for HTTP or for TCP."""

    service: str
    port: Port
    log_name: str = ""
    filter_state_objects_to_log: tuple[str, ...] = ()
    additional_request_headers_to_log: tuple[str, ...] = ()
    additional_response_headers_to_log: tuple[str, ...] = ()
    additional_response_trailers_to_log: tuple[str, ...] = ()


class Prometheus(Model):
    """Istio's standard metrics."""


class ExtensionProvider(Model):
    """A name and exactly one kind of provider. What is a mapping of anything is known by name only."""

    name: Annotated[str, Field(min_length=1)]
    envoy_ext_authz_http: ExtAuthzHttp | None = None
    envoy_ext_authz_grpc: ExtAuthzGrpc | None = None
    zipkin: Zipkin | None = None
    opentelemetry: OpenTelemetry | None = None
    envoy_file_access_log: EnvoyFileAccessLog | None = None
    envoy_otel_als: EnvoyOtelAls | None = None
    envoy_http_als: EnvoyGrpcAls | None = None
    envoy_tcp_als: EnvoyGrpcAls | None = None
    prometheus: Prometheus | None = None
    datadog: dict[str, Any] | None = None
    lightstep: dict[str, Any] | None = None
    skywalking: dict[str, Any] | None = None
    stackdriver: dict[str, Any] | None = None
    opencensus: dict[str, Any] | None = None
    sds: dict[str, Any] | None = None


class DefaultProviders(Model):
    """Providers where no Telemetry names one."""

    tracing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    access_logging: tuple[str, ...] = ()


def check_providers(providers: tuple[ExtensionProvider, ...]) -> Iterator[Problem]:
    """Names are given once, each with exactly one kind."""
    seen: set[str] = set()
    for index, provider in enumerate(providers):
        path = f"extensionProviders[{index}]"
        if provider.name in seen:
            yield Problem(f"{path}.name", f"{provider.name!r} is given twice", "give each provider a name of its own")
        seen.add(provider.name)
        kinds = [name for name in provider.model_fields_set if name != "name" and getattr(provider, name) is not None]
        if len(kinds) != 1:
            said = "several kinds" if kinds else "no kind"
            yield Problem(path, f"has {said} of provider", "give exactly one")
