"""Parts of ProxyConfig that decide what a proxy does with its connections: `gatewayTopology`, `proxyHeaders` and
`connectionSettings`.

Given mesh-wide in MeshConfig `defaultConfig`, or by one proxy in its node metadata (`PROXY_CONFIG`). Rules: Istio's
ProxyConfig reference. Models only; `istiod.resolve.headers` and `istiod.resolve.connection_settings` follow them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from istiod.api.fields import Count, Duration, Model


class ForwardClientCertDetails(StrEnum):
    """What happens to `x-forwarded-client-cert` of requests that come in."""

    UNDEFINED = "UNDEFINED"
    SANITIZE = "SANITIZE"
    FORWARD_ONLY = "FORWARD_ONLY"
    APPEND_FORWARD = "APPEND_FORWARD"
    SANITIZE_SET = "SANITIZE_SET"
    ALWAYS_FORWARD_ONLY = "ALWAYS_FORWARD_ONLY"


class ProxyProtocolSettings(Model):
    """Present: connections begin with a PROXY protocol header."""


class Topology(Model):
    """What stands in front of gateways. `num_trusted_proxies` entries of X-Forwarded-For are believed."""

    num_trusted_proxies: Count = 0
    forward_client_cert_details: ForwardClientCertDetails = ForwardClientCertDetails.UNDEFINED
    proxy_protocol: ProxyProtocolSettings | None = None


class Disabled(Model):
    """Switches something off that is on."""

    disabled: bool = False


class Enabled(Model):
    """Switches something on that is off."""

    enabled: bool = False


class ServerHeader(Model):
    """The `server` header of answers: another value, or left as the application wrote it."""

    disabled: bool = False
    value: str = ""


class ClientCertParts(Model):
    """What of the peer's certificate goes into `x-forwarded-client-cert`."""

    subject: bool | None = None
    cert: bool | None = None
    chain: bool | None = None
    dns: bool | None = None
    uri: bool | None = None


class ExchangeMode(StrEnum):
    """Where proxies tell each other about themselves in headers."""

    UNDEFINED = "UNDEFINED"
    IN_MESH = "IN_MESH"


class ExchangeHeaders(Model):
    """Headers in which proxies tell each other about themselves."""

    mode: ExchangeMode = ExchangeMode.UNDEFINED


class ProxyHeaders(Model):
    """Headers that a proxy adds or changes."""

    forwarded_client_cert: ForwardClientCertDetails = ForwardClientCertDetails.UNDEFINED
    set_current_client_cert_details: ClientCertParts | None = None
    request_id: Disabled | None = None
    server: ServerHeader | None = None
    attempt_count: Disabled | None = None
    envoy_debug_headers: Disabled | None = None
    metadata_exchange_headers: ExchangeHeaders | None = None
    preserve_http1_header_case: bool | None = None
    x_forwarded_host: Enabled | None = None
    x_forwarded_port: Enabled | None = None


class ConnectionProfile(StrEnum):
    """What counts where a setting of connections is not given: nothing, or Envoy's advice for gateways at an edge."""

    SIDECAR = "SIDECAR"
    EDGE = "EDGE"


class UnderscoresAction(StrEnum):
    """What happens to requests that have headers with underscores in their names."""

    UNSPECIFIED = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED"
    ALLOW = "HEADERS_WITH_UNDERSCORES_ALLOW"
    REJECT_REQUEST = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST"
    DROP_HEADER = "HEADERS_WITH_UNDERSCORES_DROP_HEADER"


class EscapedSlashesAction(StrEnum):
    """What happens to requests whose path has `%2F` or `%5C` in it."""

    UNSPECIFIED = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED"
    KEEP_UNCHANGED = "KEEP_UNCHANGED"
    REJECT_REQUEST = "REJECT_REQUEST"
    UNESCAPE_AND_REDIRECT = "UNESCAPE_AND_REDIRECT"
    UNESCAPE_AND_FORWARD = "UNESCAPE_AND_FORWARD"


Positive = Annotated[int, Field(gt=0, le=2**31 - 1)]
Window = Annotated[int, Field(ge=2**16 - 1, le=2**31 - 1)]


class ConnectionSettings(Model):
    """Limits of connections from callers. What is given goes before the profile and MeshConfig `pathNormalization`."""

    profile: ConnectionProfile = ConnectionProfile.SIDECAR
    listener_per_connection_buffer_limit_bytes: Count | None = None
    cluster_per_connection_buffer_limit_bytes: Count | None = None
    http_idle_timeout: Duration | None = None
    http_max_connection_duration: Duration | None = None
    http_drain_timeout: Duration | None = None
    http_request_timeout: Duration | None = None
    http_request_headers_timeout: Duration | None = None
    http_stream_idle_timeout: Duration | None = None
    http_max_stream_duration: Duration | None = None
    http_max_concurrent_streams: Positive | None = None
    http2_initial_stream_window_size: Window | None = None
    http2_initial_connection_window_size: Window | None = None
    http_headers_with_underscores_action: UnderscoresAction = UnderscoresAction.UNSPECIFIED
    http_merge_slashes: bool | None = None
    http_path_with_escaped_slashes_action: EscapedSlashesAction = EscapedSlashesAction.UNSPECIFIED
    listener_connection_limit: Positive | None = None
    global_downstream_connection_limit: Positive | None = None
