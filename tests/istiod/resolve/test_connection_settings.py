"""`connectionSettings` of ProxyConfig as limits of connection managers and listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from istiod.api.proxysettings import ConnectionSettings
from istiod.encode.listeners import connection_manager
from istiod.resolve.config import resolve_view
from istiod.resolve.connection import gateway_http, outbound_http
from istiod.resolve.connection_settings import buffer_limit, connection_limits
from istiod.resolve.specs.listener import NO_LIMITS
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: apps}
spec: {selector: {app: a}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}"""
Make = Callable[..., Any]


@pytest.fixture
def router(view: Callable[..., ProxyView]) -> ProxyView:
    return view(type=ProxyType.ROUTER)


def mesh(snapshot: Callable[..., Snapshot], **settings: Any) -> Snapshot:
    return snapshot(GATEWAY, defaultConfig={"connectionSettings": settings})


def test_nothing_is_limited_where_nothing_is_said(snapshot: Make, router: ProxyView) -> None:
    assert connection_limits(snapshot(""), router) == NO_LIMITS
    assert buffer_limit(snapshot(""), router) is None


def test_what_is_given_goes_before_other_settings(snapshot: Make, view: Make) -> None:
    said = mesh(
        snapshot,
        httpStreamIdleTimeout="7s",
        httpIdleTimeout="8s",
        httpMaxConcurrentStreams=9,
        httpMergeSlashes=True,
        httpHeadersWithUnderscoresAction="HEADERS_WITH_UNDERSCORES_DROP_HEADER",
        httpPathWithEscapedSlashesAction="REJECT_REQUEST",
    )
    made = connection_manager(outbound_http(said, view(), "0.0.0.0", 80, "80"))
    assert made.stream_idle_timeout.seconds == 7
    assert made.common_http_protocol_options.idle_timeout.seconds == 8
    assert made.common_http_protocol_options.headers_with_underscores_action == 2
    assert made.http2_protocol_options.max_concurrent_streams.value == 9
    assert made.merge_slashes
    assert made.path_with_escaped_slashes_action == 2
    assert not made.HasField("request_timeout")


def test_the_profile_of_an_edge_is_for_gateways(snapshot: Make, view: Make, router: ProxyView) -> None:
    said = mesh(snapshot, profile="EDGE", httpRequestTimeout="1s", httpMergeSlashes=False)
    assert connection_limits(said, view()).stream_idle_timeout is None
    made = connection_manager(gateway_http(said, router, 80, "http.80"))
    assert made.request_timeout.seconds == 1
    assert not made.merge_slashes
    assert made.request_headers_timeout.seconds == 60
    assert made.common_http_protocol_options.headers_with_underscores_action == 1
    (listener,) = resolve_view(said, router).listeners
    assert listener.buffer_limit == 32768


def test_a_proxy_has_settings_of_its_own(snapshot: Make, view: Make) -> None:
    own = view(connection_settings=ConnectionSettings.model_validate({"httpDrainTimeout": "3s"}))
    limits = connection_limits(mesh(snapshot, httpDrainTimeout="9s", httpIdleTimeout="9s"), own)
    assert (limits.drain_timeout, limits.idle_timeout) == (3, None)
