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

from istiod.encode import ext_authz, peers, rbac
from istiod.encode.dynamic_dns import HTTP_FILTER, http_lookup
from istiod.encode.jwt import JWT_FILTER, jwt_authentication
from istiod.encode.wire import pack
from istiod.resolve.specs.authz import CheckSpec
from istiod.resolve.specs.listener import HttpConnection

Filter = tuple[str, Message]  # name and configuration


def _receive_peer(connection: HttpConnection) -> Iterator[Filter]:
    yield from peers.receive(connection.peers)


def _send_peer(connection: HttpConnection) -> Iterator[Filter]:
    yield from peers.send(connection.peers)


def _checks(connection: HttpConnection) -> Iterator[Filter]:
    for step in connection.authorization.checks:
        if isinstance(step, CheckSpec):
            yield rbac.HTTP_FILTER, rbac.http_rbac(step.when)
            yield ext_authz.HTTP_FILTER, ext_authz.http_ext_authz(step)
        else:
            yield rbac.HTTP_FILTER, rbac.http_rbac(step)


def _jwt(connection: HttpConnection) -> Iterator[Filter]:
    if connection.jwt is not None:
        yield JWT_FILTER, jwt_authentication(connection.jwt)


def _rules(connection: HttpConnection) -> Iterator[Filter]:
    for rules in connection.authorization.rules:
        yield rbac.HTTP_FILTER, rbac.http_rbac(rules)


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


def _lookup(connection: HttpConnection) -> Iterator[Filter]:
    if connection.dns_cache is not None:
        yield HTTP_FILTER, http_lookup(connection.dns_cache)


def _router(connection: HttpConnection) -> Iterator[Filter]:
    yield "envoy.filters.http.router", Router(suppress_envoy_headers=not connection.debug_headers)


# Each entry gives the filters that a connection manager has at that place: later filters see what earlier ones did.
FILTERS: tuple[Callable[[HttpConnection], Iterable[Filter]], ...] = (
    _receive_peer,
    _checks,
    _jwt,
    _rules,
    _grpc_web,
    _grpc_stats,
    _fault,
    _cors,
    _send_peer,
    _lookup,
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
