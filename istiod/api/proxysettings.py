"""Parts of ProxyConfig that decide what a proxy does with headers and at an edge: `gatewayTopology`, `proxyHeaders`.

Given mesh-wide in MeshConfig `defaultConfig`, or by one proxy in its node metadata (`PROXY_CONFIG`). Rules: Istio's
ProxyConfig reference. Models only; `istiod.resolve.headers` follows them.
"""

from __future__ import annotations

from enum import StrEnum

from istiod.api.fields import Count, Model


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
