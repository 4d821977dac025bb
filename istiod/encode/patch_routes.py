"""Patches of route configurations and what is in them: virtual hosts and routes.

Which route configurations a patch is for, `istiod.resolve.patches` has found; for those that stand inside a listener it
is asked here. Rules: EnvoyFilter reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from istiod.api.envoyfilter import ApplyTo, Operation, RouteAction
from istiod.encode.patch import value_of
from istiod.encode.patch_list import edit
from istiod.encode.patch_merge import merge
from istiod.resolve.patches import routes_match
from istiod.resolve.specs.patch import PatchRef, PatchSpec, RouteTarget

_ADDS = frozenset({Operation.ADD, Operation.INSERT_FIRST, Operation.INSERT_BEFORE, Operation.INSERT_AFTER})
_ACTIONS = {
    "route": RouteAction.ROUTE,
    "redirect": RouteAction.REDIRECT,
    "direct_response": RouteAction.DIRECT_RESPONSE,
}


def patch_routes(routes: RouteConfiguration, patches: Iterable[PatchSpec]) -> frozenset[PatchRef]:
    """Change routes that stand inside a listener, by the patches that mean them; tells which did something."""
    return patch_configuration(routes, [p for p in patches if routes_match(routes.name, _target(p))])


def patch_configuration(routes: RouteConfiguration, patches: Iterable[PatchSpec]) -> frozenset[PatchRef]:
    """Change a route configuration that these patches are for; tells which did something."""
    done: set[PatchRef] = set()
    by_kind: dict[ApplyTo, list[PatchSpec]] = {}
    for patch in patches:
        by_kind.setdefault(patch.apply_to, []).append(patch)
    for patch in by_kind.get(ApplyTo.ROUTE_CONFIGURATION, ()):
        if _merge(routes, patch):
            done.add(patch.ref)
    hosts = by_kind.get(ApplyTo.VIRTUAL_HOST, ())
    for patch in hosts:
        if patch.operation is not Operation.ADD:
            done |= _patch_hosts(routes, patch)
    # What is added comes last, as in Istio, so that it is as the patch has it, and nothing is merged into it.
    inside = sorted(by_kind.get(ApplyTo.HTTP_ROUTE, ()), key=lambda patch: patch.operation in _ADDS)
    for host in routes.virtual_hosts:
        for patch in inside:
            if _is_host(patch, host) and _patch_route(host, patch):
                done.add(patch.ref)
    for patch in hosts:
        if patch.operation is Operation.ADD and edit(routes.virtual_hosts, patch, lambda _: False, False):
            done.add(patch.ref)
    return frozenset(done)


def _patch_hosts(routes: RouteConfiguration, patch: PatchSpec) -> set[PatchRef]:
    hosts = routes.virtual_hosts
    found = [index for index, host in enumerate(hosts) if _is_host(patch, host)]
    value = value_of(patch).message
    changed = False
    for index in reversed(found):
        if patch.operation is Operation.REMOVE:
            del hosts[index]
            changed = True
        elif patch.operation is Operation.REPLACE and isinstance(value, VirtualHost):
            hosts[index].CopyFrom(value)
            changed = True
        else:
            changed = _merge(hosts[index], patch) or changed
    return {patch.ref} if changed else set()


def _patch_route(host: VirtualHost, patch: PatchSpec) -> bool:
    if not patch.operation.merges:
        return edit(host.routes, patch, lambda route: _is_route(patch, route), _target(patch).names_route)
    merged = [_merge(route, patch) for route in host.routes if _is_route(patch, route)]
    return any(merged)


def _merge(target: RouteConfiguration | VirtualHost | Route, patch: PatchSpec) -> bool:
    value = value_of(patch).message
    if value is None:
        return False
    merge(target, value, patch.operation is Operation.MERGE_AND_REPLACE_LIST)
    return True


def _is_host(patch: PatchSpec, host: VirtualHost) -> bool:
    target = _target(patch)
    return (not target.host or target.host == host.name) and (not target.domain or target.domain in host.domains)


def _is_route(patch: PatchSpec, route: Route) -> bool:
    target = _target(patch)
    if target.route and target.route != route.name:
        return False
    return target.action is RouteAction.ANY or _ACTIONS.get(route.WhichOneof("action") or "") is target.action


def _target(patch: PatchSpec) -> RouteTarget:
    assert isinstance(patch.target, RouteTarget)
    return patch.target
