"""Gateways of the Gateway API -> listeners, each with what is wrong with it, and as a Gateway of Istio's API.

Rules: Gateway reference (classes, protocols, conflicts, `allowedRoutes`, TLS). A Gateway is served by the pods that its
label names, or by those behind the Service that `spec.addresses` names; nothing is deployed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from federation.model.names import NamespacedName, host_matches
from federation.model.service import Service
from istiod.api.gateway import Gateway as IstioGateway
from istiod.api.gateway import GatewayPort, GatewayTLSMode, Server, ServerTLSSettings
from istiod.api.gatewayapi.gateway import From, Gateway, LabelSelector, Operator, TLSMode
from istiod.api.gatewayapi.gateway import Listener as Said
from istiod.api.gatewayapi.gatewayclass import GatewayClass
from istiod.api.gatewayapi.references import GROUP
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.gatewayapi.listener_tls import server_tls
from istiod.gatewayapi.names import derived
from istiod.gatewayapi.status import ACCEPTED, CONFLICTED, PROGRAMMED, RESOLVED_REFS, Fault
from istiod.gatewayapi.world import World

CONTROLLER = "istio.io/gateway-controller"
BUILT_IN = {
    "istio": CONTROLLER,
    "istio-east-west": "istio.io/eastwest-controller",
    "istio-remote": "istio.io/unmanaged-gateway",
    "istio-waypoint": "istio.io/mesh-controller",
}
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"  # of pods that serve a Gateway
_REQUESTS = ("HTTPRoute", "GRPCRoute")
_FAMILIES = {"HTTP": "http", "HTTPS": "tls", "TLS": "tls", "TCP": "tcp"}


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """One listener. `kinds` are the routes that it takes; `tls` how its TLS ends, if it does."""

    gateway: Object[Gateway]
    said: Said
    index: int
    kinds: tuple[str, ...]
    faults: tuple[Fault, ...]
    tls: ServerTLSSettings | None = None

    @property
    def key(self) -> NamespacedName:
        """The derived Gateway."""
        return derived(self.gateway.meta.namespace, self.gateway.meta.name, self.said.name, "").key

    @property
    def host(self) -> str:
        """The hosts that it takes, `*` for all."""
        return self.said.hostname or "*"

    @property
    def family(self) -> str:
        """What can share a port: plaintext HTTP, TLS by server name, or plain TCP."""
        return _FAMILIES.get(self.said.protocol, "")

    @property
    def passes_tls(self) -> bool:
        """Whether TLS goes on to the backend."""
        return self.said.protocol == "TLS" and self.said.tls is not None and self.said.tls.mode is TLSMode.PASSTHROUGH

    @property
    def usable(self) -> bool:
        """Whether it is served."""
        return not any(fault.condition in (ACCEPTED, CONFLICTED, PROGRAMMED) for fault in self.faults)

    def admits(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether routes of a namespace with these labels may hang on it."""
        allowed = self.said.allowed_routes.namespaces
        match allowed.from_:
            case From.ALL:
                return True
            case From.SAME:
                return namespace == self.gateway.meta.namespace
            case From.SELECTOR:
                return allowed.selector is not None and selects(allowed.selector, labels)
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A Gateway of ours. `selector` are the labels of the pods that serve it, `service` is behind its address."""

    gateway: Object[Gateway]
    listeners: tuple[Listener, ...]
    selector: Mapping[str, str]
    service: Service | None
    faults: tuple[Fault, ...]

    def best_for(self, host: str, near: Listener) -> Listener:
        """Of the listeners that share a port with one, that which is the most specific for a host: only it takes it."""
        sharing = (
            other
            for other in self.listeners
            if other.usable
            and other.said.port == near.said.port
            and other.family == near.family
            and host_matches(other.host, host)
        )
        return max(sharing, key=lambda other: (not other.host.startswith("*"), len(other.host)), default=near)


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Kubernetes' label selector."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for test in selector.match_expressions:
        value = labels.get(test.key)
        held = {
            Operator.IN: value in test.values,
            Operator.NOT_IN: value not in test.values,
            Operator.EXISTS: value is not None,
            Operator.DOES_NOT_EXIST: value is None,
        }[test.operator]
        if not held:
            return False
    return True


def controller_of(world: World, name: str) -> str:
    """The controller of a class; Istio's own classes need no object. "" if there is no such class."""
    item = world.table(Kind.GATEWAY_CLASS).get(NamespacedName("", name))
    if isinstance(item, Object) and isinstance(item.spec, GatewayClass):
        return item.spec.controller_name
    return BUILT_IN.get(name, "")


def served(world: World, gateway: Object[Gateway]) -> Served:
    """A Gateway of our class with its listeners judged, in their order: of two that clash the first one stands."""
    selector, service, faults = _pods(world, gateway)
    listeners: list[Listener] = []
    for index, said in enumerate(gateway.spec.listeners):
        listeners.append(_listener(world, gateway, index, said, listeners))
    if not any(listener.usable for listener in listeners):
        where, fix = "spec.listeners", "correct the listeners"
        faults = (*faults, Fault(PROGRAMMED, "Invalid", where, "has no listener that can be served", fix))
    return Served(gateway, tuple(listeners), selector, service, faults)


def _pods(world: World, gateway: Object[Gateway]) -> tuple[Mapping[str, str], Service | None, tuple[Fault, ...]]:
    faults = []
    service = None
    for index, address in enumerate(gateway.spec.addresses):
        path = f"spec.addresses[{index}]"
        if address.type != "Hostname":
            message, fix = (
                f"is of type {address.type[:80]}, which takes a deployment",
                "name a Service by type Hostname",
            )
            faults.append(Fault(PROGRAMMED, "UnsupportedAddress", f"{path}.type", message, fix))
        elif service is not None:
            message, fix = "is one more address; only the first Service counts", "keep one"
            faults.append(Fault(PROGRAMMED, "UnsupportedAddress", path, message, fix))
        else:
            full = address.value if "." in address.value else world.host(gateway.meta.namespace, address.value)
            service = next((s for s in world.services.values() if s.host == full and s.selector), None)
            if service is None:
                message, fix = f"no Service with pods has the host {full!r}", "name a Service"
                faults.append(Fault(PROGRAMMED, "AddressNotUsable", f"{path}.value", message, fix))
    if service is not None:
        return service.selector, service, tuple(faults)
    return {GATEWAY_LABEL: gateway.meta.name}, None, tuple(faults)


def _listener(world: World, gateway: Object[Gateway], index: int, said: Said, before: list[Listener]) -> Listener:
    path = f"spec.listeners[{index}]"
    kinds, faults = _kinds(said, path)
    tls, more = server_tls(world, gateway, said, path)
    faults = [*faults, *more, *_conflicts(said, before, path)]
    return Listener(gateway, said, index, kinds, tuple(faults), tls)


def _kinds(said: Said, path: str) -> tuple[tuple[str, ...], list[Fault]]:
    """The kinds of routes that the protocol has and the listener allows."""
    terminates = said.tls is not None and said.tls.mode is TLSMode.TERMINATE
    possible = {
        "HTTP": _REQUESTS,
        "HTTPS": _REQUESTS,
        "TLS": ("TLSRoute", "TCPRoute") if terminates else ("TLSRoute",),
        "TCP": ("TCPRoute",),
    }.get(said.protocol)
    if possible is None:
        message, fix = f"{said.protocol[:80]!r} is not served", f"use one of {', '.join(_FAMILIES)}"
        return (), [Fault(ACCEPTED, "UnsupportedProtocol", f"{path}.protocol", message, fix)]
    faults, kinds = [], []
    for index, kind in enumerate(said.allowed_routes.kinds):
        if kind.group == GROUP and kind.kind in possible:
            kinds.append(kind.kind)
            continue
        message = f"{kind.kind[:80]!r} is no kind of route for protocol {said.protocol}"
        at, fix = f"{path}.allowedRoutes.kinds[{index}]", f"use one of {', '.join(possible)}"
        faults.append(Fault(RESOLVED_REFS, "InvalidRouteKinds", at, message, fix))
    return (tuple(kinds) if said.allowed_routes.kinds else possible), faults


def _conflicts(said: Said, before: list[Listener], path: str) -> Iterator[Fault]:
    for other in before:
        if not other.usable or other.said.port != said.port:
            continue
        if other.family != _FAMILIES.get(said.protocol):
            message = (
                f"{said.protocol[:80]} on port {said.port}, where listener {other.said.name} has {other.said.protocol}"
            )
            yield Fault(CONFLICTED, "ProtocolConflict", f"{path}.protocol", message, "use another port")
            return
        if other.said.hostname == said.hostname:
            message = f"port {said.port} and this host are listener {other.said.name}'s"
            yield Fault(CONFLICTED, "HostnameConflict", f"{path}.hostname", message, "use another host or port")
            return


_TCP_NAMES = {"HTTP": "http", "HTTPS": "https", "TLS": "tls", "TCP": "tcp"}


def istio_gateway(found: Served, listener: Listener) -> Object[IstioGateway]:
    """A listener as a Gateway of Istio's API. Only VirtualServices of its own namespace, the derived ones, may bind."""
    meta = found.gateway.meta
    port = found.service.port(listener.said.port) if found.service is not None else None
    number = port.target_port if port is not None and port.target_port else listener.said.port
    tls = listener.tls
    if listener.passes_tls and tls is None:
        tls = ServerTLSSettings(mode=GatewayTLSMode.PASSTHROUGH)
    server = Server(
        port=GatewayPort(number=number, name=_TCP_NAMES[listener.said.protocol], protocol=listener.said.protocol),
        hosts=(f"./{listener.host}",),
        tls=tls,
    )
    spec = IstioGateway(servers=(server,), selector=dict(found.selector))
    parents = f"Gateway/{meta.name}/{listener.said.name}.{meta.namespace}"
    return Object(
        Kind.GATEWAY.value, derived(meta.namespace, meta.name, listener.said.name, parents, meta.created), spec
    )


def labels_of(world: World, namespace: str) -> Mapping[str, str]:
    """The labels of a namespace; its name is one of them, as Kubernetes says."""
    item: Any = world.table(Kind.NAMESPACE).get(NamespacedName("", namespace))
    labels = item.meta.labels if isinstance(item, Object) else {}
    return {"kubernetes.io/metadata.name": namespace, **labels}
