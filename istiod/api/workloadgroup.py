"""WorkloadGroup: what workloads outside of Kubernetes have in common, and how they are probed.

Rules: WorkloadGroup reference. The template is a WorkloadEntry whose address each workload brings itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from federation.model.findings import Severity
from istiod.api.fields import Count, Model, Port
from istiod.api.problems import Problem
from istiod.api.workloadentry import WorkloadEntry, check_labels, check_ports

_HEADER = re.compile(r"[-_A-Za-z0-9]+")  # as Kubernetes spells it in probes
_METHODS = {"http_get": "httpGet", "tcp_socket": "tcpSocket", "exec": "exec", "grpc": "grpc"}


class ObjectMeta(Model):
    """Labels and annotations for generated entries."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class HTTPHeader(Model):
    """A header of a probe."""

    name: str = ""
    value: str = ""


class HTTPHealthCheckConfig(Model):
    """An HTTP probe. `host` "" = the workload itself."""

    path: str = ""
    port: Port
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPHealthCheckConfig(Model):
    """A TCP probe."""

    host: str = ""
    port: Port


class GrpcHealthCheckConfig(Model):
    """A gRPC probe. `port` None = the first one."""

    port: Port | None = None
    service: str = ""


class ExecHealthCheckConfig(Model):
    """A command as probe."""

    command: tuple[str, ...] = ()


class ReadinessProbe(Model):
    """How a workload of a group is probed; times in seconds, 0 = the default. Exactly one method."""

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

    metadata: ObjectMeta | None = None
    template: WorkloadEntry
    probe: ReadinessProbe | None = None


def validate(group: WorkloadGroup) -> Iterator[Problem]:
    """Istio's rules for WorkloadGroup beyond types, and that nothing registers its workloads."""
    if group.metadata is not None:
        yield from check_labels(group.metadata.labels, "spec.metadata.labels")
    yield from check_labels(group.template.labels, "spec.template.labels")
    yield from check_ports(group.template.ports, "spec.template.ports")
    if group.template.address:
        message, fix = "has no effect: each workload has its own", "remove it"
        yield Problem("spec.template.address", message, fix, severity=Severity.WARNING)
    if group.probe is not None:
        yield from _probe(group.probe)
    yield Problem(
        "spec.template",
        "makes no workloads: nothing registers them by itself yet",
        "write a WorkloadEntry for each workload",
        "FieldNotSupported",
        Severity.WARNING,
    )


def _probe(probe: ReadinessProbe) -> Iterator[Problem]:
    given = [word for name, word in _METHODS.items() if getattr(probe, name) is not None]
    if len(given) != 1:
        said = " and ".join(given) if given else "no method"
        yield Problem("spec.probe", f"has {said}", f"give one of {', '.join(_METHODS.values())}")
    if probe.http_get is not None:
        yield from _http(probe.http_get)
    if probe.exec is not None and not probe.exec.command:
        yield Problem("spec.probe.exec.command", "is missing", "give the command", "MissingField")


def _http(probe: HTTPHealthCheckConfig) -> Iterator[Problem]:
    path = "spec.probe.httpGet"
    if probe.scheme not in ("", "HTTP", "HTTPS"):
        yield Problem(f"{path}.scheme", f"{probe.scheme[:80]!r} is no scheme of a probe", "use HTTP or HTTPS")
    for index, header in enumerate(probe.http_headers):
        if not _HEADER.fullmatch(header.name):
            where = f"{path}.httpHeaders[{index}].name"
            yield Problem(where, f"{header.name[:80]!r} is no name of a header", "use letters, digits and '-'")
