"""What a connection manager does with a request: checks, tokens, rules, virtual host, route, answer or upstream. Pure.

The order is that of `istiod.encode.filters`. Ends by raising `Ended` where the request goes no further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from istiod.resolve.config import ViewConfig
from istiod.resolve.specs.authz import Authorization, CheckSpec, HttpServer, RbacSpec, RuleSpec, Verdict
from istiod.resolve.specs.listener import HttpConnection
from istiod.resolve.specs.route import (
    DirectResponse,
    FaultSpec,
    Redirect,
    RouteAction,
    RouteConfigSpec,
    RouteSpec,
    VirtualHostSpec,
)
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView
from istiod.why.answer import Cause
from istiod.why.causes import (
    of_config,
    of_patches,
    of_route,
    of_rules,
    of_strangers,
    of_tokens,
    of_virtual_host,
)
from istiod.why.conditions import Facts, judge_rules
from istiod.why.matching import find_virtual_host, normalized_path, route_matches, text_matches
from istiod.why.request import Request
from istiod.why.tokens import judge_tokens
from istiod.why.trail import Trail
from istiod.why.upstreams import Upstreams

STRANGERS = ("allow_any", "block_all")  # virtual hosts for what no service has


@dataclass(frozen=True, slots=True)
class Context:
    """What is asked of: the world, the view, all its specs, and the time in Unix seconds."""

    snapshot: Snapshot
    view: ProxyView
    config: ViewConfig
    upstreams: Upstreams
    now: float


def follow_request(trail: Trail, context: Context, connection: HttpConnection, facts: Facts) -> None:
    """Everything that happens to a request of a connection."""
    request = replace(facts.request, path=normalized_path(facts.request.path, connection.path_normalization))
    if request.path != trail.request.path:
        trail.add("path", f"the path is taken as {request.path} (MeshConfig pathNormalization)")
    facts = replace(facts, request=request, client=client_address(request, connection))
    routes = _routes(trail, context, connection)
    guard(trail, connection.authorization, facts, before_tokens=True, denied=403)
    facts = _tokens(trail, context, connection, facts)
    guard(trail, connection.authorization, facts, before_tokens=False, denied=403)
    host = _virtual_host(trail, context, routes, facts)
    route = _route(trail, context, host, facts)
    _follow_route(trail, context, route, facts)


def client_address(request: Request, connection: HttpConnection) -> str:
    """Whose address counts as the client's: entries of `X-Forwarded-For` are believed from the last one backwards,
    as many as there are trusted hops, and one more where the connection's own end is not believed instead (Envoy's
    `use_remote_address` and `xff_num_trusted_hops`).
    """
    hops = connection.trusted_hops + (0 if connection.use_remote_address else 1)
    said = [part.strip() for part in (request.header("x-forwarded-for") or "").split(",") if part.strip()]
    return said[-hops] if 0 < hops <= len(said) else request.source


def _routes(trail: Trail, context: Context, connection: HttpConnection) -> RouteConfigSpec:
    name = connection.routes if isinstance(connection.routes, str) else connection.routes.name
    trail.route_configuration = name
    found = next((spec for spec in context.config.routes if spec.name == name), None)
    routes = connection.routes if isinstance(connection.routes, RouteConfigSpec) else found
    if routes is None:
        raise trail.end("route", f"there is no route configuration {name!r}", status=404)
    if routes.patches:
        said = "patches may change the routes; what they do is not followed here"
        trail.add("patches", said, of_patches(routes.patches))
    return routes


def guard(trail: Trail, spec: Authorization, facts: Facts, before_tokens: bool, denied: int | None) -> None:
    """What is checked before or after tokens are looked at; a refusal has the status `denied` (None = closed)."""
    for step in spec.checks if before_tokens else spec.rules:
        if isinstance(step, CheckSpec):
            _ask(trail, step, facts)
        else:
            _judge(trail, step, facts, denied)


def _ask(trail: Trail, check: CheckSpec, facts: Facts) -> None:
    if check.when.shadow is None:
        return
    asked = judge_rules(check.when.shadow, facts)
    if asked.passes is True:
        return
    upstream = check.server.upstream
    how = "over HTTP" if isinstance(check.server, HttpServer) else "over gRPC"
    said = f"the authorization server {upstream} is asked {how}; taken here as if it allowed the request"
    trail.add("authorization", said, of_rules(asked.rules))


def _judge(trail: Trail, spec: RbacSpec, facts: Facts, denied: int | None) -> None:
    for tried in (spec.shadow,) if spec.shadow is not None else ():
        if judge_rules(tried, facts).passes is False:
            trail.add("authorization", f"would be denied by {tried.verdict} policies on trial", _all(tried.rules))
    if spec.rules is None:
        return
    judged = judge_rules(spec.rules, facts)
    verdict = spec.rules.verdict
    if judged.passes is False:
        if verdict is Verdict.DENY:
            raise trail.end("authorization", "denied by a rule that matches", of_rules(judged.rules), denied)
        raise trail.end("authorization", "denied: no rule allows it", _all(spec.rules.rules), denied)
    if judged.passes is None:
        said = "depends on what was not said: the caller's address (--source-address), or what other filters leave"
        trail.doubt("authorization", f"{verdict} {said}", of_rules(judged.rules))
    elif verdict is Verdict.ALLOW:
        trail.add("authorization", "allowed by a rule that matches", of_rules(judged.rules))
    elif verdict is Verdict.DENY:
        trail.add("authorization", "no rule denies it", _all(spec.rules.rules))
    elif judged.rules:
        trail.add("authorization", "marked for audit", of_rules(judged.rules))


def _all(rules: tuple[RuleSpec, ...]) -> tuple[Cause, ...]:
    return tuple(dict.fromkeys(Cause(cause.object) for cause in of_rules(rules)))


def _tokens(trail: Trail, context: Context, connection: HttpConnection, facts: Facts) -> Facts:
    if connection.jwt is None:
        return facts
    verdict = judge_tokens(connection.jwt, facts.request, context.now)
    causes = of_tokens(context.snapshot, context.view, verdict.issuer)
    if not verdict.passes:
        raise trail.end("authentication", f"refused: the request {verdict.said}", causes, verdict.status)
    trail.add("authentication", f"the request {verdict.said}", causes)
    return replace(facts, claims=verdict.claims)


def _virtual_host(trail: Trail, context: Context, routes: RouteConfigSpec, facts: Facts) -> VirtualHostSpec:
    authority = facts.request.authority
    host = find_virtual_host(routes, authority)
    if host is None:
        said = f"route configuration {routes.name} has no virtual host for {authority}"
        raise trail.end("virtual host", said, status=404)
    trail.virtual_host = host.name
    causes = of_virtual_host(context.snapshot, context.view, host.name)
    if host.name in STRANGERS:
        causes = of_strangers(context.snapshot, context.view)
    trail.add("virtual host", f"{host.name} of route configuration {routes.name}, by {authority}", causes)
    if host.require_tls and facts.request.scheme != "https":
        raise trail.answered("redirect", "redirected to https, as the server's tls.httpsRedirect says", (), 301)
    return host


def _route(trail: Trail, context: Context, host: VirtualHostSpec, facts: Facts) -> RouteSpec:
    for route in host.routes:
        if route_matches(route.match, facts.request, facts.claims):
            trail.route = route.name
            trail.add("route", _named(route), of_config(context.snapshot, route.config, route.origin))
            return route
    causes = dict.fromkeys(c for route in host.routes for c in of_config(context.snapshot, route.config))
    said = f"none of the {len(host.routes)} routes of {host.name} matches {facts.request.bare_path}"
    raise trail.end("route", said, causes, 404)


def _named(route: RouteSpec) -> str:
    path = route.match.path
    words = [f"{path.kind.value} path {path.value}" if path is not None and path.value else "every path"]
    words += [f"header {header.name}" for header in route.match.headers]
    words += [f"parameter {query.name}" for query in route.match.query]
    words += [f"claim {'.'.join(said.claim)}" for said in route.match.claims]
    return f"{route.name or '(no name)'}, by {', '.join(words)}"


def _follow_route(trail: Trail, context: Context, route: RouteSpec, facts: Facts) -> None:
    snapshot = context.snapshot
    if route.fault is not None:
        _fault(trail, route.fault, of_route(snapshot, route, "fault"))
    origin = facts.request.header("origin")
    if route.cors is not None and facts.request.is_preflight and origin is not None:
        allowed = any(text_matches(match, origin) for match in route.cors.allow_origins)
        if allowed or not route.cors.forward_not_matching_preflights:
            causes = of_route(snapshot, route, "corsPolicy")
            raise trail.answered("cors", "the preflight request is answered by the proxy", causes, 200)
    match route.action:
        case Redirect() as redirect:
            said = f"redirected to {location(redirect, facts)}"
            raise trail.answered("redirect", said, of_route(snapshot, route, "redirect"), redirect.status)
        case DirectResponse(status):
            said = f"answered with {status} by the proxy itself"
            raise trail.answered("direct response", said, of_route(snapshot, route, "directResponse"), status)
        case RouteAction() as action:
            _forward(trail, context, route, action)


def _fault(trail: Trail, fault: FaultSpec, causes: tuple[Cause, ...]) -> None:
    if fault.delay is not None and fault.delay_percent:
        trail.add("fault", f"{fault.delay_percent:g} % of the requests wait {fault.delay:g} s first", causes)
    if not fault.abort_percent:
        return
    grpc = fault.abort_grpc_status is not None
    status = 200 if grpc else fault.abort_status or 503
    shown = f"gRPC status {fault.abort_grpc_status}" if grpc else f"{status}"
    said = f"{fault.abort_percent:g} % of the requests are answered with {shown}"
    if fault.abort_percent >= 100:
        raise trail.end("fault", said, causes, status)
    trail.add("fault", said, causes)


def _forward(trail: Trail, context: Context, route: RouteSpec, action: RouteAction) -> None:
    changes = [
        f"path {action.path_rewrite}" if action.path_rewrite is not None else "",
        f"path prefix {action.prefix_rewrite}" if action.prefix_rewrite is not None else "",
        f"path by pattern {action.regex_rewrite[0]}" if action.regex_rewrite is not None else "",
        f"host {action.host_rewrite}" if action.host_rewrite else "",
        "host of the endpoint" if action.auto_host_rewrite else "",
    ]
    if any(changes):
        said = f"rewritten to {', '.join(change for change in changes if change)}"
        trail.add("rewrite", said, of_route(context.snapshot, route, "rewrite"))
    if action.timeout:
        trail.add("timeout", f"{action.timeout:g} s", of_route(context.snapshot, route, "timeout"))
    if action.retry is not None:
        said = f"{action.retry.attempts} on {', '.join(action.retry.retry_on)}"
        causes = of_route(context.snapshot, route, "retries") if route.config else ()
        trail.add("retries", said if causes else f"{said} (by default)", causes)
    for mirror in action.mirrors:
        context.upstreams.copy(trail, mirror.cluster, mirror.percent)
    targets = [(cluster.name, cluster.weight) for cluster in action.clusters]
    context.upstreams.follow(trail, targets, action.not_found_status)


def location(redirect: Redirect, facts: Facts) -> str:
    """Where a redirect leads; rewriting by pattern is shown as the pattern."""
    request = facts.request
    scheme = redirect.scheme or ("https" if redirect.https else request.scheme)
    authority = request.authority
    host, colon, port = authority.rpartition(":") if authority.rpartition(":")[2].isdigit() else (authority, "", "")
    if redirect.port:
        port = "" if {"http": 80, "https": 443}.get(scheme) == redirect.port else str(redirect.port)
        colon = ":" if port else ""
    elif redirect.host or (scheme != request.scheme):
        colon, port = "", ""
    path = redirect.path or request.path
    if redirect.prefix is not None:
        path = f"{redirect.prefix}…"
    if redirect.regex is not None:
        path = f"{redirect.regex[0]} -> {redirect.regex[1]}"
    if redirect.strip_query:
        path = path.partition("?")[0]
    return f"{scheme}://{redirect.host or host}{colon}{port}{path}"
