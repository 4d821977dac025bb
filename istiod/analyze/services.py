"""Kubernetes Services and ServiceEntries: ports that say no protocol, disagreements over one workload, addresses.

Reads Services as written, and services as the registry merged them. Rules: Istio's "Protocol Selection" and its
analyzers of Services and ServiceEntries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from federation.model.findings import Finding
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Service, ServicePort
from istiod.analyze import codes
from istiod.analyze.lookup import labels_text, named, selected, workloads
from istiod.api import serviceentry
from istiod.api.kinds import Kind
from istiod.api.kubernetes import ServiceSpec
from istiod.api.meta import Object
from istiod.registry.protocol import protocol_word
from istiod.resolve.objects import table_of, valid_objects
from istiod.snapshot import Snapshot
from istiod.view.visibility import exported

_SYSTEM = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def _kubernetes(snapshot: Snapshot) -> list[Object[ServiceSpec]]:
    services = valid_objects(table_of(snapshot, Kind.SERVICE), ServiceSpec)
    return [item for item in services if item.meta.namespace not in _SYSTEM]


def _entries(snapshot: Snapshot) -> list[Object[serviceentry.ServiceEntry]]:
    return valid_objects(table_of(snapshot, Kind.SERVICE_ENTRY), serviceentry.ServiceEntry)


def port_names(snapshot: Snapshot) -> Iterator[Finding]:
    """Ports whose name says no protocol, and of ExternalName services those that say none or TCP."""
    for service in _kubernetes(snapshot):
        external = service.spec.type == "ExternalName"
        for index, port in enumerate(service.spec.ports):
            path = f"spec.ports[{index}].name"
            if port.protocol.upper() == "UDP" or port.app_protocol:
                continue
            said = protocol_word(port.name.lower().partition("-")[0]) or _grpc_web(port.name)
            if external and said in (None, Protocol.TCP):
                yield codes.EXTERNAL_NAME_PORT.at(service, path, f"{port.name!r} of an ExternalName service")
            elif said is None:
                message = f"{port.name!r} says no protocol" if port.name else "is missing"
                yield codes.PORT_NAME_UNKNOWN.at(service, path, f"{message} (port {port.port})")


def _grpc_web(name: str) -> Protocol | None:
    return Protocol.GRPC_WEB if name.lower().startswith("grpc-web") else None


def selectors(snapshot: Snapshot) -> Iterator[Finding]:
    """Services and ServiceEntries that select no workload. Nothing is said where no workload is known."""
    if not workloads(snapshot):
        return
    for service in _kubernetes(snapshot):
        if service.spec.selector and not any(selected(snapshot, service.spec.selector, service.meta.namespace)):
            message = f"no workload has the labels {labels_text(service.spec.selector)}"
            yield codes.SELECTOR_MATCHES_NOTHING.at(service, "spec.selector", message)
    for entry in _entries(snapshot):
        chosen = entry.spec.workload_selector
        if chosen and chosen.all_labels and not any(selected(snapshot, chosen.all_labels, entry.meta.namespace)):
            message = f"no workload has the labels {labels_text(chosen.all_labels)}"
            yield codes.SELECTOR_MATCHES_NOTHING.at(entry, "spec.workloadSelector.labels", message)


def target_ports(snapshot: Snapshot) -> Iterator[Finding]:
    """Named target ports that none of the pods has, where pods name ports at all."""
    for service in _kubernetes(snapshot):
        names = [(i, p.target_port) for i, p in enumerate(service.spec.ports) if isinstance(p.target_port, str)]
        if not names or not service.spec.selector:
            continue
        pods = list(selected(snapshot, service.spec.selector, service.meta.namespace))
        known = {name for pod in pods for name in pod.ports}
        for index, name in names:
            if known and name not in known and not str(name).isdigit():
                message = f"{name!r} is none of {named(sorted(known), 8)}"
                yield codes.TARGET_PORT_NOT_FOUND.at(service, f"spec.ports[{index}].targetPort", message)


def shared_workloads(snapshot: Snapshot) -> Iterator[Finding]:
    """Services of one workload that disagree about one of its ports; each pair of services is named once."""
    seen: set[tuple[ServiceKey, ServiceKey, int]] = set()
    for address, keys in sorted(snapshot.addresses.items()):
        if len(keys) < 2:
            continue
        owners: dict[int, tuple[Service, ServicePort]] = {}
        for service, port, number in _served(snapshot, address, keys):
            known, first = owners.setdefault(number, (service, port))
            pair = (known.key, service.key, number)
            if known is service or pair in seen:
                continue
            seen.add(pair)
            subject = f"Service {service.namespace}/{service.name}"
            if first.protocol is not port.protocol and Protocol.AUTO not in (first.protocol, port.protocol):
                message = f"port {number} of {address} is {port.protocol} here and {first.protocol} in {known.key}"
                yield codes.PROTOCOL_CONFLICT.at(subject, f"ports[{port.number}]", message)
            if first.number != port.number:
                message = f"leads to port {number} of {address}, as port {first.number} of {known.key} does"
                yield codes.TARGET_PORT_CONFLICT.at(subject, f"ports[{port.number}]", message)


def _served(
    snapshot: Snapshot, address: str, keys: tuple[ServiceKey, ...]
) -> Iterator[tuple[Service, ServicePort, int]]:
    """What services lead to at an address: each with a port of it, and the workload's port number."""
    for key in keys:
        service = snapshot.services[key]
        if service.origin is not Origin.KUBERNETES:
            continue
        endpoint = next((e for e in snapshot.endpoints[key] if e.address == address), None)
        for port in service.ports:
            number = endpoint.port(port.name) if endpoint is not None else 0
            if number:
                yield service, port, number


def addresses(snapshot: Snapshot) -> Iterator[Finding]:
    """TCP ports of ServiceEntries without an address, not even an automatic one."""
    for entry in _entries(snapshot):
        for index, port in enumerate(entry.spec.ports):
            if port.protocol.upper() not in ("", "TCP") or entry.spec.addresses:
                continue
            keys = [ServiceKey(host, entry.meta.namespace) for host in entry.spec.hosts]
            bare = [key.host for key in keys if not _has_address(snapshot, key)]
            if bare:
                message = f"port {port.number} is TCP, and {named(bare)} has no address"
                yield codes.ADDRESS_REQUIRED.at(entry, f"spec.ports[{index}]", message)


def _has_address(snapshot: Snapshot, key: ServiceKey) -> bool:
    service = snapshot.services.get(key)
    return service is None or service.origin is not Origin.SERVICE_ENTRY or bool(service.vips)


def several_namespaces(snapshot: Snapshot) -> Iterator[Finding]:
    """Hosts that ServiceEntries of several namespaces declare, with some namespace that sees both."""
    owners: dict[str, list[tuple[Object[Any], Service]]] = defaultdict(list)
    for entry in _entries(snapshot):
        for host in dict.fromkeys(entry.spec.hosts):
            service = snapshot.services.get(ServiceKey(host, entry.meta.namespace))
            if service is not None:
                owners[host].append((entry, service))
    for host, found in sorted(owners.items()):
        for number, (entry, service) in enumerate(found):
            rivals = (other for other, theirs in found[:number] if _meet(theirs, service))
            rival = next((other for other in rivals if other.meta.namespace != entry.meta.namespace), None)
            if rival is not None:
                message = f"{host} is also declared by {rival}"
                yield codes.HOST_IN_SEVERAL_NAMESPACES.at(entry, "spec.hosts", message)


def _meet(one: Service, other: Service) -> bool:
    places = {one.namespace, other.namespace, *one.export_to, *other.export_to} - {".", "*", "~"}
    return any(
        exported(one.export_to, one.namespace, place) and exported(other.export_to, other.namespace, place)
        for place in places
    )
