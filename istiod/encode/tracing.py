"""Spans of a connection manager -> Envoy's tracing settings with the tracer that they go to."""

from __future__ import annotations

from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.http_service_pb2 import HttpService
from envoy.config.trace.v3.datadog_pb2 import DatadogConfig
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.config.trace.v3.skywalking_pb2 import SkyWalkingConfig
from envoy.config.trace.v3.zipkin_pb2 import ZipkinConfig
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    RequestIDExtension,
)
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3.environment_resource_detector_pb2 import (
    EnvironmentResourceDetectorConfig,
)
from envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from google.protobuf.message import Message

from istiod.encode.accesslog import grpc_service
from istiod.encode.wire import duration, pack
from istiod.resolve.specs.telemetry import (
    DatadogTracer,
    GrpcTarget,
    HttpTarget,
    OtelTracer,
    SkyWalkingTracer,
    SpanTag,
    TagKind,
    Tracer,
    TracingSpec,
    ZipkinTracer,
)

Tracing = HttpConnectionManager.Tracing
# `no_context_propagation: true` (field 13): Envoy knows it, the descriptors here do not yet.
_NO_CONTEXT_PROPAGATION = bytes((13 << 3, 1))


def tracing(spec: TracingSpec) -> Tracing:
    """Every request may be traced because its client or its trace says so; `sampling` percent are besides."""
    result = Tracing()
    result.client_sampling.value = 100.0
    result.overall_sampling.value = 100.0
    result.random_sampling.value = spec.sampling
    if spec.max_path_length:
        result.max_path_tag_length.value = spec.max_path_length
    result.custom_tags.extend(_tag(tag) for tag in spec.tags)
    if spec.upstream_span:
        result.spawn_upstream_span.value = True
    if not spec.propagates:
        result.MergeFromString(_NO_CONTEXT_PROPAGATION)
    if spec.tracer is not None:
        name, config = _tracer(spec.tracer)
        result.provider.name = name
        result.provider.typed_config.CopyFrom(pack(config))
    return result


def request_id(spec: TracingSpec) -> RequestIDExtension | None:
    """How `x-request-id` and the decision to trace go together; None = Envoy's way."""
    if spec.by_request_id is None:
        return None
    config = UuidRequestIdConfig()
    config.use_request_id_for_trace_sampling.value = spec.by_request_id
    return RequestIDExtension(typed_config=pack(config))


def _tracer(tracer: Tracer) -> tuple[str, Message]:
    match tracer:
        case OtelTracer():
            return "envoy.tracers.opentelemetry", _otel(tracer)
        case ZipkinTracer():
            return "envoy.tracers.zipkin", _zipkin(tracer)
        case DatadogTracer():
            return "envoy.tracers.datadog", DatadogConfig(
                collector_cluster=tracer.cluster, collector_hostname=tracer.host, service_name=tracer.service_name
            )
        case SkyWalkingTracer():
            return "envoy.tracers.skywalking", _skywalking(tracer)


def _otel(tracer: OtelTracer) -> OpenTelemetryConfig:
    result = OpenTelemetryConfig(service_name=tracer.service_name)
    match tracer.target:
        case GrpcTarget() as grpc:
            result.grpc_service.CopyFrom(grpc_service(grpc))
        case HttpTarget() as http:
            result.http_service.CopyFrom(_http_service(http))
    if tracer.environment:
        result.resource_detectors.append(
            TypedExtensionConfig(
                name="envoy.tracers.opentelemetry.resource_detectors.environment",
                typed_config=pack(EnvironmentResourceDetectorConfig()),
            )
        )
    return result


def _zipkin(tracer: ZipkinTracer) -> ZipkinConfig:
    result = ZipkinConfig(
        trace_id_128bit=tracer.long_trace_ids,
        collector_endpoint_version=ZipkinConfig.HTTP_JSON,
        trace_context_option=ZipkinConfig.USE_B3_WITH_W3C_PROPAGATION if tracer.w3c else ZipkinConfig.USE_B3,
    )
    result.shared_span_context.value = False
    result.collector_service.CopyFrom(_http_service(tracer.target))
    return result


def _skywalking(tracer: SkyWalkingTracer) -> SkyWalkingConfig:
    result = SkyWalkingConfig(grpc_service=grpc_service(tracer.target))
    if tracer.token:
        result.client_config.backend_token = tracer.token
    return result


def _http_service(target: HttpTarget) -> HttpService:
    result = HttpService()
    result.http_uri.uri = target.uri
    result.http_uri.cluster = target.cluster
    result.http_uri.timeout.CopyFrom(duration(target.timeout))
    for key, value in target.headers:
        option = result.request_headers_to_add.add(append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
        option.header.key, option.header.value = key, value
    return result


def _tag(tag: SpanTag) -> CustomTag:
    result = CustomTag(tag=tag.name)
    match tag.kind:
        case TagKind.LITERAL:
            result.literal.value = tag.value
        case TagKind.FORMAT:
            result.value = tag.value
        case TagKind.ENVIRONMENT:
            result.environment.name, result.environment.default_value = tag.value, tag.default
        case TagKind.HEADER:
            result.request_header.name, result.request_header.default_value = tag.value, tag.default
    return result
