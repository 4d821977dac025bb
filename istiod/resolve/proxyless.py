"""Configuration for gRPC's own xDS client: a listener per target `host:port`, its routes, nothing captured.

Input: the scope of the view. Names: gRPC's (`xds:///host:port` asks for the listener of that name) and Istio's for the
routes (`outbound|<port>||<host>`). Rules of VirtualServices hold as in a sidecar.
"""

from __future__ import annotations

from dataclasses import replace

from federation.model.service import Protocol
from federation.model.sni import OutboundName
from istiod.resolve.domains import short_names
from istiod.resolve.scope import Scope
from istiod.resolve.sidecar_routes import service_routes
from istiod.resolve.specs.listener import MATCH_ALL, Direction, FilterChainSpec, HttpConnection, ListenerSpec
from istiod.resolve.specs.route import RouteAction, RouteConfigSpec, RouteSpec, VirtualHostSpec
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView


def proxyless_listeners(
    snapshot: Snapshot, view: ProxyView, scope: Scope
) -> tuple[tuple[ListenerSpec, ...], tuple[RouteConfigSpec, ...]]:
    """Listeners under every name of a service that the client may use, and one route configuration per service port."""
    listeners: list[ListenerSpec] = []
    routes: list[RouteConfigSpec] = []
    for egress in scope.listeners:
        for service in egress.services:
            for port in service.ports:
                if not (port.protocol.is_http or port.protocol is Protocol.AUTO):
                    continue
                name = OutboundName(port.number, "", service.host).format_cluster()
                _, found = service_routes(snapshot, view, scope, egress, service, port, port.number)
                found = tuple(map(_for_client, found))
                routes.append(RouteConfigSpec(name, (VirtualHostSpec(f"{service.host}:{port.number}", ("*",), found),)))
                hosts = (service.host, *short_names(service.host, view.dns_domain))
                listeners += [_listener(f"{host}:{port.number}", name) for host in hosts]
    return tuple(listeners), tuple(routes)


def _for_client(route: RouteSpec) -> RouteSpec:
    """gRPC's client knows one bound of a call, that of the whole stream."""
    if not isinstance(route.action, RouteAction):
        return route
    return replace(route, action=replace(route.action, whole_stream=True))


def _listener(target: str, route: str) -> ListenerSpec:
    handler = HttpConnection(stat_prefix=target, routes=route, direction=Direction.OUTBOUND, proxyless=True)
    return ListenerSpec(target, "", 0, Direction.OUTBOUND, (FilterChainSpec("", MATCH_ALL, handler),), api=True)
