"""What a lab consists of: clusters, pods, addresses and services, computed from a small description. Pure.

Names of namespaces carry the lab's prefix, so several labs run side by side with the same addresses inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity

CLUSTER_NAMES = ("east", "west", "north", "south", "centre", "isle")
WAN = "198.18.0"
ETCD_ADDRESS = f"{WAN}.250"
GATEWAY_PORT = 15443
APP_PORT = 8080


class PodSpec(BaseModel):
    """A pod of the description. `services` are those it serves; a client serves none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    zone: str = "a"
    services: tuple[str, ...] = ()
    delay: float = 0.0


class ClusterSpec(BaseModel):
    """A cluster of the description. Without pods it gets a client and two workloads in two zones."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    region: str = ""
    network: str = ""
    gateways: int = 1
    pods: tuple[PodSpec, ...] = ()


class LabSpec(BaseModel):
    """The whole description (`lab.yaml`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    clusters: tuple[ClusterSpec, ...] = ()
    mesh: str = "lab"
    defaults: str = "resilient"
    workload_ttl: float = 86_400.0
    authority_serves: bool = True


@dataclass(frozen=True, slots=True)
class Pod:
    """One network namespace with an application and its sidecar, or a gateway."""

    cluster: str
    name: str
    namespace: str
    address: str
    region: str
    zone: str
    service_account: str
    services: tuple[str, ...] = ()
    delay: float = 0.0
    wan: str = ""  # a gateway's address on the wide area

    @property
    def id(self) -> str:
        """`cluster/name`, as commands name it."""
        return f"{self.cluster}/{self.name}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster's place in the lab."""

    name: str
    index: int
    network: str
    region: str
    pods: tuple[Pod, ...]
    gateways: tuple[Pod, ...]

    @property
    def prefix(self) -> str:
        """The first two numbers of its addresses."""
        return f"10.{self.index + 1}"

    @property
    def router(self) -> str:
        """The bridge's address, every pod's default route."""
        return f"{self.prefix}.0.1"

    @property
    def istiod(self) -> str:
        """Its control plane's address."""
        return f"{self.prefix}.0.3"

    @property
    def istiod_wan(self) -> str:
        """Its control plane's address on the wide area, where the store is."""
        return f"{WAN}.{200 + self.index}"

    @property
    def router_wan(self) -> str:
        """The router's address on the wide area."""
        return f"{WAN}.{100 + self.index}"

    def services(self) -> tuple[str, ...]:
        """All services that some pod serves."""
        return tuple(dict.fromkeys(service for pod in self.pods for service in pod.services))

    def vip(self, service: str) -> str:
        """The virtual address of one of its services."""
        return f"10.96.{self.index + 1}.{10 + self.services().index(service)}"


@dataclass(frozen=True, slots=True)
class LabPlan:
    """A lab with every address decided. `prefix` starts the name of every namespace."""

    name: str
    spec: LabSpec
    clusters: tuple[Cluster, ...]

    @property
    def prefix(self) -> str:
        """`il-<name>-`."""
        return f"il-{self.name}-"

    def cluster(self, name: str) -> Cluster | None:
        """The cluster of that name."""
        return next((cluster for cluster in self.clusters if cluster.name == name), None)

    def pods(self) -> tuple[Pod, ...]:
        """All pods, gateways included."""
        return tuple(pod for cluster in self.clusters for pod in (*cluster.pods, *cluster.gateways))

    def pod(self, identifier: str) -> Pod | None:
        """The pod of `cluster/name`."""
        return next((pod for pod in self.pods() if pod.id == identifier), None)


def default_spec(clusters: int) -> LabSpec:
    """Clusters that all serve `echo`, each with a service of its own besides."""
    return LabSpec(clusters=tuple(ClusterSpec(name=name) for name in CLUSTER_NAMES[:clusters]))


def read_spec(path: Path) -> LabSpec:
    """A description from YAML; raises InvalidInput with everything wrong in it."""
    try:
        return LabSpec.model_validate(yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        raise InvalidInput([_wrong(path, "", str(error.strerror), "give a readable file")]) from error
    except yaml.YAMLError as error:
        raise InvalidInput([_wrong(path, "", f"is no YAML: {error}", "correct it")]) from error
    except ValidationError as error:
        found = [_wrong(path, ".".join(map(str, item["loc"])), item["msg"], "see docs/lab.md") for item in error.errors()]
        raise InvalidInput(found) from error


def _wrong(path: Path, field: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "InvalidLab", f"File {path}", field, message, fix)


def make_plan(name: str, spec: LabSpec) -> LabPlan:
    """Addresses and names for a description; raises InvalidInput if it has no clusters, too many, or one twice."""
    names = [cluster.name for cluster in spec.clusters]
    if not 1 <= len(names) <= 6 or len(set(names)) != len(names):
        message = f"has {len(names)} clusters: {', '.join(names) or 'none'}"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidLab", f"Lab {name}", "clusters", message, "name 1 to 6, each once")])
    return LabPlan(name, spec, tuple(_cluster(index, cluster) for index, cluster in enumerate(spec.clusters)))


def _cluster(index: int, spec: ClusterSpec) -> Cluster:
    region = spec.region or f"region-{spec.name}"
    network = spec.network or f"net-{spec.name}"
    pods = spec.pods or _default_pods(spec.name)
    made = tuple(
        Pod(
            spec.name, pod.name, "shop", f"10.{index + 1}.0.{20 + number}", region, f"{region}-{pod.zone}",
            pod.services[0] if pod.services else pod.name, pod.services, pod.delay,
        )
        for number, pod in enumerate(pods)
    )  # fmt: skip
    gateways = tuple(
        Pod(
            spec.name, "gateway" if number == 0 else f"gateway-{number + 1}", "istio-system", f"10.{index + 1}.0.{10 + number}",
            region, f"{region}-a", "eastwest", wan=f"{WAN}.{10 * (index + 1) + number}",
        )
        for number in range(spec.gateways)
    )  # fmt: skip
    return Cluster(spec.name, index, network, region, made, gateways)


def _default_pods(cluster: str) -> tuple[PodSpec, ...]:
    return (
        PodSpec(name="client"),
        PodSpec(name="echo-1", zone="a", services=("echo", f"only-{cluster}")),
        PodSpec(name="echo-2", zone="b", services=("echo",)),
    )
