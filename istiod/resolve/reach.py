"""Which classes of proxies an edited object can matter to at all, so that only those are resolved again.

Pure, and never wrong in one direction: where it is not certain that an edit passes a view by, it reaches it. Rules:
`exportTo`, Sidecar imports, and what a policy is attached to. Kinds that are not listed reach every view.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import is_
from typing import Any

from federation.model.names import NamespacedName, host_matches, resolve_short_host
from istiod.api.destinationrule import DestinationRule
from istiod.api.kinds import Kind
from istiod.api.meta import Invalid, Object
from istiod.api.virtualservice import VirtualService
from istiod.resolve.attachment import is_for
from istiod.resolve.gateway_servers import gateways_of
from istiod.resolve.objects import table_of
from istiod.resolve.routes_match import MESH, qualified_gateways
from istiod.resolve.scope import cluster_domain, scope_of
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.view.visibility import egress_admits, exported, sidecar_of

Reach = Callable[[Snapshot, ProxyView, Any], bool]


def reaches(old: Snapshot, new: Snapshot, view: ProxyView, objects: Mapping[str, Collection[NamespacedName]]) -> bool:
    """Whether one of these changed objects, as it was or as it is, can matter to a view."""
    for kind, keys in objects.items():
        rule = _RULES.get(kind)
        if rule is None:
            return True
        for snapshot in (old, new):
            table = table_of(snapshot, kind)
            if any(key in table and rule(snapshot, view, table[key]) for key in keys):
                return True
    return False


def keeps_upstreams(
    old: Snapshot, new: Snapshot, view: ProxyView, objects: Mapping[str, Collection[NamespacedName]]
) -> bool:
    """Whether a view has the same upstreams and endpoints after an edit: VirtualServices alone, that need no service
    that was not there. Patches may take upstreams away by what they match, so with them nothing is certain.
    """
    if objects.keys() - {Kind.VIRTUAL_SERVICE} or table_of(new, Kind.ENVOY_FILTER):
        return False
    before, after = scope_of(old, view).services, scope_of(new, view).services
    return len(before) == len(after) and all(map(is_, before, after))


def _virtual_service(snapshot: Snapshot, view: ProxyView, item: Object[VirtualService]) -> bool:
    spec, owner = item.spec, item.meta.namespace
    if not spec.hosts:
        return True  # a delegate: of which others it is a part is not looked up
    default = snapshot.mesh.default_virtual_service_export_to or ("*",)
    if not exported(spec.export_to or default, owner, view.namespace):
        return False
    gateways = qualified_gateways(spec.gateways or (MESH,), owner)
    if view.type is ProxyType.ROUTER:
        return not gateways.isdisjoint(gateways_of(table_of(snapshot, Kind.GATEWAY), view))
    return MESH in gateways and _imported(snapshot, view, owner, spec.hosts)


def _imported(snapshot: Snapshot, view: ProxyView, owner: str, hosts: Collection[str]) -> bool:
    """Whether the view's Sidecar, if it has one, lets in an object of `owner` for one of these hosts."""
    sidecar = sidecar_of(snapshot, view)
    if sidecar is None or not sidecar.spec.egress:
        return True
    return any(
        egress_admits(listener.hosts, view.namespace, owner, resolve_short_host(host, owner), rule=True)
        for listener in sidecar.spec.egress
        for host in hosts
    )


def _destination_rule(snapshot: Snapshot, view: ProxyView, item: Object[DestinationRule]) -> bool:
    spec, owner = item.spec, item.meta.namespace
    default = tuple(snapshot.mesh.default_destination_rule_export_to) or ("*",)
    if not exported(spec.export_to or default, owner, view.namespace):
        return False
    host = resolve_short_host(spec.host, owner, cluster_domain(view))
    services = scope_of(snapshot, view).by_host
    served = {target.service.host for target in view.targets}  # its connection pool holds at the server too
    if not host.startswith("*"):
        return host in services or host in served
    return any(host_matches(host, name) for name in (*services, *served))


def _gateway(_: Snapshot, view: ProxyView, item: Any) -> bool:
    return view.type is ProxyType.ROUTER and view.labels.selected_by(item.spec.selector or {})


def _sidecar(snapshot: Snapshot, view: ProxyView, item: Any) -> bool:
    return view.type is not ProxyType.ROUTER and _may_be_for(snapshot, view, item)


def _policy(snapshot: Snapshot, view: ProxyView, item: Any) -> bool:
    if not _may_be_for(snapshot, view, item):
        return False
    if isinstance(item, Invalid):
        return view.labels.selected_by(item.selector)
    return is_for(item.spec, item.meta.namespace, view)


def _telemetry(snapshot: Snapshot, view: ProxyView, item: Any) -> bool:
    # Where metrics are in force, all the mesh's workloads tell their callers and servers who they are.
    return bool(item.spec.metrics) or _policy(snapshot, view, item)


def _never(_: Snapshot, __: ProxyView, ___: Any) -> bool:
    return False


def _may_be_for(snapshot: Snapshot, view: ProxyView, item: Any) -> bool:
    return item.meta.namespace in (view.namespace, snapshot.mesh.root_namespace)


_RULES: dict[str, Reach] = {
    Kind.VIRTUAL_SERVICE: _virtual_service,
    Kind.DESTINATION_RULE: _destination_rule,
    Kind.GATEWAY: _gateway,
    Kind.SIDECAR: _sidecar,
    Kind.REQUEST_AUTHENTICATION: _policy,
    Kind.AUTHORIZATION_POLICY: _policy,
    Kind.TELEMETRY: _telemetry,
    Kind.ENVOY_FILTER: _policy,
    Kind.PROXY_CONFIG: _never,  # proxies are started by it, and not told it
    Kind.WORKLOAD_GROUP: _never,
    Kind.SECRET: _never,  # proxies get Secrets by name, beside their configuration
}
