"""One view's whole configuration as specs. The entry of the package for the pipeline.

`resolve_view` computes everything for a view; `resolve_endpoints` only the endpoints of one service, for the fast path
of endpoint changes. Both give the same result for the same snapshot. Listeners and routes do not depend on where a
proxy runs or what it serves, so views that differ only there share them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from federation.model.findings import Finding
from federation.model.names import ServiceKey
from federation.model.service import Resolution, Service
from istiod.memo import memo
from istiod.resolve.authz import guard_of
from istiod.resolve.clusters import outbound_clusters, passthrough_clusters
from istiod.resolve.eastwest import passed_services, with_implied_server
from istiod.resolve.endpoints import endpoints_of
from istiod.resolve.gateway_servers import OpenPort, open_ports, port_findings
from istiod.resolve.gateways import gateway_listeners
from istiod.resolve.inbound import inbound_listeners
from istiod.resolve.inbound_ports import inbound_clusters, port_conflicts, served_by
from istiod.resolve.jwt import jwt_findings
from istiod.resolve.objects import table_of
from istiod.resolve.outbound import outbound
from istiod.resolve.patches import patches_of
from istiod.resolve.proxyless import proxyless_listeners
from istiod.resolve.scope import Scope, called_by, routing_class, scope_of
from istiod.resolve.sidecar_routes import sidecar_routes
from istiod.resolve.specs.cluster import ClusterSpec
from istiod.resolve.specs.endpoints import EndpointsSpec
from istiod.resolve.specs.listener import ListenerSpec
from istiod.resolve.specs.patch import PatchRef, PatchSpec
from istiod.resolve.specs.route import RouteConfigSpec
from istiod.resolve.telemetry import with_telemetry
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """All resources of one view, names unique within each tuple. Findings are about policies that could not be
    followed. `patches` are all that users wrote for this view: on the resources, `added` as resources of their own, or
    done already because they `removed` one.
    """

    listeners: tuple[ListenerSpec, ...]
    routes: tuple[RouteConfigSpec, ...]
    clusters: tuple[ClusterSpec, ...] = ()
    endpoints: tuple[EndpointsSpec, ...] = ()
    findings: tuple[Finding, ...] = ()
    patches: tuple[PatchSpec, ...] = ()
    added: tuple[PatchSpec, ...] = ()
    removed: frozenset[PatchRef] = frozenset()


def resolve_view(snapshot: Snapshot, view: ProxyView, upstreams: bool = True) -> ViewConfig:
    """Everything that proxies of this view must be told; without upstreams and endpoints where those are known."""
    ports = _ports(snapshot, view) if view.type is ProxyType.ROUTER else ()
    match view.type:
        case ProxyType.SIDECAR:
            config = _sidecar(snapshot, view)
        case ProxyType.ROUTER:
            config = _router(snapshot, view, ports)
        case ProxyType.GRPC:
            config = _proxyless(snapshot, view)
    if upstreams:
        clusters, endpoints = _upstreams(snapshot, view, ports)
        config = replace(config, clusters=clusters, endpoints=endpoints)
    return config if view.type is ProxyType.GRPC else _patched(snapshot, view, config, ports)


def _upstreams(
    snapshot: Snapshot, view: ProxyView, ports: tuple[OpenPort, ...]
) -> tuple[tuple[ClusterSpec, ...], tuple[EndpointsSpec, ...]]:
    """What a view sends requests to, and the endpoints behind it."""
    scope = scope_of(snapshot, view)
    clusters, endpoints = outbound_clusters(snapshot, view, scope.services), _endpoints(snapshot, view, scope.services)
    match view.type:
        case ProxyType.SIDECAR:
            clusters += inbound_clusters(snapshot, view)
        case ProxyType.ROUTER:
            passed = passed_services(view, scope, ports)
            clusters += passthrough_clusters(snapshot, view, passed)
            endpoints += _passed_endpoints(snapshot, view, passed)
    return tuple(clusters), endpoints


def resolve_endpoints(snapshot: Snapshot, view: ProxyView, key: ServiceKey) -> tuple[EndpointsSpec, ...]:
    """The endpoints of one service as this view gets them; empty if it does not see the service or needs none."""
    scope = scope_of(snapshot, view)
    service = scope.by_key.get(key)
    if service is None:
        return ()
    found = _endpoints(snapshot, view, (service,))
    if view.type is not ProxyType.ROUTER:
        return found
    passed = passed_services(view, scope, _ports(snapshot, view))
    return (*found, *_passed_endpoints(snapshot, view, (service,) if service in passed else ()))


def _endpoints(snapshot: Snapshot, view: ProxyView, services: Iterable[Service]) -> tuple[EndpointsSpec, ...]:
    """Endpoints of upstreams that ask for them; DNS names stand in the upstream, original destinations nowhere."""
    return tuple(
        spec
        for service in services
        if service.resolution is Resolution.ENDPOINTS
        or (service.resolution is Resolution.PASSTHROUGH and service.headless and view.type is not ProxyType.SIDECAR)
        for spec in endpoints_of(snapshot, view, service.key)
    )


def _passed_endpoints(snapshot: Snapshot, view: ProxyView, services: Iterable[Service]) -> tuple[EndpointsSpec, ...]:
    return tuple(spec for service in services for spec in endpoints_of(snapshot, view, service.key, passthrough=True))


@dataclass(frozen=True, slots=True)
class _Parts:
    listeners: tuple[ListenerSpec, ...]
    routes: tuple[RouteConfigSpec, ...]
    findings: tuple[Finding, ...] = ()


def _sidecar(snapshot: Snapshot, view: ProxyView) -> ViewConfig:
    parts = _shared_parts(snapshot, view, scope_of(snapshot, view))
    inbound = with_telemetry(snapshot, view, inbound_listeners(snapshot, view), served_by(snapshot, view).get)
    return ViewConfig(
        listeners=(*parts.listeners, *inbound),
        routes=parts.routes,
        findings=(*parts.findings, *port_conflicts(view), *_policy_findings(snapshot, view)),
    )


def _patched(snapshot: Snapshot, view: ProxyView, config: ViewConfig, ports: tuple[OpenPort, ...]) -> ViewConfig:
    """With the patches of EnvoyFilters; the parts that views share stay as they are."""
    patches = patches_of(snapshot, view, ports)
    if patches is None:
        return config
    return replace(
        config,
        clusters=tuple(patches.clusters(config.clusters)),
        listeners=tuple(patches.listeners(config.listeners)),
        routes=tuple(patches.routes(config.routes)),
        patches=patches.specs,
        added=patches.added,
        removed=patches.removing((*config.listeners, *config.clusters)),
    )


def _router(snapshot: Snapshot, view: ProxyView, ports: tuple[OpenPort, ...]) -> ViewConfig:
    scope = scope_of(snapshot, view)
    built = gateway_listeners(snapshot, view, scope, scope.gateway_rules, ports)
    return ViewConfig(
        listeners=with_telemetry(snapshot, view, built.listeners, called_by(scope)),
        routes=built.routes,
        findings=(*port_findings(table_of(snapshot, "Gateway"), view), *_policy_findings(snapshot, view)),
    )


def _policy_findings(snapshot: Snapshot, view: ProxyView) -> tuple[Finding, ...]:
    return (*guard_of(snapshot, view).findings, *jwt_findings(snapshot, view))


def _ports(snapshot: Snapshot, view: ProxyView) -> tuple[OpenPort, ...]:
    return with_implied_server(view, open_ports(table_of(snapshot, "Gateway"), view))


def _proxyless(snapshot: Snapshot, view: ProxyView) -> ViewConfig:
    listeners, routes = proxyless_listeners(snapshot, view, scope_of(snapshot, view))
    return ViewConfig(listeners, routes)


def _shared_parts(snapshot: Snapshot, view: ProxyView, scope: Scope) -> _Parts:
    """Outbound listeners and routes, made once for all views that differ only in what cannot matter to them."""
    known = _known_parts(
        snapshot.mesh,
        snapshot.services,
        table_of(snapshot, "VirtualService"),
        table_of(snapshot, "DestinationRule"),
        table_of(snapshot, "Sidecar"),
        table_of(snapshot, "Telemetry"),
        _members(snapshot),
    )
    key = routing_class(view)
    found = known.get(key)
    if found is None:
        found = known[key] = _outbound_parts(snapshot, key, scope)
    return found


@memo(size=2)
def _known_parts(*_inputs: object) -> dict[ProxyView, _Parts]:
    return {}


def _members(snapshot: Snapshot) -> object:
    """Endpoints matter to listeners only where a headless service has bytes to be caught per member."""
    return snapshot.endpoints if any(service.dialed_by_member for service in snapshot.services.values()) else None


def _outbound_parts(snapshot: Snapshot, view: ProxyView, scope: Scope) -> _Parts:
    built = outbound(snapshot, view, scope)
    routes = tuple(
        sidecar_routes(snapshot, view, scope, need.listener, need.name, need.port, need.host) for need in built.routes
    )
    listeners = with_telemetry(snapshot, view, built.listeners, called_by(scope))
    return _Parts(listeners, routes, built.findings)
