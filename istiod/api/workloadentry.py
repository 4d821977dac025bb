"""WorkloadEntry and WorkloadGroup: workloads outside of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator

from istiod.api.fields import Count, Model, Port
from istiod.api.problems import Problem


class WorkloadEntry(Model):
    """networking.istio.io WorkloadEntry; also the shape of a ServiceEntry's inline endpoints."""

    address: str = ""
    ports: dict[str, Port] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: Count | None = None
    service_account: str = ""


class ObjectMeta(Model):
    """Labels and annotations for generated entries."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class HTTPHeader(Model):
    """A header of a probe."""

    name: str
    value: str = ""


class HTTPHealthCheckConfig(Model):
    """An HTTP probe."""

    path: str = ""
    port: Port | None = None
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPHealthCheckConfig(Model):
    """A TCP probe."""

    host: str = ""
    port: Port


class GrpcHealthCheckConfig(Model):
    """A gRPC probe."""

    port: Port
    service: str = ""


class ExecHealthCheckConfig(Model):
    """A command as probe."""

    command: tuple[str, ...] = ()


class ReadinessProbe(Model):
    """How a workload of a group is probed."""

    initial_delay_seconds: Count = 0
    timeout_seconds: Count = 0
    period_seconds: Count = 0
    success_threshold: Count = 0
    failure_threshold: Count = 0
    http_get: HTTPHealthCheckConfig | None = None
    tcp_socket: TCPHealthCheckConfig | None = None
    exec: ExecHealthCheckConfig | None = None
    grpc: GrpcHealthCheckConfig | None = None


class WorkloadGroup(Model):
    """networking.istio.io WorkloadGroup."""

    metadata: ObjectMeta = ObjectMeta()
    template: WorkloadEntry
    probe: ReadinessProbe | None = None


def validate_entry(entry: WorkloadEntry, path: str = "spec") -> Iterator[Problem]:
    """Rules beyond types: an address, or a network whose gateways stand in."""
    if not entry.address and not entry.network:
        yield Problem(f"{path}.address", "is empty", "give an address, or a network that a gateway leads to")
    if entry.address.startswith("unix://") and entry.ports:
        yield Problem(f"{path}.ports", "are given with a unix:// address", "remove them")
