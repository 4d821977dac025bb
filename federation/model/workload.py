"""Endpoints: where requests for a service can go, and the gateways that lead into other networks.

An endpoint is one workload, or a group of workloads behind another network's gateways (then `address` is empty and
`weight` counts them). Nothing here knows which proxy looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from federation.model.identity import SpiffeId
from federation.model.labels import NO_LABELS, Labels
from federation.model.locality import NO_LOCALITY, Locality

TLS_MODE_LABEL = "security.istio.io/tlsMode"
NETWORK_LABEL = "topology.istio.io/network"
CLUSTER_LABEL = "topology.istio.io/cluster"


def is_address(text: str) -> bool:
    """Whether it is an IP address, and not a name that somebody would have to resolve."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Health(StrEnum):
    """What the platform says of an endpoint. Draining ones get no new requests but finish the old."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that serves a service.

    `address` is an IP, a DNS name, a `unix://` path, or "" for a group that only gateways of `network` reach.
    `ports` maps service port names to port numbers. `mtls` says that a sidecar there accepts mutual TLS
    (label `security.istio.io/tlsMode: istio`). `identity` is what its certificate says, None if unknown.
    """

    address: str
    ports: tuple[tuple[str, int], ...]
    labels: Labels = NO_LABELS
    locality: Locality = NO_LOCALITY
    network: str = ""
    cluster: str = ""
    namespace: str = ""
    workload: str = ""
    identity: SpiffeId | None = None
    weight: int = 1
    health: Health = Health.HEALTHY
    mtls: bool = False

    def port(self, name: str) -> int:
        """The port number for a service port name; 0 if it does not serve that port."""
        for port_name, number in self.ports:
            if port_name == name:
                return number
        return 0


@dataclass(frozen=True, slots=True, order=True)
class NetworkGateway:
    """An east-west gateway: an address of `network` that passes mutual TLS on to its workloads by SNI."""

    network: str
    cluster: str
    address: str
    port: int
    locality: Locality = NO_LOCALITY
    weight: int = 1
