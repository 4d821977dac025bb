"""The one ordered list of HTTP filters. Order is Istio's; only filters that stock Envoy has."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.grpc_stats.v3.config_pb2 import FilterConfig as GrpcStats
from envoy.extensions.filters.http.grpc_web.v3.grpc_web_pb2 import GrpcWeb
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.message import Message

from istiod.encode.wire import pack
from istiod.resolve.specs.listener import HttpConnection

Wanted = Callable[[HttpConnection], bool]


def _for_envoys(connection: HttpConnection) -> bool:
    return not connection.proxyless


def _grpc_stats() -> GrpcStats:
    return GrpcStats(emit_filter_state=True)


# (name, configuration, which connection managers have it): later filters see what earlier ones did.
FILTERS: tuple[tuple[str, Callable[[], Message], Wanted], ...] = (
    ("envoy.filters.http.grpc_web", GrpcWeb, lambda connection: connection.grpc_web),
    ("envoy.filters.http.grpc_stats", _grpc_stats, _for_envoys),
    ("envoy.filters.http.fault", HTTPFault, _for_envoys),
    ("envoy.filters.http.cors", Cors, _for_envoys),
    ("envoy.filters.http.router", Router, lambda _: True),
)


@lru_cache(maxsize=64)
def http_filters(connection: HttpConnection) -> tuple[HttpFilter, ...]:
    """The filters of a connection manager, in order."""
    return tuple(_filter(name, make()) for name, make, wanted in FILTERS if wanted(connection))


def _filter(name: str, config: Message) -> HttpFilter:
    result = HttpFilter(name=name)
    result.typed_config.CopyFrom(pack(config))
    return result
