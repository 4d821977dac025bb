"""The Kubernetes objects that are read: Service, EndpointSlice, Pod, Namespace, Node, ServiceExport, ConfigMap.

Only the fields that are read; everything else is Kubernetes' business and ignored.
"""

from __future__ import annotations

from pydantic import Field

from istiod.api.fields import LenientModel, Port


class ServicePort(LenientModel):
    """A port of a Service; `target_port` is a number or the name of a container port."""

    name: str = ""
    port: Port
    target_port: int | str | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None


class ServiceSpec(LenientModel):
    """core/v1 ServiceSpec."""

    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = {}
    cluster_ip: str = Field(default="", alias="clusterIP")
    cluster_ips: tuple[str, ...] = Field(default=(), alias="clusterIPs")
    type: str = "ClusterIP"
    external_name: str = ""
    external_ips: tuple[str, ...] = Field(default=(), alias="externalIPs")
    publish_not_ready_addresses: bool = False
    traffic_distribution: str | None = None


class EndpointConditions(LenientModel):
    """Absent means ready, as Kubernetes says."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(LenientModel):
    """A reference to another object."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class SliceEndpoint(LenientModel):
    """One endpoint of a slice, with one or more addresses."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hostname: str | None = None


class EndpointPort(LenientModel):
    """A port of all endpoints of a slice."""

    name: str = ""
    port: Port | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSliceSpec(LenientModel):
    """discovery.k8s.io/v1 EndpointSlice has its fields at the top level; this is all of them but metadata."""

    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class ContainerPort(LenientModel):
    """A named port of a container."""

    name: str = ""
    container_port: Port


class Container(LenientModel):
    """A container, as far as its ports go."""

    name: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(LenientModel):
    """core/v1 PodSpec."""

    service_account_name: str = "default"
    node_name: str = ""
    containers: tuple[Container, ...] = ()
    hostname: str = ""
    subdomain: str = ""


class PodIP(LenientModel):
    """One address of a pod."""

    ip: str


class PodStatus(LenientModel):
    """core/v1 PodStatus."""

    pod_ip: str = Field(default="", alias="podIP")
    pod_ips: tuple[PodIP, ...] = Field(default=(), alias="podIPs")
    phase: str = ""


class Pod(LenientModel):
    """core/v1 Pod: spec and status."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Namespace(LenientModel):
    """core/v1 Namespace; only its labels matter."""


class Node(LenientModel):
    """core/v1 Node; only its labels matter."""


class ServiceExport(LenientModel):
    """multicluster.x-k8s.io ServiceExport: the service of the same name may be used by other clusters."""


class ConfigMap(LenientModel):
    """core/v1 ConfigMap, for the certificates in it."""

    data: dict[str, str] = {}
