"""Access logs -> Envoy's access loggers: files, collectors over gRPC, and statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.access_loggers.grpc.v3.als_pb2 import (
    CommonGrpcAccessLogConfig,
    HttpGrpcAccessLogConfig,
    TcpGrpcAccessLogConfig,
)
from envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import OpenTelemetryAccessLogConfig
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config as StatsConfig
from envoy.extensions.access_loggers.stream.v3.stream_pb2 import StderrAccessLog, StdoutAccessLog
from envoy.extensions.formatter.req_without_query.v3.req_without_query_pb2 import ReqWithoutQuery
from google.protobuf.json_format import Parse
from google.protobuf.message import Message

from istiod.encode.wire import duration, pack
from istiod.resolve.specs.telemetry import (
    AccessLogSpec,
    FileLog,
    GrpcLog,
    GrpcTarget,
    LogEvent,
    OtelLog,
    Stat,
    StatsLog,
)

# Istio's default text format, as its documentation of access logs shows it.
DEFAULT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
AnyFile = TypeVar("AnyFile", FileAccessLog, StdoutAccessLog, StderrAccessLog)
STATS_PREFIX = "istio"
_WITHOUT_QUERY = "%REQ_WITHOUT_QUERY("


def access_log(spec: AccessLogSpec) -> AccessLog:
    """One log with the filters that say what is written to it."""
    name, config = _logger(spec.sink)
    result = AccessLog(name=name)
    result.typed_config.CopyFrom(pack(config))
    filters = list(_filters(spec))
    if len(filters) == 1:
        result.filter.CopyFrom(filters[0])
    elif filters:
        result.filter.and_filter.filters.extend(filters)
    return result


def _filters(spec: AccessLogSpec) -> Iterator[AccessLogFilter]:
    if spec.only_no_route:
        found = AccessLogFilter()
        found.response_flag_filter.flags.append("NR")
        yield found
    if spec.event is not LogEvent.ANY:
        found = AccessLogFilter()
        found.log_type_filter.types.append(AccessLogType.Value(spec.event.value))
        yield found
    if spec.filter_expression:
        found = AccessLogFilter()
        found.extension_filter.name = "envoy.access_loggers.extension_filters.cel"
        found.extension_filter.typed_config.CopyFrom(pack(ExpressionFilter(expression=spec.filter_expression)))
        yield found


def _logger(sink: FileLog | OtelLog | GrpcLog | StatsLog) -> tuple[str, Message]:
    match sink:
        case FileLog():
            return _file(sink)
        case OtelLog():
            return "envoy.access_loggers.open_telemetry", _otel(sink)
        case StatsLog():
            return "envoy.access_loggers.stats", _stats(sink)
        case GrpcLog():
            return (
                ("envoy.access_loggers.http_grpc", _http(sink))
                if sink.http
                else (
                    "envoy.access_loggers.tcp_grpc",
                    TcpGrpcAccessLogConfig(common_config=_common(sink.target, sink.name, sink.filter_state)),
                )
            )


def _file(sink: FileLog) -> tuple[str, Message]:
    """A file; the proxy's own output by what it has open, as it may not be able to open that again by name."""
    match sink.path:
        case "/dev/stdout":
            return "envoy.access_loggers.stdout", _formatted(StdoutAccessLog(), sink)
        case "/dev/stderr":
            return "envoy.access_loggers.stderr", _formatted(StderrAccessLog(), sink)
    return "envoy.access_loggers.file", _formatted(FileAccessLog(path=sink.path), sink)


def _formatted(file: AnyFile, sink: FileLog) -> AnyFile:
    if sink.json:
        Parse(sink.json, file.log_format.json_format)
    else:
        file.log_format.text_format_source.inline_string = sink.format or DEFAULT_FORMAT
    file.log_format.omit_empty_values = sink.omit_empty
    file.log_format.formatters.extend(_formatters((sink.json, sink.format)))
    return file


def _formatters(texts: Iterable[str]) -> Iterator[TypedExtensionConfig]:
    """What a format needs beside itself, as Envoy does not have it built in."""
    if any(_WITHOUT_QUERY in text for text in texts):
        yield TypedExtensionConfig(name="envoy.formatter.req_without_query", typed_config=pack(ReqWithoutQuery()))


def _otel(sink: OtelLog) -> OpenTelemetryAccessLogConfig:
    result = OpenTelemetryAccessLogConfig(common_config=_common(sink.target, sink.name), disable_builtin_labels=True)
    result.body.string_value = sink.body or DEFAULT_FORMAT
    for key, value in sink.attributes:
        result.attributes.values.add(key=key).value.string_value = value
    result.formatters.extend(_formatters((sink.body, *(value for _, value in sink.attributes))))
    return result


def _http(sink: GrpcLog) -> HttpGrpcAccessLogConfig:
    return HttpGrpcAccessLogConfig(
        common_config=_common(sink.target, sink.name, sink.filter_state),
        additional_request_headers_to_log=sink.request_headers,
        additional_response_headers_to_log=sink.response_headers,
        additional_response_trailers_to_log=sink.response_trailers,
    )


def _common(target: GrpcTarget, name: str, filter_state: tuple[str, ...] = ()) -> CommonGrpcAccessLogConfig:
    return CommonGrpcAccessLogConfig(
        log_name=name,
        grpc_service=grpc_service(target),
        transport_api_version=ApiVersion.V3,
        filter_state_objects_to_log=filter_state,
    )


def grpc_service(target: GrpcTarget) -> GrpcService:
    """A gRPC server behind an upstream."""
    result = GrpcService()
    result.envoy_grpc.cluster_name = target.cluster
    result.envoy_grpc.authority = target.authority
    if target.timeout is not None:
        result.timeout.CopyFrom(duration(target.timeout))
    for key, value in target.metadata:
        result.initial_metadata.add(key=key, value=value)
    return result


_UNITS = {"": "Unspecified", "Milliseconds": "Milliseconds", "Bytes": "Bytes"}


def _stats(sink: StatsLog) -> StatsConfig:
    result = StatsConfig(stat_prefix=STATS_PREFIX)
    for stat in sink.stats:
        if stat.unit:
            histogram = result.histograms.add(unit=_UNITS[stat.unit], value_format=stat.value)
            _named(histogram.stat, stat)
        else:
            counter = result.counters.add(value_format=stat.value)
            if not stat.value:
                counter.value_fixed.value = 1
            _named(counter.stat, stat)
    return result


def _named(message: StatsConfig.Stat, stat: Stat) -> None:
    message.name = stat.name
    for name, value in stat.tags:
        message.tags.add(name=name, value_format=value)
