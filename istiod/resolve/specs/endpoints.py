"""Endpoints of one upstream (Envoy's ClusterLoadAssignment)."""

from __future__ import annotations

from dataclasses import dataclass

from federation.model.locality import Locality
from federation.model.workload import Health


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One host. `address` is an IP, a DNS name, or `unix://path` (then `port` is 0).

    `mtls` becomes the metadata that selects the mutual TLS socket (`tlsMode: istio`). `workload` is Istio's
    telemetry text
    `name;namespace;canonical-name;canonical-revision;cluster`; `facts` says the same and more in the order of
    `Fact`, where metrics are in force. `identity_key` keeps hosts apart that share an address
    (several virtual endpoints of one gateway); "" for ordinary hosts. `health_check_port` 0 = the port itself.
    """

    address: str
    port: int
    weight: int = 1
    health: Health = Health.HEALTHY
    mtls: bool = False
    workload: str = ""
    identity_key: str = ""
    health_check_port: int = 0
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalityEndpointsSpec:
    """The hosts of one locality at one priority. `weight` None = the locality takes no part in locality weighting."""

    locality: Locality
    priority: int
    weight: int | None
    endpoints: tuple[EndpointSpec, ...]


@dataclass(frozen=True, slots=True)
class EndpointsSpec:
    """All endpoints of one upstream, priorities without gaps. `name` is the upstream's name."""

    name: str
    localities: tuple[LocalityEndpointsSpec, ...]
    overprovisioning_factor: int | None = None
    drop_overload_percent: int | None = None
