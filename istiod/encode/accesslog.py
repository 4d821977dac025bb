"""Access logs -> Envoy's file access logger."""

from __future__ import annotations

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog

from istiod.encode.wire import pack
from istiod.resolve.specs.listener import AccessLogSpec

# Istio's default text format, as its documentation of access logs shows it.
DEFAULT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)


def access_log(spec: AccessLogSpec) -> AccessLog:
    """One log to a file (`/dev/stdout` in containers)."""
    file = FileAccessLog(path=spec.path)
    if spec.json_format:
        for name, value in spec.json_format:
            file.log_format.json_format.fields[name].string_value = value
    else:
        file.log_format.text_format_source.inline_string = spec.format or DEFAULT_FORMAT
    result = AccessLog(name="envoy.access_loggers.file")
    result.typed_config.CopyFrom(pack(file))
    if spec.only_no_route:
        result.filter.response_flag_filter.flags.append("NR")
    return result
