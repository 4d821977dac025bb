"""Kubernetes Services with their EndpointSlices and Pods -> services. Pure; one Service gives one contribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from federation.model.identity import SpiffeId
from federation.model.labels import NO_LABELS, Labels
from federation.model.names import ServiceKey, service_host
from federation.model.service import Origin, Resolution, Service, ServicePort
from federation.model.workload import NETWORK_LABEL, TLS_MODE_LABEL, Endpoint, Health
from istiod.api import kubernetes as k8s
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Object
from istiod.registry.contribution import EXPORT_TO, Contribution, Place, export_to, locality_from, with_place
from istiod.registry.protocol import select_protocol

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
CANONICAL_ACCOUNT = "default"


def convert_service(
    service: Object[k8s.ServiceSpec],
    slices: Sequence[Object[k8s.EndpointSliceSpec]],
    pods: Mapping[str, Object[k8s.Pod]],
    nodes: Mapping[str, Labels],
    mesh: MeshConfig,
    place: Place,
) -> Contribution:
    """A service and its endpoints. `pods` are by address, `nodes` topology labels by node name."""
    spec, meta = service.spec, service.meta
    headless = spec.cluster_ip == "None"
    resolution = (
        Resolution.DNS if spec.type == "ExternalName" else Resolution.PASSTHROUGH if headless else Resolution.ENDPOINTS
    )
    ports = tuple(_port(port) for port in spec.ports)
    addresses = (*spec.cluster_ips, spec.cluster_ip) if spec.cluster_ip not in ("", "None") else ()
    endpoints = tuple(_endpoints(service, slices, pods, nodes, mesh, place))
    if spec.type == "ExternalName":
        endpoints = (Endpoint(spec.external_name, tuple((port.name, port.number) for port in ports)),)
    said = tuple(part.strip() for part in meta.annotations.get(EXPORT_TO, "").split(",") if part.strip())
    distribution = spec.traffic_distribution or meta.annotations.get("networking.istio.io/traffic-distribution", "")
    model = Service(
        key=ServiceKey(service_host(meta.name, meta.namespace, place.domain), meta.namespace),
        name=meta.name,
        ports=ports,
        resolution=resolution,
        origin=Origin.KUBERNETES,
        vips=tuple(dict.fromkeys(addresses)),
        external=spec.type == "ExternalName",
        created=meta.created,
        labels=meta.labels,
        export_to=export_to(said, mesh),
        headless=headless,
        selector=Labels(spec.selector),
        traffic_distribution=distribution,
    )
    return Contribution(model, endpoints, source=str(service))


def _port(port: k8s.ServicePort) -> ServicePort:
    protocol = select_protocol(port.protocol, port.app_protocol, port.name, port.port)
    return ServicePort(port.port, port.name, protocol, port.target_port if isinstance(port.target_port, int) else 0)


def _endpoints(
    service: Object[k8s.ServiceSpec],
    slices: Sequence[Object[k8s.EndpointSliceSpec]],
    pods: Mapping[str, Object[k8s.Pod]],
    nodes: Mapping[str, Labels],
    mesh: MeshConfig,
    place: Place,
) -> Iterator[Endpoint]:
    names = {port.name for port in service.spec.ports}
    for part in slices:
        ports = tuple(sorted((port.name, port.port) for port in part.spec.ports if port.port and port.name in names))
        for item in part.spec.endpoints:
            health = _health(item.conditions, service.spec.publish_not_ready_addresses)
            for address in item.addresses if health is not None else ():
                yield _endpoint(
                    address, ports, health or Health.HEALTHY, item, pods.get(address), nodes, service, mesh, place
                )


def _health(conditions: k8s.EndpointConditions, always: bool) -> Health | None:
    """Kubernetes' conditions; None for an endpoint that must not be told to anybody."""
    if conditions.ready is not False or always:
        return Health.DRAINING if conditions.terminating and not always else Health.HEALTHY
    return Health.DRAINING if conditions.terminating else Health.UNHEALTHY


def _endpoint(
    address: str,
    ports: tuple[tuple[str, int], ...],
    health: Health,
    item: k8s.SliceEndpoint,
    pod: Object[k8s.Pod] | None,
    nodes: Mapping[str, Labels],
    service: Object[k8s.ServiceSpec],
    mesh: MeshConfig,
    place: Place,
) -> Endpoint:
    labels = pod.meta.labels if pod is not None else NO_LABELS
    node = nodes.get((pod.spec.spec.node_name if pod is not None else "") or item.node_name or "")
    locality = locality_from(labels, node=node)
    network = labels.get(NETWORK_LABEL) or place.network
    account = pod.spec.spec.service_account_name if pod is not None else ""
    return Endpoint(
        address=address,
        ports=ports,
        labels=with_place(labels, locality, place.cluster, network),
        locality=locality,
        network=network,
        cluster=place.cluster,
        namespace=service.meta.namespace,
        workload=pod.meta.name if pod is not None else "",
        identity=SpiffeId(mesh.trust_domain, pod.meta.namespace, account) if pod is not None else None,
        health=health,
        mtls=labels.get(TLS_MODE_LABEL) == "istio",
    )


def pod_endpoint(pod: Object[k8s.Pod], nodes: Mapping[str, Labels], mesh: MeshConfig, place: Place) -> Endpoint:
    """A pod as an endpoint without ports, for ServiceEntries that select it."""
    labels = pod.meta.labels
    locality = locality_from(labels, node=nodes.get(pod.spec.spec.node_name))
    network = labels.get(NETWORK_LABEL) or place.network
    return Endpoint(
        address=pod.spec.status.pod_ip,
        ports=(),
        labels=with_place(labels, locality, place.cluster, network),
        locality=locality,
        network=network,
        cluster=place.cluster,
        namespace=pod.meta.namespace,
        workload=pod.meta.name,
        identity=SpiffeId(mesh.trust_domain, pod.meta.namespace, pod.spec.spec.service_account_name),
        mtls=labels.get(TLS_MODE_LABEL) == "istio",
    )
