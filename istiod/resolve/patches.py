"""EnvoyFilters -> patches on the specs of one view: which objects they are for, in which order. Pure.

Owns everything about a patch that does not need Envoy's messages: selection, order, contexts, and the matching of whole
listeners, route configurations and upstreams, which REMOVE takes away here. The rest is `istiod.encode.patch_*`. Rules:
EnvoyFilter reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from istiod.api.envoyfilter import ApplyTo, ConfigPatch, EnvoyFilter, Operation, PatchContext, is_effective
from istiod.api.kinds import Kind
from istiod.resolve.attachment import policies_for
from istiod.resolve.gateway_routes import route_name
from istiod.resolve.gateway_servers import OpenPort
from istiod.resolve.specs.cluster import ClusterSpec
from istiod.resolve.specs.listener import Direction, ListenerSpec
from istiod.resolve.specs.patch import ClusterTarget, ListenerTarget, PatchRef, PatchSpec, RouteTarget, Target
from istiod.resolve.specs.route import RouteConfigSpec
from istiod.snapshot import Snapshot
from istiod.view.classes import VERSION_KEY
from istiod.view.proxy import ProxyType, ProxyView

S = TypeVar("S", ListenerSpec, ClusterSpec, RouteConfigSpec)
VIRTUAL = ("virtualInbound", "virtualOutbound")
_IN_LISTENERS = frozenset(
    {
        ApplyTo.LISTENER,
        ApplyTo.LISTENER_FILTER,
        ApplyTo.FILTER_CHAIN,
        ApplyTo.NETWORK_FILTER,
        ApplyTo.HTTP_FILTER,
    }
)
_IN_ROUTES = frozenset({ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE})
_ADDED = frozenset({ApplyTo.LISTENER, ApplyTo.CLUSTER, ApplyTo.EXTENSION_CONFIG})


@dataclass(frozen=True, slots=True)
class ServerPort:
    """What a gateway's listener or route configuration was made of: server ports, their names, and Gateways."""

    numbers: frozenset[int]
    names: frozenset[str]
    gateways: frozenset[str]


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches that are for a view, in order, each with the context it is for."""

    all: tuple[tuple[PatchContext, PatchSpec], ...]
    view: ProxyView
    servers: Mapping[str, ServerPort]

    @property
    def specs(self) -> tuple[PatchSpec, ...]:
        """All of them."""
        return tuple(patch for _, patch in self.all)

    @property
    def added(self) -> tuple[PatchSpec, ...]:
        """Those that are resources of their own: added listeners, upstreams and extension configurations."""
        return tuple(patch for _, patch in self.all if _adds(patch))

    def listeners(self, specs: Iterable[ListenerSpec]) -> Iterator[ListenerSpec]:
        """The listeners with their patches, without those that a patch removes."""
        return self._patched(specs, self._of_listener)

    def routes(self, specs: Iterable[RouteConfigSpec]) -> Iterator[RouteConfigSpec]:
        """The route configurations with their patches."""
        return self._patched(specs, self._of_routes)

    def clusters(self, specs: Iterable[ClusterSpec]) -> Iterator[ClusterSpec]:
        """The upstreams with their patches, without those that a patch removes."""
        return self._patched(specs, self._of_cluster)

    def removing(self, specs: Iterable[ListenerSpec | ClusterSpec]) -> frozenset[PatchRef]:
        """The patches that take away at least one of these."""
        found: set[PatchRef] = set()
        for spec in specs:
            patches = self._of_listener(spec) if isinstance(spec, ListenerSpec) else self._of_cluster(spec)
            found.update(patch.ref for patch in patches if _removes(patch))
        return frozenset(found)

    def _patched(self, specs: Iterable[S], find: Callable[[S], Iterator[PatchSpec]]) -> Iterator[S]:
        for spec in specs:
            patches = tuple(find(spec))
            if not any(_removes(patch) for patch in patches):
                yield replace(spec, patches=patches) if patches else spec

    def _of_listener(self, spec: ListenerSpec) -> Iterator[PatchSpec]:
        """Patches of a listener; those of routes too, which count where routes stand inside it."""
        context = self._context(spec.direction is Direction.INBOUND)
        for said, patch in self._in(context):
            if patch.apply_to in _IN_ROUTES and context is PatchContext.SIDECAR_INBOUND:
                yield patch
            elif patch.apply_to in _IN_LISTENERS and not _adds(patch) and self._is_listener(spec, patch):
                yield self._in_chains(patch, said, context)

    def _is_listener(self, spec: ListenerSpec, patch: PatchSpec) -> bool:
        target = patch.target
        assert isinstance(target, ListenerTarget)
        if target.name and target.name != spec.name:
            return False
        if not target.port or (spec.name in VIRTUAL and patch.apply_to is not ApplyTo.LISTENER):
            return True
        server = self.servers.get(spec.name)
        return target.port == spec.port or (server is not None and target.port in server.numbers)

    def _in_chains(self, patch: PatchSpec, said: PatchContext, context: PatchContext) -> PatchSpec:
        """With the ports that chains of the workload know a service port by."""
        target = patch.target
        if context is not PatchContext.SIDECAR_INBOUND or not isinstance(target, ListenerTarget) or not target.port:
            return patch
        own = {found.target_port for found in self.view.targets if found.port.number == target.port}
        return replace(patch, target=replace(target, chain_ports=tuple(sorted({target.port, *own}))))

    def _of_routes(self, spec: RouteConfigSpec) -> Iterator[PatchSpec]:
        for _, patch in self._in(self._context(inbound=False)):
            if patch.apply_to in _IN_ROUTES and self._is_routes(spec.name, patch.target):
                yield patch

    def _is_routes(self, name: str, target: Target) -> bool:
        assert isinstance(target, RouteTarget)
        server = self.servers.get(name)
        if server is None or self.view.type is not ProxyType.ROUTER:
            return routes_match(name, target)
        return (
            (not target.name or target.name == name)
            and (not target.port or target.port in server.numbers)
            and (not target.port_name or target.port_name in server.names)
            and (not target.gateway or target.gateway in server.gateways)
        )

    def _of_cluster(self, spec: ClusterSpec) -> Iterator[PatchSpec]:
        inbound = spec.name.startswith(("inbound|", "Inbound"))
        for _, patch in self._in(self._context(inbound)):
            if patch.apply_to is ApplyTo.CLUSTER and not _adds(patch) and _is_cluster(spec, inbound, patch.target):
                yield patch

    def _context(self, inbound: bool) -> PatchContext:
        if self.view.type is ProxyType.ROUTER:
            return PatchContext.GATEWAY
        return PatchContext.SIDECAR_INBOUND if inbound else PatchContext.SIDECAR_OUTBOUND

    def _in(self, context: PatchContext) -> Iterator[tuple[PatchContext, PatchSpec]]:
        return (item for item in self.all if item[0] in (context, PatchContext.ANY))


def patches_of(snapshot: Snapshot, view: ProxyView, ports: Sequence[OpenPort] = ()) -> Patches | None:
    """The patches for a view, in order: priority, then the root namespace's, then the oldest. None without any.

    `ports` are those that a router opens.
    """
    policies = policies_for(snapshot, Kind.ENVOY_FILTER, EnvoyFilter, view)
    found = tuple(
        (said.match.context, _spec(str(policy), index, said))
        for policy in sorted(policies, key=lambda policy: policy.spec.priority)
        for index, said in enumerate(policy.spec.config_patches)
        if _is_for(said, view)
    )
    return Patches(found, view, _servers(view, ports)) if found else None


def routes_match(name: str, target: RouteTarget) -> bool:
    """Whether a route configuration of a sidecar is meant: `80`, `host:80`, `inbound|8080||`."""
    if target.name and target.name != name:
        return False
    if not target.port:
        return True
    inbound = name.startswith("inbound|")
    port = name.split("|")[1] if inbound else name.rpartition(":")[2]
    return port == str(target.port)


def _is_for(said: ConfigPatch, view: ProxyView) -> bool:
    """Whether a patch can do anything to a view: it has effect, its context and its proxy are right."""
    router = view.type is ProxyType.ROUTER
    contexts = (
        (PatchContext.ANY, PatchContext.GATEWAY)
        if router
        else (PatchContext.ANY, PatchContext.SIDECAR_INBOUND, PatchContext.SIDECAR_OUTBOUND)
    )
    if said.match.context not in contexts or said.match.waypoint is not None:
        return False
    if not is_effective(said.apply_to, said.patch.operation):
        return False
    proxy = said.match.proxy
    if proxy is None:
        return True
    if proxy.proxy_version and not re.search(proxy.proxy_version, view.metadata.get(VERSION_KEY, "\0")):
        return False
    return view.metadata.selected_by(proxy.metadata)


def _spec(name: str, index: int, said: ConfigPatch) -> PatchSpec:
    operation = said.patch.operation
    if operation.inserts and said.apply_to not in _ORDERED:
        operation = Operation.ADD
    value = said.patch.value if operation is not Operation.REMOVE else None
    return PatchSpec(
        PatchRef(name, index),
        said.apply_to,
        operation,
        json.dumps(value, sort_keys=True, separators=(",", ":")) if value is not None else "",
        _target(said),
        said.patch.filter_class,
    )


_ORDERED = frozenset({ApplyTo.LISTENER_FILTER, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER, ApplyTo.HTTP_ROUTE})


def _target(said: ConfigPatch) -> Target:
    if said.apply_to in _IN_ROUTES:
        return _route_target(said)
    if said.apply_to is ApplyTo.CLUSTER:
        match = said.match.cluster
        return ClusterTarget(match.name, match.port_number, match.service, match.subset) if match else ClusterTarget()
    return _listener_target(said)


def _listener_target(said: ConfigPatch) -> ListenerTarget:
    match = said.match.listener
    if match is None:
        return ListenerTarget()
    target = ListenerTarget(
        match.name,
        match.port_number,
        match.listener_filter,
        (match.port_number,) if match.port_number else (),
    )
    chain = match.filter_chain
    if chain is None:
        return target
    network = chain.filter.name if chain.filter else ""
    inner = chain.filter.sub_filter.name if chain.filter and chain.filter.sub_filter else ""
    return replace(
        target,
        chain=chain.name,
        sni=chain.sni,
        transport_protocol=chain.transport_protocol,
        application_protocols=tuple(chain.application_protocols.split(",")) if chain.application_protocols else (),
        destination_port=chain.destination_port,
        filter=network,
        sub_filter=inner,
    )


def _route_target(said: ConfigPatch) -> RouteTarget:
    match = said.match.route_configuration
    if match is None:
        return RouteTarget()
    target = RouteTarget(match.name, match.port_number, match.port_name, match.gateway)
    if match.vhost is None:
        return target
    target = replace(target, host=match.vhost.name, domain=match.vhost.domain_name)
    route = match.vhost.route
    return replace(target, route=route.name, action=route.action) if route is not None else target


def _is_cluster(spec: ClusterSpec, inbound: bool, target: Target) -> bool:
    assert isinstance(target, ClusterTarget)
    if target.name:
        return target.name == spec.name
    _, port, subset, host = _parts(spec.name)
    hosts = {service.host for service in spec.services} if inbound else {host}
    return (
        (not target.port or str(target.port) == port)
        and (not target.subset or target.subset == subset)
        and (not target.service or target.service in hosts)
    )


def _parts(name: str) -> tuple[str, str, str, str]:
    """Direction, port, subset and host of an upstream's name; empty for one that stands for no service."""
    for separator in ("|", "_."):
        parts = name.split(separator, 3)
        if len(parts) == 4:
            return parts[0], parts[1].strip("_"), parts[2].strip("_"), parts[3].strip("_")
    return "", "", "", ""


def _servers(view: ProxyView, ports: Iterable[OpenPort]) -> dict[str, ServerPort]:
    """What a router's listeners and route configurations were made of, by their names."""
    found: dict[str, ServerPort] = {}
    for port in ports:
        address = port.bind or ("0.0.0.0" if view.ipv4 else "::")
        named = {f"{address}_{port.port}": list(port.servers)}
        for server in port.servers:
            named.setdefault(route_name(server, port.port, port.bind), []).append(server)
        for name, servers in named.items():
            found[name] = ServerPort(
                frozenset({port.port, *(server.number for server in servers)}),
                frozenset(server.name for server in servers),
                frozenset(str(server.gateway) for server in servers),
            )
    return found


def _adds(patch: PatchSpec) -> bool:
    return patch.apply_to in _ADDED and patch.operation is Operation.ADD


def _removes(patch: PatchSpec) -> bool:
    return patch.operation is Operation.REMOVE and patch.apply_to in (ApplyTo.LISTENER, ApplyTo.CLUSTER)
