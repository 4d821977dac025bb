"""What a lab shall hold, as people write it in lab.yaml: clusters, workloads, services. Knows no address and no
process.

The default is two clusters on two networks, eight pods: in each a client, two replicas of `echo` in two zones and a
gateway.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity

CLUSTER_NAMES = ("east", "west", "north", "south")
MAX_CONFIG_BYTES = 1 << 20
MAX_CLUSTERS = 50
MAX_PODS = 200  # per cluster
Name = Annotated[str, StringConstraints(pattern=re.compile(r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"))]
Port = Annotated[int, Field(ge=1, le=65_535)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Cluster(_Model):
    """One cluster; clusters that name the same network reach each other's pods directly."""

    name: Name
    network: str = ""
    region: str = ""
    zones: tuple[Name, ...] = ("a", "b")
    gateways: int = Field(default=1, ge=0, le=8)

    @model_validator(mode="after")
    def _fill(self) -> Self:
        object.__setattr__(self, "network", self.network or f"net-{self.name}")
        object.__setattr__(self, "region", self.region or f"region-{self.name}")
        return self


class Workload(_Model):
    """Pods of one kind, the same in each of its clusters (all unless named), spread over the zones in turn.

    With port 0 it serves nothing: a client. `delay_ms` is how long the sample application takes over a request. Several
    workloads of one `app` are its versions, and stand behind the same Services.
    """

    name: Name
    app: str = ""
    version: str = ""
    namespace: Name = "demo"
    service_account: str = ""
    clusters: tuple[Name, ...] = ()
    replicas: int = Field(default=1, ge=1, le=100)
    port: int = Field(default=8080, ge=0, le=65_535)
    delay_ms: float = Field(default=0, ge=0)
    sidecar: bool = True

    @property
    def application(self) -> str:
        """The label `app` of its pods: its own name unless it is a version of something."""
        return self.app or self.name


class Service(_Model):
    """A Service in front of a workload, or of all workloads of an app, in each of their clusters unless named."""

    name: Name
    workload: Name
    port: Port = 8080
    port_name: str = "http"
    clusters: tuple[Name, ...] = ()
    export: bool = True


class LabConfig(_Model):
    """A whole lab."""

    mesh: Name = "lab"
    clusters: tuple[Cluster, ...] = (Cluster(name="east"), Cluster(name="west"))
    workloads: tuple[Workload, ...] = (Workload(name="client", port=0), Workload(name="echo", replicas=2))
    services: tuple[Service, ...] = (
        Service(name="echo", workload="echo"),
        Service(name="only-west", workload="echo", clusters=("west",)),
    )
    defaults: Annotated[str, StringConstraints(pattern=r"^(resilient|istio)$")] = "resilient"
    workload_ttl_seconds: float = Field(default=86_400, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _problems(config: LabConfig) -> list[str]:
    found = []
    names = [cluster.name for cluster in config.clusters]
    if not 1 <= len(names) <= MAX_CLUSTERS:
        found.append(f"a lab has 1 to {MAX_CLUSTERS} clusters, not {len(names)}")
    workloads = [workload.name for workload in config.workloads]
    for name in names:
        pods = sum(w.replicas for w in config.workloads if not w.clusters or name in w.clusters)
        found += [f"cluster {name!r} has {pods} pods, at most {MAX_PODS} are possible"] if pods > MAX_PODS else []
    for kind, used in (("cluster", names), ("workload", workloads), ("service", [s.name for s in config.services])):
        found += [f"{kind} {name!r} is there twice" for name in sorted({n for n in used if used.count(n) > 1})]
    found += [f"workload {name!r}: the name is taken by the lab" for name in workloads if name in RESERVED]
    found += [f"cluster {name!r}: the name is taken by the lab" for name in names if name in RESERVED]
    placed = [(item.name, item.clusters) for item in config.workloads]
    for item, chosen in (*placed, *((service.name, service.clusters) for service in config.services)):
        found += [f"{item!r} names cluster {c!r}, which is not there" for c in chosen if c not in names]
    for service in config.services:
        members = [w for w in config.workloads if w.application == service.workload]
        if not members:
            found.append(f"service {service.name!r} names workload {service.workload!r}, which is not there")
        found += [f"service {service.name!r}: workload {w.name!r} has no port" for w in members if not w.port]
        if len({(w.namespace, w.port) for w in members}) > 1:
            found.append(f"service {service.name!r}: its workloads differ in namespace or port")
    return found


def trust_domain(mesh: str, cluster: str) -> str:
    """The trust domain of a cluster that has joined."""
    return f"{cluster}.{mesh}"


RESERVED = frozenset({"istiod", "gateway", "etcd", "link"})


def default_config(clusters: int = 2, mesh: str = "lab") -> LabConfig:
    """The default lab with so many clusters: east, west, north, south, then cluster-5 and so on."""
    names = [CLUSTER_NAMES[n] if n < len(CLUSTER_NAMES) else f"cluster-{n + 1}" for n in range(clusters)]
    only = names[-1]
    return LabConfig(
        mesh=mesh,
        clusters=tuple(Cluster(name=name) for name in names),
        services=(
            Service(name="echo", workload="echo"),
            Service(name=f"only-{only}", workload="echo", clusters=(only,)),
        ),
    )


def parse_config(text: str, source: str) -> LabConfig:
    """Read lab.yaml; raises InvalidInput with every mistake at once."""
    if len(text) > MAX_CONFIG_BYTES:
        raise InvalidInput([_finding(source, "", f"has more than {MAX_CONFIG_BYTES} bytes")])
    try:
        return LabConfig.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise InvalidInput([_finding(source, "", f"is no YAML: {error}")]) from None
    except ValidationError as error:
        problems = [(".".join(str(part) for part in e["loc"]), e["msg"]) for e in error.errors()]
        raise InvalidInput([_finding(source, path, message) for path, message in problems]) from None


def load_config(path: Path) -> LabConfig:
    """Read a lab.yaml file; raises InvalidInput."""
    try:
        return parse_config(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([_finding(str(path), "", f"cannot be read: {error}")]) from None


def _finding(source: str, path: str, message: str) -> Finding:
    return Finding(Severity.ERROR, "InvalidLab", f"Lab {source}", path, message, "see `isthmus lab up --help`")
