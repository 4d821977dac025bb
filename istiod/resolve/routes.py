"""Routes of one virtual host: those of a VirtualService, the default one of a service, and the fallback for strangers.

Input: a rule and who asks. Owns order, names and trace operations; matches and actions are next door, virtual hosts
are put together in `istiod.resolve.sidecar_routes` and `istiod.resolve.gateway_routes`. Names: Istio's (`default`,
`allow_any`, `block_all`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from federation.model.service import Service, ServicePort
from federation.model.sni import OutboundName
from istiod.api.virtualservice import HTTPMatchRequest, HTTPRoute
from istiod.resolve.connection import BLACK_HOLE, LOOKED_UP
from istiod.resolve.gateway_semantics import with_gateway_semantics
from istiod.resolve.routes_action import (
    ActionContext,
    cors_spec,
    direct_response,
    fault_spec,
    forward,
    redirect,
    route_headers,
    with_retries,
)
from istiod.resolve.routes_match import CATCH_ALL, Caller, holds_for, is_catch_all, route_match
from istiod.resolve.specs.match import MatchKind
from istiod.resolve.specs.route import (
    DirectResponse,
    HeaderOperations,
    Redirect,
    RouteAction,
    RouteMatch,
    RouteSpec,
    VirtualHostSpec,
    WeightedCluster,
)
from istiod.resolve.virtual_services import Rules

HTTP_PORT = 80


# The routes made of one match: one, or two where idempotent methods have retries of their own. Never torn apart.
RouteGroup = tuple[RouteSpec, ...]


def rule_routes(rules: Rules, caller: Caller, context: ActionContext, operation_host: str) -> list[RouteGroup]:
    """The routes of one VirtualService for one caller and port, in the user's order; what a catch-all hides is left
    out.
    """
    groups: list[RouteGroup] = []
    for http, place in zip(rules.http, rules.places, strict=True):
        matches: Sequence[HTTPMatchRequest | None] = http.match or (None,)
        for index, match in enumerate(matches):
            if match is not None and not holds_for(match, caller, rules.key.namespace):
                continue
            origin = f"{place}.match[{index}]" if match is not None else place
            groups.append(_routes(rules, http, match, context, operation_host, origin))
            if takes_all(groups[-1]):
                return groups
    return groups


def takes_all(group: RouteGroup) -> bool:
    """Whether no request passes by this group."""
    return is_catch_all(group[-1].match)


def flatten(groups: Iterable[RouteGroup]) -> tuple[RouteSpec, ...]:
    """The routes of all groups in order."""
    return tuple(route for group in groups for route in group)


def _routes(
    rules: Rules,
    http: HTTPRoute,
    match: HTTPMatchRequest | None,
    context: ActionContext,
    operation_host: str,
    origin: str,
) -> tuple[RouteSpec, ...]:
    action, request, response = _action(http, context)
    matched = route_match(match)
    route = RouteSpec(
        name=".".join(part for part in (http.name, match.name if match is not None else "") if part),
        match=matched,
        action=action,
        request_headers=request,
        response_headers=response,
        fault=fault_spec(http.fault),
        cors=cors_spec(http.cors_policy),
        operation=_operation(action, matched, operation_host, context.listener_port),
        config=rules.config,
        stat_prefix=match.stat_prefix if match is not None else "",
        origin=origin,
    )
    if rules.gateway_api:
        route = with_gateway_semantics(route)
    return with_retries(route, http.retries, context)


def _action(
    http: HTTPRoute, context: ActionContext
) -> tuple[RouteAction | Redirect | DirectResponse, HeaderOperations, HeaderOperations]:
    if http.redirect is not None:
        return redirect(http.redirect, context.listener_port, context.tls), *route_headers(http)
    if http.direct_response is not None:
        return direct_response(http), *route_headers(http)
    return forward(http, context)


def _operation(action: RouteAction | Redirect | DirectResponse, match: RouteMatch, host: str, port: int) -> str:
    """How traces call requests of this route: `host:port/path*`, by the destination where there is just one."""
    path = "/*"
    if match.path is not None:
        path = match.path.value + ("*" if match.path.kind is MatchKind.PREFIX else "")
    if isinstance(action, RouteAction) and len(action.clusters) == 1:
        target = OutboundName.parse(action.clusters[0].name)
        return f"{target.host}:{target.port}{path}"
    return f"{host}:{port}{path}"


def default_routes(service: Service, port: ServicePort, context: ActionContext) -> tuple[RouteSpec, ...]:
    """What holds for a service without rules: everything goes to the service itself."""
    target = OutboundName(port.number, "", service.host)
    action = RouteAction(
        (WeightedCluster(target.format_cluster(), 100),),
        timeout=0.0,
        max_grpc_timeout=0.0,
        hash_policies=context.hash_policies(target),
    )
    route = RouteSpec("default", CATCH_ALL, action, operation=f"{service.host}:{port.number}/*")
    return with_retries(route, None, context)


def fallback_host(strangers: str) -> VirtualHostSpec:
    """What happens to hosts nobody declared: passed to where the caller wanted to go or DNS says, or refused with
    502.
    """
    if strangers == BLACK_HOLE:
        route = RouteSpec("block_all", CATCH_ALL, DirectResponse(502))
        return VirtualHostSpec("block_all", ("*",), (route,))
    action = RouteAction((WeightedCluster(strangers, 100),), timeout=0.0, max_grpc_timeout=0.0)
    name = "allow_any_dynamic_dns" if strangers == LOOKED_UP else "allow_any"
    return VirtualHostSpec(name, ("*",), (RouteSpec(name, CATCH_ALL, action),))
