"""Look-ups in a snapshot that several analyzers share: services by host, workloads by labels, who sees what. Pure.

What is not in the input cannot be judged: where a snapshot holds nothing of a sort (no service, no workload, no
namespace), the answer is "unknown" and not "missing", so that a directory of VirtualServices alone gives no false
alarm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from federation.model.labels import Labels
from federation.model.names import NamespacedName, ServiceKey, host_matches, resolve_short_host
from federation.model.service import Origin, Service
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.memo import memo
from istiod.registry.serviceentry import all_labels
from istiod.resolve.objects import Table, table_of
from istiod.snapshot import Snapshot
from istiod.view.visibility import exported, one_per_host, visible_services


@dataclass(frozen=True, slots=True)
class Workload:
    """A running pod or a WorkloadEntry. `ports` are the ports that it names, `account` its service account."""

    kind: str
    key: NamespacedName
    labels: Labels
    ports: Mapping[str, int]
    account: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Hosts:
    """The services that one namespace sees, by host; a wildcard stands for the hosts that it covers."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._exact = {service.host: service for service in services}
        self._wild = sorted((host for host in self._exact if host.startswith("*")), key=len, reverse=True)

    def get(self, host: str) -> Service | None:
        """The service of a host; None if there is none."""
        found = self._exact.get(host)
        if found is not None or host.startswith("*"):
            return found
        wild = next((name for name in self._wild if host_matches(name, host)), None)
        return self._exact[wild] if wild is not None else None

    def covered_by(self, pattern: str) -> bool:
        """Whether some service has the host, or one that the wildcard covers."""
        if not pattern.startswith("*"):
            return self.get(pattern) is not None
        return any(host_matches(pattern, host) or host_matches(host, pattern) for host in self._exact)


def hosts_of(snapshot: Snapshot, namespace: str) -> Hosts:
    """The services that a namespace sees."""
    known = _hosts(snapshot.services)
    found = known.get(namespace)
    if found is None:
        found = known[namespace] = Hosts(one_per_host(visible_services(snapshot, namespace), namespace))
    return found


@memo(size=2)
def _hosts(_services: Mapping[ServiceKey, Service]) -> dict[str, Hosts]:
    return {}


def every_host(snapshot: Snapshot) -> Hosts:
    """All services, whoever sees them."""
    return _every_host(snapshot.services)


@memo(size=2)
def _every_host(services: Mapping[ServiceKey, Service]) -> Hosts:
    return Hosts(services.values())


def full_host(snapshot: Snapshot, host: str, namespace: str) -> str:
    """A host of an object in full, as `resolve_short_host` completes it."""
    return resolve_short_host(host, namespace, domain_of(snapshot.services))


@memo(size=2)
def domain_of(services: Mapping[ServiceKey, Service]) -> str:
    """The DNS domain of the cluster, read off its Kubernetes services; `cluster.local` where there are none."""
    own = (service.host for service in services.values() if service.origin is Origin.KUBERNETES)
    return next((host.partition(".svc.")[2] for host in own if ".svc." in host), "cluster.local")


def workloads(snapshot: Snapshot) -> tuple[Workload, ...]:
    """All running pods and WorkloadEntries, by namespace and name; none means that they are unknown."""
    return _workloads(table_of(snapshot, Kind.POD), table_of(snapshot, Kind.WORKLOAD_ENTRY))


@memo(size=2)
def _workloads(pods: Table, entries: Table) -> tuple[Workload, ...]:
    found = [_pod(item) for item in pods.values() if item.spec.status.phase not in ("Succeeded", "Failed")]
    for item in entries.values():
        labels = all_labels(item.spec, item.meta)
        ports, account = item.spec.ports, item.spec.service_account
        found.append(Workload(Kind.WORKLOAD_ENTRY.value, item.meta.key, labels, ports, account or "default"))
    return tuple(sorted(found, key=str))


def _pod(item: Object[Any]) -> Workload:
    containers = item.spec.spec.containers
    ports = {port.name: port.container_port for container in containers for port in container.ports if port.name}
    return Workload(Kind.POD.value, item.meta.key, item.meta.labels, ports, item.spec.spec.service_account_name)


def selected(snapshot: Snapshot, selector: Mapping[str, str], namespace: str = "") -> Iterator[Workload]:
    """The workloads that a selector matches, in one namespace or in all."""
    for workload in workloads(snapshot):
        if (not namespace or workload.key.namespace == namespace) and workload.labels.selected_by(selector):
            yield workload


def namespaces(snapshot: Snapshot) -> frozenset[str]:
    """All namespaces that are known by an object of their own; none means that they are unknown."""
    return frozenset(key.name for key in table_of(snapshot, Kind.NAMESPACE))


def sees(snapshot: Snapshot, item: Object[Any], namespace: str) -> bool:
    """Whether `exportTo` of a VirtualService or DestinationRule shows it to a namespace."""
    mesh = snapshot.mesh
    default = {
        Kind.VIRTUAL_SERVICE: mesh.default_virtual_service_export_to,
        Kind.DESTINATION_RULE: mesh.default_destination_rule_export_to,
    }[Kind(item.kind)]
    return exported(item.spec.export_to or default or ("*",), item.meta.namespace, namespace)


def by_namespace(items: Iterable[Object[Any]]) -> dict[str, list[Object[Any]]]:
    """Objects by namespace, in their order."""
    groups: dict[str, list[Object[Any]]] = defaultdict(list)
    for item in items:
        groups[item.meta.namespace].append(item)
    return groups


def named(items: Iterable[object], most: int = 3) -> str:
    """A short list for a message: the first few, and how many more."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels for a message: `app=a,version=v1`."""
    return str(Labels(labels))
