"""A connected proxy, and the class of proxies that it belongs to.

Owns what we read of an xDS node (Istio's metadata contract). Identity is never taken from here: the node's claims are
checked against the authenticated peer by `istiod.ca.authn`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from federation.model.labels import NO_LABELS, Labels
from federation.model.locality import NO_LOCALITY, Locality
from federation.model.names import ServiceKey
from federation.model.service import ServicePort
from istiod.api.proxysettings import ConnectionSettings, ProxyHeaders, Topology


class ProxyType(StrEnum):
    """The first part of the node id; `GRPC` is a sidecar id with metadata `GENERATOR: grpc`."""

    SIDECAR = "sidecar"
    ROUTER = "router"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One xDS client as its node describes it."""

    id: str
    type: ProxyType
    name: str
    namespace: str
    service_account: str
    dns_domain: str
    addresses: tuple[str, ...]
    cluster: str = ""
    network: str = ""
    locality: Locality = NO_LOCALITY
    labels: Labels = NO_LABELS
    requested_networks: tuple[str, ...] = ()
    agentless: bool = False  # ISTHMUS_SDS: secrets come on the ADS stream
    dns_capture: bool = False  # its workload asks a name server that knows the addresses that the mesh gives
    http10: bool = False
    interception: str = "REDIRECT"
    topology: Topology | None = None  # its own settings, in place of the mesh's
    proxy_headers: ProxyHeaders | None = None
    connection_settings: ConnectionSettings | None = None
    envoy_version: tuple[int, int] | None = None
    metadata: Labels = NO_LABELS  # texts of the node's metadata


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """A port of a service that the proxy's own workload serves, with the workload's port number."""

    service: ServiceKey
    port: ServicePort
    target_port: int


@dataclass(frozen=True, slots=True)
class ProxyView:
    """The class key: proxies with equal views get equal configuration. Everything `resolve` may ask of a proxy is here.

    `labels` and `metadata` are cut down to the keys that some policy of the mesh can select on. `targets` are sorted,
    oldest service first.
    """

    type: ProxyType
    namespace: str
    dns_domain: str
    cluster: str
    network: str
    locality: Locality
    labels: Labels = NO_LABELS
    targets: tuple[ServiceTarget, ...] = ()
    requested_networks: tuple[str, ...] = ()
    agentless: bool = False
    dns_capture: bool = False
    http10: bool = False
    interception: str = "REDIRECT"
    ipv4: bool = True
    ipv6: bool = False
    topology: Topology | None = None
    proxy_headers: ProxyHeaders | None = None
    connection_settings: ConnectionSettings | None = None
    envoy_version: tuple[int, int] | None = None
    metadata: Labels = NO_LABELS
    service_name: str = ""  # in traces, where these name their proxy
