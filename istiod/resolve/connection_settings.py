"""Limits of the connections that callers open to a proxy: `connectionSettings` of ProxyConfig.

Input: what the proxy itself says, else MeshConfig `defaultConfig`. Rules: ProxyConfig reference; the profile EDGE is
for gateways alone.
"""

from __future__ import annotations

from istiod.api.proxysettings import ConnectionProfile, ConnectionSettings, EscapedSlashesAction, UnderscoresAction
from istiod.resolve.specs.listener import NO_LIMITS, ConnectionLimits
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView

NO_SETTINGS = ConnectionSettings()
EDGE = ConnectionSettings.model_validate(
    {
        "listenerPerConnectionBufferLimitBytes": 32 * 1024,
        "httpIdleTimeout": "1h",
        "httpStreamIdleTimeout": "5m",
        "httpRequestTimeout": "5m",
        "httpRequestHeadersTimeout": "60s",
        "httpMaxConcurrentStreams": 100,
        "http2InitialStreamWindowSize": 64 * 1024,
        "http2InitialConnectionWindowSize": 1024 * 1024,
        "httpHeadersWithUnderscoresAction": "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        "httpMergeSlashes": True,
        "httpPathWithEscapedSlashesAction": "UNESCAPE_AND_REDIRECT",
    }
)


def buffer_limit(snapshot: Snapshot, view: ProxyView) -> int | None:
    """Bytes of a gateway's connection that are held at a time; None = Envoy's default."""
    return _settings(snapshot, view).listener_per_connection_buffer_limit_bytes


def connection_limits(snapshot: Snapshot, view: ProxyView) -> ConnectionLimits:
    """What every connection manager of a view keeps to."""
    said = _settings(snapshot, view)
    if said is NO_SETTINGS:  # as nearly everywhere: one object for all listeners
        return NO_LIMITS
    return ConnectionLimits(
        idle_timeout=said.http_idle_timeout,
        max_duration=said.http_max_connection_duration,
        drain_timeout=said.http_drain_timeout,
        request_timeout=said.http_request_timeout,
        request_headers_timeout=said.http_request_headers_timeout,
        stream_idle_timeout=said.http_stream_idle_timeout,
        max_stream_duration=said.http_max_stream_duration,
        max_concurrent_streams=said.http_max_concurrent_streams,
        stream_window=said.http2_initial_stream_window_size,
        connection_window=said.http2_initial_connection_window_size,
        underscores=_UNDERSCORES.get(said.http_headers_with_underscores_action, ""),
        merge_slashes=said.http_merge_slashes,
        escaped_slashes=_word(said.http_path_with_escaped_slashes_action),
    )


_UNDERSCORES = {
    UnderscoresAction.ALLOW: "ALLOW",
    UnderscoresAction.REJECT_REQUEST: "REJECT_REQUEST",
    UnderscoresAction.DROP_HEADER: "DROP_HEADER",
}


def _word(action: EscapedSlashesAction) -> str:
    return "" if action is EscapedSlashesAction.UNSPECIFIED else action.value


def _settings(snapshot: Snapshot, view: ProxyView) -> ConnectionSettings:
    """What is given, over the profile."""
    said = view.connection_settings or snapshot.mesh.default_config.connection_settings or NO_SETTINGS
    if said.profile is not ConnectionProfile.EDGE or view.type is not ProxyType.ROUTER:
        return said
    empty = (None, UnderscoresAction.UNSPECIFIED, EscapedSlashesAction.UNSPECIFIED)
    given = {name: value for name in type(said).model_fields if (value := getattr(said, name)) not in empty}
    return EDGE.model_copy(update=given)
