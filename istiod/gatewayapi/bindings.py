"""What hangs where, and the VirtualServices of that: one for each host of a listener, one for each host of the mesh.

Rules: HTTPRoute (precedence over all routes of a host; 404 where none holds), GAMMA: a route in a Service's own
namespace is for all its clients (producer), one in another namespace for clients there (consumer), and stands before
the former.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from federation.model.names import NamespacedName
from istiod.api.fields import StringMatch
from istiod.api.kinds import Kind
from istiod.api.meta import Meta, Object
from istiod.api.virtualservice import (
    HTTPDirectResponse,
    HTTPMatchRequest,
    HTTPRoute,
    L4MatchAttributes,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualService,
)
from istiod.gatewayapi.attach import Gateways, Hook, Parent
from istiod.gatewayapi.connections import Forwarded, forwarded
from istiod.gatewayapi.listeners import Listener
from istiod.gatewayapi.names import derived
from istiod.gatewayapi.requests import Converted, Ranked, convert
from istiod.gatewayapi.status import Fault
from istiod.gatewayapi.world import World

MESH = "mesh"
NO_LISTENER = (0, "HTTP")  # port and protocol inside the mesh
NOT_FOUND = HTTPRoute(
    match=(HTTPMatchRequest(uri=StringMatch(prefix="/")),), direct_response=HTTPDirectResponse(status=404)
)
_REQUESTS = frozenset({Kind.HTTP_ROUTE.value, Kind.GRPC_ROUTE.value})


@dataclass(slots=True)
class _Draft:
    """A VirtualService in the making."""

    created: str = ""
    http: list[Ranked] = field(default_factory=list)
    tls: list[TLSRoute] = field(default_factory=list)
    tcp: list[TCPRoute] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)

    def note(self, route: Object[Any]) -> None:
        """One more route is part of it; it is as old as the oldest."""
        name = f"{route.kind}/{route.meta.name}.{route.meta.namespace}"
        if not self.parents or route.meta.created < self.created:
            self.created = route.meta.created
        self.parents[name] = None

    def spec(self, hosts: Iterable[str], gateway: str, export_to: tuple[str, ...] = ()) -> VirtualService:
        """The VirtualService, with requests in the standard's precedence."""
        ranked = sorted(self.http, key=lambda item: item.rank)
        return VirtualService(
            hosts=tuple(hosts),
            gateways=(gateway,),
            http=tuple(item.route for item in ranked),
            tls=tuple(self.tls),
            tcp=tuple(self.tcp),
            export_to=export_to,
        )


class Bindings:
    """Takes routes in the standard's order of conflicts, gives VirtualServices."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests: dict[tuple[NamespacedName, str], _Draft] = {}  # by derived Gateway and host
        self._connections: dict[NamespacedName, _Draft] = {}  # by derived Gateway
        self._mesh: dict[tuple[str, str, str], _Draft] = {}  # by host, its namespace, and a consumer's or ""
        self._attached: dict[NamespacedName, set[tuple[str, NamespacedName]]] = {}

    def attached(self, listener: Listener) -> int:
        """How many routes hang on a listener."""
        return len(self._attached.get(listener.key, ()))

    def add(self, route: Object[Any], parents: Iterable[Parent]) -> tuple[Fault, ...]:
        """File a route under all that it hangs on; what is wrong with its rules."""
        if route.kind in _REQUESTS:
            return self._add_requests(route, parents)
        return self._add_connections(route, parents)

    def _add_requests(self, route: Object[Any], parents: Iterable[Parent]) -> tuple[Fault, ...]:
        mesh = self._convert(route, *NO_LISTENER)
        for parent in parents:
            for hook in parent.hooks:
                self._attach(hook, route)
                said = hook.listener.said
                made = self._convert(route, said.port, said.protocol)
                for host in hook.hosts:
                    draft = self._requests.setdefault((hook.listener.key, host), _Draft())
                    draft.note(route)
                    draft.http += _new(draft.http, made.routes)
            for host, namespace in parent.services:
                draft = self._mesh_draft(route, host, namespace)
                draft.http += _at_port(mesh.routes, parent.reference.port)
        return mesh.faults

    def _convert(self, route: Object[Any], port: int, protocol: str) -> Converted:
        world = self._world
        return convert(route, world.services, world.grants, world.domain, port, protocol)

    def _add_connections(self, route: Object[Any], parents: Iterable[Parent]) -> tuple[Fault, ...]:
        found = forwarded(self._world, route)
        for parent in parents:
            for hook in parent.hooks:
                self._attach(hook, route)
                draft = self._connections.setdefault(hook.listener.key, _Draft())
                draft.note(route)
                self._forward(draft, found, hook)
            for host, namespace in parent.services:
                draft = self._mesh_draft(route, host, namespace)
                port = parent.reference.port
                if route.kind == Kind.TLS_ROUTE:
                    names = tuple(route.spec.hostnames) or (host,)
                    tls = TLSMatchAttributes(sni_hosts=names, port=port)
                    draft.tls.append(TLSRoute(match=(tls,), route=found.destinations))
                else:
                    draft.tcp.append(TCPRoute(match=(L4MatchAttributes(port=port),), route=found.destinations))
        return found.faults

    @staticmethod
    def _forward(draft: _Draft, found: Forwarded, hook: Hook) -> None:
        """Connections of one listener: by server name where TLS is passed on, else all of them."""
        if hook.listener.passes_tls and hook.hosts:
            draft.hosts.update(dict.fromkeys(hook.hosts))
            match = TLSMatchAttributes(sni_hosts=hook.hosts)
            draft.tls.append(TLSRoute(match=(match,), route=found.destinations))
        elif not hook.listener.passes_tls:
            draft.hosts[hook.listener.host] = None
            draft.tcp.append(TCPRoute(route=found.destinations))

    def _attach(self, hook: Hook, route: Object[Any]) -> None:
        self._attached.setdefault(hook.listener.key, set()).add((route.kind, route.meta.key))

    def _mesh_draft(self, route: Object[Any], host: str, namespace: str) -> _Draft:
        consumer = route.meta.namespace if route.meta.namespace != namespace else ""
        draft = self._mesh.setdefault((host, namespace, consumer), _Draft())
        draft.note(route)
        return draft

    def virtual_services(self, gateways: Gateways) -> Iterator[Object[VirtualService]]:
        """Everything that was filed."""
        yield from (self._for_host(key, host, draft) for (key, host), draft in sorted(self._requests.items(), key=_key))
        for key, draft in sorted(self._connections.items()):
            yield _object(_meta(key, "connections", draft), draft.spec(draft.hosts, str(key)))
        for (host, namespace, consumer), draft in sorted(self._mesh.items(), key=_key):
            yield self._for_mesh(host, namespace, consumer, draft)
        for gateway in filter(None, gateways.values()):
            for listener in gateway.listeners:
                if self._is_bare(listener):
                    draft = _Draft(gateway.gateway.meta.created, [Ranked((), NOT_FOUND)])
                    yield self._for_host(listener.key, listener.host, draft)

    def _is_bare(self, listener: Listener) -> bool:
        """Whether no route speaks for exactly a listener's host, so that a wider listener would take its requests."""
        wanted = listener.usable and listener.family == "http" and listener.said.hostname
        return bool(wanted) and (listener.key, listener.host) not in self._requests

    @staticmethod
    def _for_host(gateway: NamespacedName, host: str, draft: _Draft) -> Object[VirtualService]:
        return _object(_meta(gateway, host, draft), draft.spec((host,), str(gateway)))

    @staticmethod
    def _for_mesh(host: str, namespace: str, consumer: str, draft: _Draft) -> Object[VirtualService]:
        parents = ",".join(draft.parents)
        if not consumer:
            meta = derived(namespace, host, "producer", parents, draft.created)
            return _object(meta, draft.spec((host,), MESH, ("*",)))
        meta = derived(consumer, host, "consumer", parents)  # the oldest there is: it stands before the producer's
        return _object(meta, draft.spec((host,), MESH, (".",)))


def _key(item: tuple[Any, Any]) -> Any:
    return item[0]


def _meta(gateway: NamespacedName, part: str, draft: _Draft) -> Meta:
    owner, _, listener = gateway.name.partition("~")
    listener = listener.rpartition("~")[2]
    return derived(gateway.namespace, owner, f"{listener}~{part}", ",".join(draft.parents), draft.created)


def _object(meta: Meta, spec: VirtualService) -> Object[VirtualService]:
    return Object(Kind.VIRTUAL_SERVICE.value, meta, spec)


def _new(known: list[Ranked], more: Iterable[Ranked]) -> list[Ranked]:
    """Those that are not there yet: two references of a route may mean the same listener."""
    ranks = {item.rank for item in known}
    return [item for item in more if item.rank not in ranks]


def _at_port(routes: Iterable[Ranked], port: int | None) -> list[Ranked]:
    """Routes for one port of a Service, or for all."""
    if port is None:
        return list(routes)
    return [
        Ranked(
            item.rank,
            item.route.model_copy(
                update={"match": tuple(match.model_copy(update={"port": port}) for match in item.route.match)}
            ),
        )
        for item in routes
    ]
