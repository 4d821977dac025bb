"""Routes and what they hang on: listeners of Gateways, or Services for traffic inside the mesh.

Rules: `parentRefs`, `allowedRoutes`, intersection of hosts; of the listeners of a port only the most specific takes a
host. Input: Gateways with their listeners judged (`istiod.gatewayapi.listeners`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation.model.names import NamespacedName, host_matches
from istiod.api.gatewayapi.references import GROUP, ParentReference
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.serviceentry import ServiceEntry
from istiod.gatewayapi.listeners import Listener, Served, labels_of
from istiod.gatewayapi.status import ACCEPTED, Fault
from istiod.gatewayapi.world import ISTIO, World

Gateways = Mapping[NamespacedName, Served | None]  # None = another controller's


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """One listener that a route hangs on, and the hosts that it gets there (none if others are nearer to all)."""

    listener: Listener
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """What became of one parent reference. `services` are hosts of the mesh (with their namespace)."""

    reference: ParentReference
    name: str
    hooks: tuple[Hook, ...] = ()
    services: tuple[tuple[str, str], ...] = ()
    faults: tuple[Fault, ...] = ()


def parents_of(world: World, gateways: Gateways, route: Object[Any]) -> Iterator[Parent]:
    """Every parent reference of a route that is ours to answer."""
    for index, reference in enumerate(route.spec.parent_refs):
        path = f"spec.parentRefs[{index}]"
        namespace = reference.namespace or route.meta.namespace
        key = NamespacedName(namespace, reference.name)
        name = f"{reference.kind} {key}"
        if (reference.group, reference.kind) == (GROUP, "Gateway"):
            if key not in gateways:
                fault = _no_parent(f"{path}.name", f"there is no Gateway {key}", "create it, or correct the name")
                yield Parent(reference, name, faults=(fault,))
            elif (found := gateways[key]) is not None:
                hooks, faults = _hooks(world, found, route, reference, path)
                yield Parent(reference, name, hooks, faults=faults)
        else:
            yield _mesh_parent(world, reference, name, key, path)


def _hooks(
    world: World, gateway: Served, route: Object[Any], reference: ParentReference, path: str
) -> tuple[tuple[Hook, ...], tuple[Fault, ...]]:
    meant = [
        listener
        for listener in gateway.listeners
        if reference.section_name in ("", listener.said.name) and reference.port in (None, listener.said.port)
    ]
    if not meant:
        known = ", ".join(f"{listener.said.name}:{listener.said.port}" for listener in gateway.listeners)
        field = "sectionName" if reference.section_name else "port"
        return (), (_no_parent(f"{path}.{field}", "means no listener", f"use one of {known}"),)
    labels = labels_of(world, route.meta.namespace)
    open_to = [item for item in meant if route.kind in item.kinds and item.admits(route.meta.namespace, labels)]
    if not open_to:
        message = f"no listener of {gateway.gateway.meta.key} allows a {route.kind} of namespace {route.meta.namespace}"
        fault = Fault(ACCEPTED, "NotAllowedByListeners", path, message, "change allowedRoutes of the listener")
        return (), (fault,)
    said = getattr(route.spec, "hostnames", ())
    hooks = []
    for listener in open_to:
        hosts = meet(listener.host, said)
        if hosts and listener.usable:
            nearest = tuple(host for host in hosts if gateway.best_for(host, listener) is listener)
            hooks.append(Hook(listener, nearest))
    if hooks:
        return tuple(hooks), ()
    if any(meet(listener.host, said) for listener in open_to):
        message, fix = "its listeners are not served", "correct the Gateway's listeners"
        return (), (Fault(ACCEPTED, "NoReadyListener", path, message, fix),)
    message = f"no host is one of listener {', '.join(item.said.name for item in open_to)}"
    fault = Fault(ACCEPTED, "NoMatchingListenerHostname", "spec.hostnames", message, "use a host of the listener")
    return (), (fault,)


def meet(listener: str, hosts: Sequence[str]) -> tuple[str, ...]:
    """The hosts that a listener and a route have in common: of each pair the narrower; all of the listener's for a
    route without hosts.
    """
    if not hosts:
        return (listener,)
    found = (
        host if host_matches(listener, host) else listener
        for host in hosts
        if host_matches(listener, host) or host_matches(host, listener)
    )
    return tuple(dict.fromkeys(found))


def _mesh_parent(world: World, reference: ParentReference, name: str, key: NamespacedName, path: str) -> Parent:
    if (reference.group, reference.kind) == ("", "Service"):
        service = world.service(key.namespace, key.name)
        if service is None:
            fault = _no_parent(f"{path}.name", f"there is no Service {key}", "create it, or correct the name")
            return Parent(reference, name, faults=(fault,))
        if reference.port is not None and service.port(reference.port) is None:
            known = ", ".join(str(port.number) for port in service.ports)
            fault = _no_parent(f"{path}.port", f"Service {key} has no port {reference.port}", f"use one of {known}")
            return Parent(reference, name, faults=(fault,))
        return Parent(reference, name, services=((service.host, key.namespace),))
    if (reference.group, reference.kind) == (ISTIO, "ServiceEntry"):
        item = world.table(Kind.SERVICE_ENTRY).get(key)
        if isinstance(item, Object) and isinstance(item.spec, ServiceEntry):
            return Parent(reference, name, services=tuple((host, key.namespace) for host in item.spec.hosts))
        fault = _no_parent(f"{path}.name", f"there is no ServiceEntry {key}", "create it, or correct the name")
        return Parent(reference, name, faults=(fault,))
    kind = f"{reference.group}/{reference.kind}".strip("/")[:100]
    fault = _no_parent(f"{path}.kind", f"{kind!r} is no kind that routes can hang on", "name a Gateway or a Service")
    return Parent(reference, name, faults=(fault,))


def _no_parent(path: str, message: str, fix: str) -> Fault:
    return Fault(ACCEPTED, "NoMatchingParent", path, message, fix)
