"""The whole translation: tables and services -> derived objects beside the user's, statuses and findings.

The entry of the package for `istiod.snapshot`. The result depends on the inputs alone; it is computed anew only when
one of them changed, and a derived object that is equal to the last one is the same object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName, ServiceKey
from federation.model.service import Service
from istiod.api.gatewayapi.gateway import Gateway
from istiod.api.gatewayapi.gatewayclass import GatewayClass
from istiod.api.gatewayapi.grpcroute import GRPCRoute
from istiod.api.gatewayapi.httproute import HTTPRoute
from istiod.api.gatewayapi.tcproute import TCPRoute
from istiod.api.gatewayapi.tlsroute import TLSRoute
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.gatewayapi.attach import Gateways, Parent, parents_of
from istiod.gatewayapi.backendtls import backend_tls
from istiod.gatewayapi.bindings import Bindings
from istiod.gatewayapi.listeners import CONTROLLER, Served, controller_of, istio_gateway, served
from istiod.gatewayapi.status import (
    ACCEPTED,
    CONFLICTED,
    PROGRAMMED,
    RESOLVED_REFS,
    Condition,
    Fault,
    ListenerStatus,
    ObjectStatus,
    ParentStatus,
    conditions,
    findings_of,
    shown,
)
from istiod.gatewayapi.world import Table, World, grants_of
from istiod.memo import memo

Derived = Mapping[str, Mapping[NamespacedName, Object[Any]]]
_INPUTS = (
    Kind.GATEWAY_CLASS,
    Kind.KUBERNETES_GATEWAY,
    Kind.HTTP_ROUTE,
    Kind.GRPC_ROUTE,
    Kind.TLS_ROUTE,
    Kind.TCP_ROUTE,
    Kind.BACKEND_TLS_POLICY,
    Kind.REFERENCE_GRANT,
    Kind.NAMESPACE,
    Kind.SERVICE_ENTRY,
    Kind.SECRET,
    Kind.CONFIG_MAP,
    Kind.DESTINATION_RULE,
    Kind.MESH_CONFIG,
)
_OWN = _INPUTS[:7]  # without any of these there is nothing to translate
_OUTPUTS = (Kind.GATEWAY, Kind.VIRTUAL_SERVICE, Kind.DESTINATION_RULE)
_ROUTES: tuple[tuple[Kind, type[Any]], ...] = (
    (Kind.HTTP_ROUTE, HTTPRoute),
    (Kind.GRPC_ROUTE, GRPCRoute),
    (Kind.TLS_ROUTE, TLSRoute),
    (Kind.TCP_ROUTE, TCPRoute),
)
_NONE: Table = {}


@dataclass(frozen=True, slots=True, eq=False)
class Translation:
    """What the Gateway API's objects mean. `secrets` are those that Gateways of a namespace refer to and may have."""

    derived: Derived = field(default_factory=dict)
    statuses: tuple[ObjectStatus, ...] = ()
    findings: tuple[Finding, ...] = ()
    secrets: Mapping[str, frozenset[NamespacedName]] = field(default_factory=dict)


NOTHING = Translation()


class Translator:
    """Translates tables one after the other, for a cluster with this DNS domain."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._inputs: tuple[object, ...] = ()
        self._last = NOTHING

    def translate(self, tables: Mapping[str, Table], services: Mapping[ServiceKey, Service]) -> Translation:
        """What these tables mean; the last translation itself if nothing that it depends on changed."""
        if not any(tables.get(kind) for kind in _OWN):
            self._inputs, self._last = (), NOTHING
            return NOTHING
        inputs = (services, *(tables.get(kind, _NONE) for kind in _INPUTS))
        if len(inputs) != len(self._inputs) or any(a is not b for a, b in zip(inputs, self._inputs, strict=True)):
            world = World(tables, services, grants_of(tables.get(Kind.REFERENCE_GRANT, _NONE)), self._domain)
            self._inputs, self._last = inputs, _kept(_translate(world), self._last)
        return self._last


def with_derived(tables: Mapping[str, Table], derived: Derived) -> Mapping[str, Table]:
    """The tables with derived objects beside those of users; a table without any is the user's own."""
    added = {kind: _beside(tables.get(kind, _NONE), rows) for kind, rows in derived.items() if rows}
    return {**tables, **added} if added else tables


@memo(size=8)
def _beside(users: Table, derived: Table) -> Table:
    return {**users, **derived}


def _kept(fresh: Translation, last: Translation) -> Translation:
    """The fresh translation, with objects (and whole tables) of the last one where they are equal."""
    derived: dict[str, Mapping[NamespacedName, Object[Any]]] = {}
    for kind, rows in fresh.derived.items():
        old = last.derived.get(kind, {})
        same = {key: old[key] if old.get(key) == row else row for key, row in rows.items()}
        unchanged = list(same) == list(old) and all(same[key] is old[key] for key in same)
        derived[kind] = old if unchanged else same
    return Translation(derived, fresh.statuses, fresh.findings, fresh.secrets)


def _translate(world: World) -> Translation:
    statuses: list[ObjectStatus] = []
    findings: list[Finding] = []
    gateways: dict[NamespacedName, Served | None] = {}
    for item in world.objects(Kind.KUBERNETES_GATEWAY, Gateway):
        controller = controller_of(world, item.spec.gateway_class_name)
        gateways[item.meta.key] = served(world, item) if controller == CONTROLLER else None
        findings += _class_findings(item, controller)
    bindings = Bindings(world)
    for kind, spec in _ROUTES:
        for route in world.objects(kind, spec):
            status, found = _route(world, gateways, bindings, route)
            statuses.append(status)
            findings += found
    rules: dict[NamespacedName, Object[Any]] = {}
    for gateway in filter(None, gateways.values()):
        rules.update(
            (o.meta.key, o) for o in (istio_gateway(gateway, item) for item in gateway.listeners if item.usable)
        )
        statuses.append(_gateway_status(gateway, bindings))
        faults = [*gateway.faults, *(fault for item in gateway.listeners for fault in item.faults)]
        findings += findings_of(shown(gateway.gateway), faults)
    policies = backend_tls(world)
    statuses += [*_classes(world), *policies.statuses]
    services = {item.meta.key: item for item in bindings.virtual_services(gateways)}
    derived = {Kind.GATEWAY.value: rules, Kind.VIRTUAL_SERVICE.value: services,
               Kind.DESTINATION_RULE.value: policies.rules}  # fmt: skip
    ordered = sorted(statuses, key=lambda status: status.object)
    found = tuple(sorted({*findings, *policies.findings}))
    return Translation(derived, tuple(ordered), found, _secrets(filter(None, gateways.values())))


def _class_findings(item: Object[Gateway], controller: str) -> Iterator[Finding]:
    name, path = item.spec.gateway_class_name, "spec.gatewayClassName"
    if not controller:
        message, fix = f"there is no GatewayClass {name[:80]!r}", "use istio, or create the class"
        yield Finding(Severity.WARNING, "GatewayClassNotFound", shown(item), path, message, fix)
    elif controller != CONTROLLER:
        message, fix = f"is a class of {controller[:80]}, so nothing is served for it here", "use istio"
        istios = controller.startswith("istio.io/")  # a kind of gateway that is not built
        severity = Severity.WARNING if istios else Severity.INFO
        yield Finding(severity, "OtherController", shown(item), path, message, fix if istios else "")


def _classes(world: World) -> Iterator[ObjectStatus]:
    for item in world.objects(Kind.GATEWAY_CLASS, GatewayClass):
        if item.spec.controller_name == CONTROLLER:
            yield ObjectStatus(shown(item), (Condition(ACCEPTED, True, "Accepted"),))


def _route(
    world: World, gateways: Gateways, bindings: Bindings, route: Object[Any]
) -> tuple[ObjectStatus, tuple[Finding, ...]]:
    """File a route under what it hangs on; its status and findings."""
    parents = tuple(parents_of(world, gateways, route))
    wrong = bindings.add(route, parents)
    faults = [*wrong, *(fault for parent in parents for fault in parent.faults)]
    statuses = tuple(_parent_status(parent, wrong) for parent in parents)
    findings = findings_of(shown(route), faults)
    if not route.spec.parent_refs:
        message, fix = "is empty, so nothing serves the route", "name a Gateway or a Service"
        findings += (Finding(Severity.WARNING, "NoParents", shown(route), "spec.parentRefs", message, fix),)
    return ObjectStatus(shown(route), parents=statuses), findings


def _parent_status(parent: Parent, wrong: Iterable[Fault]) -> ParentStatus:
    found = conditions((ACCEPTED, RESOLVED_REFS), [*parent.faults, *wrong])
    return ParentStatus(parent.name, parent.reference.section_name, parent.reference.port or 0, found)


def _gateway_status(gateway: Served, bindings: Bindings) -> ObjectStatus:
    listeners = tuple(
        ListenerStatus(
            item.said.name,
            bindings.attached(item),
            item.kinds,
            conditions((ACCEPTED, CONFLICTED, PROGRAMMED, RESOLVED_REFS), item.faults),
        )
        for item in gateway.listeners
    )
    own = list(gateway.faults)
    if any(not item.usable for item in gateway.listeners):
        own.append(Fault(ACCEPTED, "ListenersNotValid", "spec.listeners", "has listeners that are not served", ""))
    found = conditions((ACCEPTED, PROGRAMMED), own)
    if any(item.usable for item in gateway.listeners):  # a Gateway is accepted with those that are
        found = tuple(
            Condition(c.type, True, c.reason, c.message) if c.reason == "ListenersNotValid" else c for c in found
        )
    return ObjectStatus(shown(gateway.gateway), found, listeners)


def _secrets(gateways: Iterable[Served]) -> Mapping[str, frozenset[NamespacedName]]:
    found: dict[str, set[NamespacedName]] = {}
    for gateway in gateways:
        for listener in gateway.listeners:
            for name in listener.tls.credential_names if listener.tls is not None else ():
                namespace, _, secret = name.rpartition("/")
                key = NamespacedName(namespace.rpartition("/")[2], secret)
                found.setdefault(gateway.gateway.meta.namespace, set()).add(key)
    return {namespace: frozenset(keys) for namespace, keys in found.items()}
