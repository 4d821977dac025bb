"""ServiceEntry: services that Kubernetes does not know."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address, ip_network

from federation.model.findings import Severity
from istiod.api.fields import Model, Port, WorkloadSelector
from istiod.api.problems import Problem
from istiod.api.workloadentry import WorkloadEntry, validate_entry


class Location(StrEnum):
    """Whether the workloads are part of the mesh."""

    MESH_EXTERNAL = "MESH_EXTERNAL"
    MESH_INTERNAL = "MESH_INTERNAL"


class Resolution(StrEnum):
    """How endpoints are found."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"


class ServicePort(Model):
    """A port of the entry."""

    number: Port
    protocol: str = ""
    name: str = ""
    target_port: Port | None = None


class ServiceEntry(Model):
    """networking.istio.io ServiceEntry."""

    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    location: Location = Location.MESH_EXTERNAL
    resolution: Resolution = Resolution.NONE
    endpoints: tuple[WorkloadEntry, ...] = ()
    workload_selector: WorkloadSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


def validate(entry: ServiceEntry) -> Iterator[Problem]:
    """Istio's rules for ServiceEntry beyond types."""
    yield from _hosts(entry)
    yield from _ports(entry)
    for index, address in enumerate(entry.addresses):
        if not _is_address(address):
            yield Problem(f"spec.addresses[{index}]", f"{address!r} is neither an IP address nor a CIDR")
    if entry.endpoints and entry.workload_selector is not None:
        yield Problem("spec.endpoints", "are given together with workloadSelector", "keep one of them")
    yield from _endpoints(entry)


def _hosts(entry: ServiceEntry) -> Iterator[Problem]:
    if not entry.hosts:
        yield Problem("spec.hosts", "is empty", "name at least one host")
    for index, host in enumerate(entry.hosts):
        if host in ("*", "") or "*" in host[1:]:
            yield Problem(f"spec.hosts[{index}]", f"{host!r} is no host", "use a DNS name, or *.suffix")
        elif (
            host.startswith("*")
            and entry.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
            and not entry.endpoints
        ):
            yield Problem(f"spec.hosts[{index}]", f"{host!r} cannot be looked up in DNS", "list endpoints or use NONE")


def _ports(entry: ServiceEntry) -> Iterator[Problem]:
    if not entry.ports:
        yield Problem("spec.ports", "is empty", "list the ports that clients dial", severity=Severity.WARNING)
    numbers: dict[int, int] = {}
    names: dict[str, int] = {}
    for index, port in enumerate(entry.ports):
        if port.number in numbers:
            at = f"spec.ports[{index}].number"
            yield Problem(
                at,
                f"{port.number} is also the number of ports[{numbers[port.number]}]",
                "use each number once",
                "DuplicatePort",
            )
        if port.name and port.name in names:
            at = f"spec.ports[{index}].name"
            yield Problem(
                at,
                f"{port.name!r} is also the name of ports[{names[port.name]}]",
                "use each name once",
                "DuplicatePort",
            )
        numbers.setdefault(port.number, index)
        names.setdefault(port.name, index)


def _endpoints(entry: ServiceEntry) -> Iterator[Problem]:
    if entry.resolution is Resolution.STATIC and not entry.endpoints and entry.workload_selector is None:
        yield Problem("spec.endpoints", "is empty with resolution STATIC", "list endpoints", severity=Severity.WARNING)
    if entry.resolution is Resolution.NONE and entry.endpoints:
        yield Problem("spec.endpoints", "are given with resolution NONE", "use STATIC or DNS")
    for index, endpoint in enumerate(entry.endpoints):
        path = f"spec.endpoints[{index}]"
        yield from validate_entry(endpoint, path)
        if entry.resolution is Resolution.STATIC and endpoint.address and not _is_static(endpoint.address):
            yield Problem(f"{path}.address", f"{endpoint.address!r} is no IP address", "use resolution DNS for names")
        for name in endpoint.ports:
            if name not in {port.name for port in entry.ports}:
                yield Problem(f"{path}.ports", f"{name!r} is no port of the entry", "use a name of spec.ports")


def _is_static(address: str) -> bool:
    if address.startswith("unix://"):
        return True
    try:
        ip_address(address)
    except ValueError:
        return False
    return True


def _is_address(address: str) -> bool:
    try:
        ip_network(address, strict=False)
    except ValueError:
        return False
    return True
