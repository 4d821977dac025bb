"""Traces as MeshConfig's `defaultConfig.tracing` has them: what counts where no Telemetry says anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from federation.model.findings import Severity
from istiod.api.fields import Count, Model, Percent
from istiod.api.problems import Problem
from istiod.api.telemetry import CustomTag, check_tags


class ZipkinAddress(Model):
    """Where the proxies' own Zipkin collector is: `host:port`."""

    address: str = ""


class ProxyTracing(Model):
    """Spans where no Telemetry says anything. Telemetry's fields go before these."""

    zipkin: ZipkinAddress | None = None
    sampling: Percent | None = None
    custom_tags: dict[str, CustomTag] = {}
    max_path_tag_length: Count = 0
    enable_istio_tags: bool | None = None

    lightstep: dict[str, Any] | None = None
    datadog: dict[str, Any] | None = None
    stackdriver: dict[str, Any] | None = None
    opencensus_agent: dict[str, Any] | None = Field(default=None, alias="openCensusAgent")
    tls_settings: dict[str, Any] | None = None


NOT_BUILT = ("lightstep", "datadog", "stackdriver", "opencensus_agent", "tls_settings")


def check_proxy_tracing(tracing: ProxyTracing) -> Iterator[Problem]:
    """Tags that Envoy would take, an address that is one, and what has no effect."""
    path = "defaultConfig.tracing"
    yield from check_tags(tracing.custom_tags, f"{path}.customTags")
    if tracing.zipkin is not None:
        host, colon, port = tracing.zipkin.address.rpartition(":")
        if not host or not colon or not port.isdecimal() or not 0 < int(port) <= 65535:
            shown = f"{tracing.zipkin.address[:80]!r}"
            yield Problem(f"{path}.zipkin.address", f"{shown} is no host:port", "write zipkin.istio-system:9411")
    for name in NOT_BUILT:
        if getattr(tracing, name) is not None:
            alias = ProxyTracing.model_fields[name].alias
            message, fix = "has no effect yet", "use extensionProviders and a Telemetry"
            yield Problem(f"{path}.{alias}", message, fix, "SettingIgnored", Severity.WARNING)
