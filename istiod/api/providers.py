"""Extension providers of MeshConfig: servers by name, which policies refer to for checks, traces, logs and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field
from pydantic.alias_generators import to_camel

from federation.model.findings import Severity
from istiod.api.authorization_servers import ExtAuthzGrpc, ExtAuthzHttp, check_server
from istiod.api.fields import Count, Duration, Model, Port
from istiod.api.formats import format_problem
from istiod.api.headers import check_header_name, check_one_line
from istiod.api.problems import Problem


class HttpHeader(Model):
    """A header of exports. `env_name` is read where Istio's control plane runs, and has no effect here."""

    name: str
    value: str | None = None
    env_name: str | None = None


class HttpService(Model):
    """How exports over HTTP are sent."""

    path: str = ""
    timeout: Duration | None = None
    headers: tuple[HttpHeader, ...] = ()


class GrpcService(Model):
    """How exports over gRPC are sent."""

    timeout: Duration | None = None
    initial_metadata: tuple[HttpHeader, ...] = ()


class ResourceDetectors(Model):
    """Where an exporter looks for facts about itself."""

    environment: dict[str, Any] | None = None
    dynatrace: dict[str, Any] | None = None


class TraceContextOption(StrEnum):
    """Zipkin's headers: B3 alone, or W3C's beside them."""

    USE_B3 = "USE_B3"
    USE_B3_WITH_W3C_PROPAGATION = "USE_B3_WITH_W3C_PROPAGATION"


class Zipkin(Model):
    """A Zipkin collector."""

    service: str
    port: Port
    max_tag_length: Count | None = None
    enable64bit_trace_id: bool = Field(default=False, alias="enable64bitTraceId")
    path: str = ""
    timeout: Duration | None = None
    headers: tuple[HttpHeader, ...] = ()
    trace_context_option: TraceContextOption = TraceContextOption.USE_B3


class AttributeEnrichment(StrEnum):
    """Whose rules say what a workload is called in traces."""

    ISTIO_CANONICAL = "ISTIO_CANONICAL"
    OTEL_SEMANTIC_CONVENTIONS = "OTEL_SEMANTIC_CONVENTIONS"


class OpenTelemetry(Model):
    """An OpenTelemetry collector of traces."""

    service: str
    port: Port
    max_tag_length: Count | None = None
    http: HttpService | None = None
    grpc: GrpcService | None = None
    resource_detectors: ResourceDetectors | None = None
    service_attribute_enrichment: AttributeEnrichment = AttributeEnrichment.ISTIO_CANONICAL
    dynatrace_sampler: dict[str, Any] | None = None


class Datadog(Model):
    """A Datadog agent."""

    service: str
    port: Port
    max_tag_length: Count | None = None


class SkyWalking(Model):
    """A receiver of SkyWalking."""

    service: str
    port: Port
    access_token: str = ""


class LogFormat(Model):
    """A text, or fields of a JSON object; both are format strings."""

    text: str | None = None
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
    datadog: Datadog | None = None
    skywalking: SkyWalking | None = None
    lightstep: dict[str, Any] | None = None
    stackdriver: dict[str, Any] | None = None
    opencensus: dict[str, Any] | None = None
    sds: dict[str, Any] | None = None


class DefaultProviders(Model):
    """Providers where no Telemetry names one."""

    tracing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    access_logging: tuple[str, ...] = ()


# Providers that are there without being given; one that is given under such a name takes its place.
BUILT_IN = (
    ExtensionProvider(name="prometheus", prometheus=Prometheus()),
    ExtensionProvider(name="stackdriver", stackdriver={}),
    ExtensionProvider(name="envoy", envoy_file_access_log=EnvoyFileAccessLog()),
)
NOT_BUILT = ("lightstep", "stackdriver", "opencensus", "sds")


def kind_of(provider: ExtensionProvider) -> str:
    """The field that says what a provider is, as Python spells it; "" without one."""
    return next((name for name in _KINDS if getattr(provider, name) is not None), "")


_KINDS = tuple(name for name in ExtensionProvider.model_fields if name != "name")


def service_of(provider: ExtensionProvider) -> tuple[str, int]:
    """The service that a provider stands for, as MeshConfig spells it, and its port; ("", 0) if it needs none."""
    said = getattr(provider, kind_of(provider) or "name")
    return str(getattr(said, "service", "")), int(getattr(said, "port", 0))


def check_providers(providers: tuple[ExtensionProvider, ...]) -> Iterator[Problem]:
    """Names are given once, each with exactly one kind, whose settings Envoy would take."""
    seen: set[str] = set()
    for index, provider in enumerate(providers):
        path = f"extensionProviders[{index}]"
        if provider.name.lower() in seen:
            yield Problem(f"{path}.name", f"{provider.name!r} is given twice", "give each provider a name of its own")
        seen.add(provider.name.lower())
        kinds = [name for name in provider.model_fields_set if name != "name" and getattr(provider, name) is not None]
        if len(kinds) != 1:
            said = "several kinds" if kinds else "no kind"
            yield Problem(path, f"has {said} of provider", "give exactly one")
            continue
        yield from _check_kind(provider, kinds[0], f"{path}.{ExtensionProvider.model_fields[kinds[0]].alias}")


def _check_kind(provider: ExtensionProvider, kind: str, path: str) -> Iterator[Problem]:
    if kind in NOT_BUILT:
        yield _ignored(path)
    service, _ = service_of(provider)
    if kind in _SERVED and not _SERVICE.fullmatch(service):
        fix = "write host or namespace/host"
        yield Problem(f"{path}.service", f"{service[:80]!r} names no service", fix)
    match kind:
        case "envoy_ext_authz_http" | "envoy_ext_authz_grpc":
            for problem in check_server(provider.name, getattr(provider, kind), path):
                yield replace(problem, severity=Severity.WARNING)
        case "envoy_file_access_log":
            assert provider.envoy_file_access_log is not None
            yield from _check_format(provider.envoy_file_access_log.log_format, f"{path}.logFormat")
        case "envoy_otel_als":
            assert provider.envoy_otel_als is not None
            yield from _check_format(provider.envoy_otel_als.log_format, f"{path}.logFormat", both=True)
        case "envoy_http_als" | "envoy_tcp_als":
            for field in ("request_headers", "response_headers", "response_trailers"):
                for index, name in enumerate(getattr(getattr(provider, kind), f"additional_{field}_to_log")):
                    yield from check_header_name(name, f"{path}.{to_camel(f'additional_{field}_to_log')}[{index}]")
        case "zipkin":
            assert provider.zipkin is not None
            yield from _check_path(provider.zipkin.path, f"{path}.path")
            yield from _check_exports(provider.zipkin.headers, f"{path}.headers")
        case "opentelemetry":
            assert provider.opentelemetry is not None
            yield from _check_opentelemetry(provider.opentelemetry, path)


_SERVED = frozenset(
    {"zipkin", "opentelemetry", "datadog", "skywalking", "envoy_otel_als", "envoy_http_als", "envoy_tcp_als"}
    | {"envoy_ext_authz_http", "envoy_ext_authz_grpc"}
)
_SERVICE = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def _check_opentelemetry(said: OpenTelemetry, path: str) -> Iterator[Problem]:
    if said.http is not None and said.grpc is not None:
        yield Problem(path, "has http and grpc", "keep one of them")
    if said.http is not None:
        yield from _check_path(said.http.path, f"{path}.http.path")
        yield from _check_exports(said.http.headers, f"{path}.http.headers")
    if said.grpc is not None:
        yield from _check_exports(said.grpc.initial_metadata, f"{path}.grpc.initialMetadata")
    if said.dynatrace_sampler is not None:
        yield _ignored(f"{path}.dynatraceSampler")
    if said.service_attribute_enrichment is not AttributeEnrichment.ISTIO_CANONICAL:
        yield _ignored(f"{path}.serviceAttributeEnrichment")
    if said.resource_detectors is not None and said.resource_detectors.dynatrace is not None:
        yield _ignored(f"{path}.resourceDetectors.dynatrace")


def _check_path(text: str, path: str) -> Iterator[Problem]:
    yield from check_one_line(text, path)
    if text and not text.startswith("/"):
        yield Problem(path, f"{text[:80]!r} begins without a slash", "write /path")


def _check_exports(headers: tuple[HttpHeader, ...], path: str) -> Iterator[Problem]:
    for index, header in enumerate(headers):
        at = f"{path}[{index}]"
        yield from check_header_name(header.name, f"{at}.name")
        if header.env_name is not None:
            yield _ignored(f"{at}.envName")
        if header.value is not None:
            yield from check_one_line(header.value, f"{at}.value")
            wrong = format_problem(header.value)
            if wrong:
                yield Problem(f"{at}.value", f"is no format string: {wrong}", "write %% for a percent sign")


def _check_format(said: LogFormat | None, path: str, both: bool = False) -> Iterator[Problem]:
    """A format is text or labels; what leaves over OpenTelemetry may have both."""
    if said is None:
        return
    if said.text is not None and said.labels is not None and not both:
        yield Problem(path, "has text and labels", "keep one of them")
    wrong = format_problem(said.text or "", log=True)
    if wrong:
        yield Problem(f"{path}.text", f"is no format string: {wrong}", "write %% for a percent sign")
    for name, value in (said.labels or {}).items():
        yield from check_label(value, f"{path}.labels.{name[:80]}")


def check_label(value: Any, path: str) -> Iterator[Problem]:
    """A field of a structured log is a format string, fields or a list of such, or a number or truth as it is."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from check_label(inner, f"{path}.{str(name)[:80]}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from check_label(inner, f"{path}[{index}]")
    elif isinstance(value, str) and (wrong := format_problem(value, log=True)):
        yield Problem(path, f"is no format string: {wrong}", "write %% for a percent sign")


def _ignored(path: str) -> Problem:
    return Problem(path, "has no effect yet", "do not rely on it", "SettingIgnored", Severity.WARNING)
