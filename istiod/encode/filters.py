"""The one ordered list of HTTP filters. Order is Istio's; only filters that stock Envoy has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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

Filter = tuple[str, Message]  # name and configuration


def _grpc_web(connection: HttpConnection) -> Iterator[Filter]:
    if connection.grpc_web:
        yield "envoy.filters.http.grpc_web", GrpcWeb()


def _grpc_stats(connection: HttpConnection) -> Iterator[Filter]:
    if not connection.proxyless:
        yield "envoy.filters.http.grpc_stats", GrpcStats(emit_filter_state=True)


def _fault(connection: HttpConnection) -> Iterator[Filter]:
    if not connection.proxyless:
        yield "envoy.filters.http.fault", HTTPFault()


def _cors(connection: HttpConnection) -> Iterator[Filter]:
    if not connection.proxyless:
        yield "envoy.filters.http.cors", Cors()


def _router(_: HttpConnection) -> Iterator[Filter]:
    yield "envoy.filters.http.router", Router()


# Each entry gives the filters that a connection manager has at that place: later filters see what earlier ones did.
FILTERS: tuple[Callable[[HttpConnection], Iterable[Filter]], ...] = (
    _grpc_web,
    _grpc_stats,
    _fault,
    _cors,
    _router,
)


@lru_cache(maxsize=1024)
def http_filters(connection: HttpConnection) -> tuple[HttpFilter, ...]:
    """The filters of a connection manager, in order."""
    return tuple(_filter(name, config) for entry in FILTERS for name, config in entry(connection))


def _filter(name: str, config: Message) -> HttpFilter:
    result = HttpFilter(name=name)
    result.typed_config.CopyFrom(pack(config))
    return result
