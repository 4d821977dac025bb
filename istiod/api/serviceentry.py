"""ServiceEntry: services that Kubernetes does not know."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import ip_address

from federation.model.findings import Severity
from istiod.api.fields import Model, Port, WorkloadSelector
from istiod.api.problems import Problem, check_distinct, check_export_to, is_network
from istiod.api.rules.values import SOCKET, check_port_name, check_protocol, is_host
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
    yield from _addresses(entry)
    yield from check_export_to(entry.export_to)
    if entry.endpoints and entry.workload_selector is not None:
        yield Problem("spec.endpoints", "are given together with workloadSelector", "keep one of them")
    yield from _endpoints(entry)
    yield from _selector(entry)
    yield from _told_apart(entry)


def _selector(entry: ServiceEntry) -> Iterator[Problem]:
    if entry.workload_selector is None:
        return
    path = "spec.workloadSelector"
    if not entry.workload_selector.all_labels:
        yield Problem(path, "has no labels, so it selects nothing", "name labels", severity=Severity.WARNING)
    for key, value in entry.workload_selector.all_labels.items():
        if not key or "*" in key or "*" in value:
            fix = "name the label and its value"
            yield Problem(f"{path}.labels.{key[:100]}", "has a wildcard or no key, which labels do not know", fix)
    if entry.resolution in (Resolution.NONE, Resolution.DNS, Resolution.DNS_ROUND_ROBIN):
        message, fix = f"is given with resolution {entry.resolution}", "use resolution STATIC"
        yield Problem(path, message, fix, severity=Severity.WARNING)


def _told_apart(entry: ServiceEntry) -> Iterator[Problem]:
    """Several hosts on a port need a protocol that names them."""
    if len(entry.hosts) < 2 or entry.resolution is Resolution.NONE:
        return
    for index, port in enumerate(entry.ports):
        if port.protocol.upper() not in _NAMING:
            message = "shows no name by which the hosts of the entry could be told apart, so Istio refuses it"
            fix = "write one ServiceEntry for each host, or use HTTP or TLS"
            yield Problem(f"spec.ports[{index}].protocol", message, fix, severity=Severity.WARNING)


def _hosts(entry: ServiceEntry) -> Iterator[Problem]:
    if not entry.hosts:
        yield Problem("spec.hosts", "is empty", "name at least one host")
    for index, host in enumerate(entry.hosts):
        if host == "*" or not is_host(host):
            yield Problem(f"spec.hosts[{index}]", f"{host[:100]!r} is no host", "use a DNS name, or *.suffix")
        elif host.startswith("*") and not host.startswith("*."):
            message = f"{host[:100]!r} has a part of a name behind the wildcard"
            yield Problem(f"spec.hosts[{index}]", message, "write *.suffix", severity=Severity.WARNING)
        elif (
            host.startswith("*")
            and entry.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
            and not entry.endpoints
        ):
            yield Problem(f"spec.hosts[{index}]", f"{host!r} cannot be looked up in DNS", "list endpoints or use NONE")


def _addresses(entry: ServiceEntry) -> Iterator[Problem]:
    for index, address in enumerate(entry.addresses):
        path = f"spec.addresses[{index}]"
        if not is_network(address):
            yield Problem(path, f"{address!r} is neither an IP address nor a CIDR", "write 10.0.0.1 or 10.0.0.0/8")
        elif "/" in address and entry.resolution not in (Resolution.NONE, Resolution.STATIC):
            yield Problem(path, f"{address!r} is a CIDR, with resolution {entry.resolution}", "use NONE or STATIC")


def _ports(entry: ServiceEntry) -> Iterator[Problem]:
    if not entry.ports:
        yield Problem("spec.ports", "is empty", "list the ports that clients dial", severity=Severity.WARNING)
    paths = [f"spec.ports[{index}]" for index in range(len(entry.ports))]
    for path, port in zip(paths, entry.ports, strict=True):
        if not port.name:
            yield Problem(f"{path}.name", "is missing", "name the port", "MissingField")
        else:
            yield from check_port_name(port.name, f"{path}.name")
        yield from check_protocol(port.protocol, f"{path}.protocol")
    yield from check_distinct(
        ((f"{path}.number", p.number) for path, p in zip(paths, entry.ports, strict=True)), "port number"
    )
    yield from check_distinct(
        ((f"{path}.name", p.name) for path, p in zip(paths, entry.ports, strict=True)), "port name"
    )


# Protocols of which the proxy sees a name to look up.
_NAMING = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS"})


def _dynamic(entry: ServiceEntry) -> Iterator[Problem]:
    """With DYNAMIC_DNS the name of each request or connection is looked up."""
    if entry.endpoints or entry.workload_selector is not None:
        path = "spec.endpoints" if entry.endpoints else "spec.workloadSelector"
        yield Problem(path, "is given with resolution DYNAMIC_DNS", "remove it, or use STATIC or DNS")
    for index, host in enumerate(entry.hosts):
        if not host.startswith("*"):
            message, fix = f"{host[:100]!r} is one name, with resolution DYNAMIC_DNS", "write *.suffix, or use DNS"
            yield Problem(f"spec.hosts[{index}]", message, fix)
    if entry.addresses:
        yield Problem("spec.addresses", "are given with resolution DYNAMIC_DNS", "remove them")
    for index, port in enumerate(entry.ports):
        if port.protocol.upper() not in _NAMING:
            message = f"{port.protocol!r} shows no name to look up, with resolution DYNAMIC_DNS"
            yield Problem(f"spec.ports[{index}].protocol", message, "use HTTP, HTTP2, GRPC, HTTPS or TLS")


def _endpoints(entry: ServiceEntry) -> Iterator[Problem]:
    if entry.resolution is Resolution.DYNAMIC_DNS:
        yield from _dynamic(entry)
    if entry.resolution is Resolution.STATIC and not entry.endpoints and entry.workload_selector is None:
        yield Problem("spec.endpoints", "is empty with resolution STATIC", "list endpoints", severity=Severity.WARNING)
    if entry.resolution is Resolution.NONE and entry.endpoints:
        yield Problem("spec.endpoints", "are given with resolution NONE", "use STATIC or DNS")
    if entry.resolution is Resolution.DNS_ROUND_ROBIN and len(entry.endpoints) > 1:
        yield Problem("spec.endpoints", "are several with resolution DNS_ROUND_ROBIN", "keep one, or use DNS")
    for index, endpoint in enumerate(entry.endpoints):
        path = f"spec.endpoints[{index}]"
        yield from validate_entry(endpoint, path)
        if endpoint.address.startswith(SOCKET) and len(entry.ports) != 1:
            yield Problem(f"{path}.address", "is a socket, and the entry has not exactly one port", "list one port")
        if endpoint.address.startswith(SOCKET) and entry.resolution is not Resolution.STATIC:
            yield Problem(f"{path}.address", f"is a socket, with resolution {entry.resolution}", "use STATIC")
        if entry.resolution is Resolution.STATIC and endpoint.address and not _is_static(endpoint.address):
            yield Problem(f"{path}.address", f"{endpoint.address!r} is no IP address", "use resolution DNS for names")
        for name in endpoint.ports:
            if name not in {port.name for port in entry.ports}:
                yield Problem(f"{path}.ports", f"{name!r} is no port of the entry", "use a name of spec.ports")


def _is_static(address: str) -> bool:
    if address.startswith(SOCKET):
        return True
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
