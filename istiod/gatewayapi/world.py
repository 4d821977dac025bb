"""What the translation looks at: the tables of the Gateway API, services, and which references are granted.

Input: the store's tables and the registry's services. Rules: ReferenceGrant (an object may refer into another namespace
if something there says so); backendRefs (Service, or Istio's `Hostname`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from federation.model.names import NamespacedName, ServiceKey, service_host
from federation.model.service import Service
from istiod.api.gatewayapi.referencegrant import ReferenceGrant
from istiod.api.gatewayapi.references import GROUP, BackendReference
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.virtualservice import Destination, PortSelector
from istiod.gatewayapi.status import RESOLVED_REFS, Fault
from istiod.memo import memo

S = TypeVar("S")
Table = Mapping[NamespacedName, Any]
ISTIO = "networking.istio.io"
UNRESOLVED = "unresolved.gateway-api.invalid"  # no service can have this host, so requests for it are answered with 500


@dataclass(frozen=True, slots=True)
class Owner:
    """Who refers: a kind of the Gateway API and its namespace."""

    kind: str
    namespace: str


class Grants:
    """Which references from other namespaces the ReferenceGrants allow."""

    def __init__(self, table: Table) -> None:
        self._granted = {
            (
                (source.group, source.kind, source.namespace),
                (target.group, target.kind, item.meta.namespace),
                target.name,
            )
            for item in table.values()
            if isinstance(item, Object) and isinstance(item.spec, ReferenceGrant)
            for source in item.spec.from_
            for target in item.spec.to
        }

    def allow(self, owner: Owner, group: str, kind: str, namespace: str, name: str) -> bool:
        """Whether an owner may refer to an object; within a namespace always."""
        if owner.namespace == namespace:
            return True
        source, target = (GROUP, owner.kind, owner.namespace), (group, kind, namespace)
        return (source, target, name) in self._granted or (source, target, None) in self._granted


@memo(size=2)
def grants_of(table: Table) -> Grants:
    """The grants of a table, the same object for the same table."""
    return Grants(table)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Everything that a translation depends on. `domain` is the cluster's, e.g. `cluster.local`."""

    tables: Mapping[str, Table]
    services: Mapping[ServiceKey, Service]
    grants: Grants
    domain: str

    def table(self, kind: Kind) -> Table:
        """The table of a kind; empty if there is none."""
        return self.tables.get(kind, {})

    def objects(self, kind: Kind, spec: type[S]) -> list[Object[S]]:
        """The valid objects of a kind in the standard's order of conflicts: the oldest, then by namespace and name."""
        found = [item for item in self.table(kind).values() if isinstance(item, Object) and isinstance(item.spec, spec)]
        return sorted(found, key=lambda item: (item.meta.created, item.meta.namespace, item.meta.name))

    def service(self, namespace: str, name: str) -> Service | None:
        """The Service of a name, also if only other clusters have it."""
        return self.services.get(ServiceKey(self.host(namespace, name), namespace))

    def host(self, namespace: str, name: str) -> str:
        """What clients call a Service."""
        return service_host(name, namespace, self.domain)

    def backend(self, reference: BackendReference, owner: Owner, path: str) -> tuple[Destination, Fault | None]:
        """Where a reference leads to, and what is wrong with it; what leads nowhere is `UNRESOLVED`."""
        if (reference.group, reference.kind) == (ISTIO, "Hostname"):
            return self._hostname(reference, path)
        nowhere = _destination(UNRESOLVED, reference.port)
        namespace = reference.namespace or owner.namespace
        if (reference.group, reference.kind) != ("", "Service"):
            kind = f"{reference.group}/{reference.kind}".strip("/")[:100]
            message = f"{kind!r} is no kind of backend"
            return nowhere, Fault(RESOLVED_REFS, "InvalidKind", f"{path}.kind", message, "name a Service")
        if not self.grants.allow(owner, "", "Service", namespace, reference.name):
            message = f"Service {namespace}/{reference.name} may not be referred to from namespace {owner.namespace}"
            fix = f"write a ReferenceGrant in namespace {namespace}"
            return nowhere, Fault(RESOLVED_REFS, "RefNotPermitted", path, message, fix)
        found = self.service(namespace, reference.name)
        if found is None:
            message = f"there is no Service {namespace}/{reference.name}"
            return nowhere, _not_found(f"{path}.name", message, "create it, or correct the name")
        return _destination(found.host, reference.port), _port_fault(found, reference, path)

    def _hostname(self, reference: BackendReference, path: str) -> tuple[Destination, Fault | None]:
        found = next((service for key, service in self.services.items() if key.host == reference.name), None)
        if found is None:
            message = f"no service has the host {reference.name!r}"
            fault = _not_found(f"{path}.name", message, "create a ServiceEntry, or correct the name")
            return _destination(UNRESOLVED, reference.port), fault
        return _destination(found.host, reference.port), _port_fault(found, reference, path)


def _destination(host: str, port: int | None) -> Destination:
    return Destination(host=host, port=PortSelector(number=port) if port else None)


def _port_fault(service: Service, reference: BackendReference, path: str) -> Fault | None:
    if reference.port is None or service.port(reference.port) is not None:
        return None
    known = ", ".join(str(port.number) for port in service.ports)
    message = f"{service.host} has no port {reference.port}"
    return _not_found(f"{path}.port", message, f"use one of {known}" if known else "name another Service")


def _not_found(path: str, message: str, fix: str) -> Fault:
    return Fault(RESOLVED_REFS, "BackendNotFound", path, message, fix)
