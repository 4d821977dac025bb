"""The route configurations of a router's ports: hosts of the VirtualServices that bind to its Gateways.

Owns virtual hosts at the edge. Unlike in a sidecar, several rules for one host add up here, with what takes every
request moved behind the rest. Names: Istio's `http.<port>`, `https.<port>.<port name>.<gateway>.<namespace>`.
"""

from __future__ import annotations

from collections.abc import Sequence

from istiod.resolve.gateway_servers import GatewayServer
from istiod.resolve.headers import counts_attempts
from istiod.resolve.routes import RouteGroup, flatten, rule_routes, takes_all
from istiod.resolve.routes_match import Caller
from istiod.resolve.scope import Scope
from istiod.resolve.sidecar_routes import action_context
from istiod.resolve.specs.route import RouteConfigSpec, RouteSpec, VirtualHostSpec
from istiod.resolve.virtual_services import Rules
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView


def route_name(server: GatewayServer, port: int, bind: str) -> str:
    """The name of the route configuration behind a server."""
    suffix = f".{bind}" if bind else ""
    if server.terminates:
        return f"https.{server.number}.{server.name}.{server.gateway.name}.{server.gateway.namespace}{suffix}"
    return f"http.{port}{suffix}"


def gateway_routes(
    snapshot: Snapshot,
    view: ProxyView,
    scope: Scope,
    rules: Sequence[Rules],
    name: str,
    servers: Sequence[GatewayServer],
) -> RouteConfigSpec:
    """One route configuration for servers that share it; a host of several rules gets the routes of all, in their
    order.
    """
    number = servers[0].number
    hosts: dict[str, list[RouteGroup]] = {}
    redirected: set[str] = set()
    for server in servers:
        redirects = server.server.tls is not None and server.server.tls.https_redirect
        redirected.update(server.names if redirects else ())
        for rule in rules:
            if str(server.gateway) not in rule.gateways or not rule.http:
                continue
            caller = Caller(view.namespace, view.labels, frozenset({str(server.gateway)}), number)
            context = action_context(snapshot, view, scope, rule.key.namespace, number, tls=server.terminates)
            for host in server.accepts(rule.key.namespace, rule.hosts):
                redirected.update({host} if redirects else ())
                _add(hosts.setdefault(host, []), rule_routes(rule, caller, context, host))
    for host in redirected:
        hosts.setdefault(host, [])
    counted = counts_attempts(snapshot, view)
    virtual_hosts = [
        VirtualHostSpec(f"{host}:{number}", (host,), _ordered(groups), host in redirected, counted)
        for host, groups in sorted(hosts.items())
        if groups or host in redirected
    ]
    return RouteConfigSpec(name, tuple(virtual_hosts) or (VirtualHostSpec(f"blackhole:{number}", ("*",), ()),))


def _add(groups: list[RouteGroup], more: list[RouteGroup]) -> None:
    """Two servers of one host would bring the same routes twice."""
    groups += [group for group in more if group not in groups]


def _ordered(groups: list[RouteGroup]) -> tuple[RouteSpec, ...]:
    return flatten([*(g for g in groups if not takes_all(g)), *(g for g in groups if takes_all(g))])
