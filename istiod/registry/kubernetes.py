"""Kubernetes Services with their EndpointSlices and Pods -> services. Pure; one Service gives one contribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from federation.model.findings import Finding, Severity
from federation.model.identity import SpiffeId
from federation.model.labels import NO_LABELS, Labels
from federation.model.names import ServiceKey, service_host
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import NETWORK_LABEL, TLS_MODE_LABEL, Endpoint, Health
from istiod.api import kubernetes as k8s
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Object
from istiod.registry.contribution import EXPORT_TO, Contribution, Place, export_to, locality_from, with_place
from istiod.registry.protocol import select_protocol

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
DISTRIBUTION = "networking.istio.io/traffic-distribution"
Pod = Object[k8s.Pod]
PodLookup = Callable[[k8s.SliceEndpoint, str], Pod | None]
NodeLabels = Callable[[str], Labels]


def convert_service(
    service: Object[k8s.ServiceSpec],
    slices: Sequence[Object[k8s.EndpointSliceSpec]],
    workloads: Sequence[Endpoint],
    pod_of: PodLookup,
    node_labels: NodeLabels,
    mesh: MeshConfig,
    place: Place,
) -> Contribution:
    """A service and its endpoints.

    `workloads` are WorkloadEntries that its selector matches, with the ports that they name themselves. `pod_of` finds
    the pod of a slice's endpoint and address, `node_labels` the labels of a node.
    """
    spec, meta = service.spec, service.meta
    ports, findings = _ports(service)
    external = spec.type == "ExternalName"
    said = tuple(part.strip() for part in meta.annotations.get(EXPORT_TO, "").split(",") if part.strip())
    model = Service(
        key=ServiceKey(service_host(meta.name, meta.namespace, place.domain), meta.namespace),
        name=meta.name,
        ports=ports,
        resolution=_resolution(spec),
        origin=Origin.KUBERNETES,
        vips=() if external else tuple(ip for ip in dict.fromkeys((spec.cluster_ip, *spec.cluster_ips)) if _is_ip(ip)),
        external=external,
        created=meta.created,
        labels=meta.labels,
        export_to=export_to(said, mesh),
        headless=spec.cluster_ip == "None",
        selector=Labels(spec.selector),
        traffic_distribution=spec.traffic_distribution or meta.annotations.get(DISTRIBUTION, ""),
    )
    endpoints: tuple[Endpoint, ...]
    if external:
        endpoints = (Endpoint(spec.external_name, tuple((port.name, port.number) for port in ports)),)
    else:
        inside = _slice_endpoints(service, slices, pod_of, node_labels, mesh, place)
        endpoints = (*dict.fromkeys(inside), *(_selected(endpoint, spec) for endpoint in workloads))
    return Contribution(model, endpoints, source=str(service), findings=findings)


def _resolution(spec: k8s.ServiceSpec) -> Resolution:
    if spec.type == "ExternalName":
        return Resolution.DNS
    return Resolution.PASSTHROUGH if spec.cluster_ip == "None" else Resolution.ENDPOINTS


def _is_ip(address: str) -> bool:
    return address not in ("", "None")


def _ports(service: Object[k8s.ServiceSpec]) -> tuple[tuple[ServicePort, ...], tuple[Finding, ...]]:
    """The ports that can be told apart; a number may be used once for TCP and once for UDP."""
    ports: dict[tuple[int, bool], ServicePort] = {}
    findings = []
    for index, said in enumerate(service.spec.ports):
        port = _port(said)
        known = ports.setdefault((port.number, port.protocol is Protocol.UDP), port)
        if known is not port:
            message = f"port {port.number} ({port.name!r}) is already taken by {known.name!r}"
            findings.append(
                Finding(
                    Severity.ERROR,
                    "DuplicatePort",
                    str(service),
                    f"spec.ports[{index}].port",
                    message,
                    "use each number once",
                )
            )
    return tuple(ports.values()), tuple(findings)


def _port(port: k8s.ServicePort) -> ServicePort:
    protocol = select_protocol(port.protocol, port.app_protocol, port.name, port.port)
    target = port.port if port.target_port is None else port.target_port
    return ServicePort(port.port, port.name, protocol, target if isinstance(target, int) else 0)


def _slice_endpoints(
    service: Object[k8s.ServiceSpec],
    slices: Sequence[Object[k8s.EndpointSliceSpec]],
    pod_of: PodLookup,
    node_labels: NodeLabels,
    mesh: MeshConfig,
    place: Place,
) -> Iterator[Endpoint]:
    names = {port.name for port in service.spec.ports}
    for part in slices:
        ports = tuple(sorted((port.name, port.port) for port in part.spec.ports if port.port and port.name in names))
        for item in part.spec.endpoints:
            health = _health(item.conditions, service.spec.publish_not_ready_addresses)
            for address in item.addresses:
                pod = pod_of(item, address)
                node = (pod.spec.spec.node_name if pod is not None else "") or item.node_name or ""
                yield _endpoint(address, ports, health, pod, node_labels(node), service.meta.namespace, mesh, place)


def _health(conditions: k8s.EndpointConditions, publish_not_ready: bool) -> Health:
    """Kubernetes' conditions; an endpoint on its way out gets nothing new, however ready it says it is."""
    if conditions.terminating and not publish_not_ready:
        return Health.DRAINING
    return Health.HEALTHY if publish_not_ready or conditions.ready is not False else Health.UNHEALTHY


def _endpoint(
    address: str,
    ports: tuple[tuple[str, int], ...],
    health: Health,
    pod: Pod | None,
    node_labels: Labels,
    namespace: str,
    mesh: MeshConfig,
    place: Place,
) -> Endpoint:
    labels = pod.meta.labels if pod is not None else NO_LABELS
    locality = locality_from(labels, node=node_labels)
    network = labels.get(NETWORK_LABEL) or place.network
    return Endpoint(
        address=address,
        ports=ports,
        labels=with_place(labels, locality, place.cluster, network),
        locality=locality,
        network=network,
        cluster=place.cluster,
        namespace=namespace,
        workload=pod.meta.name if pod is not None else "",
        identity=_identity(pod, mesh) if pod is not None else None,
        health=health,
        mtls=labels.get(TLS_MODE_LABEL) == "istio",
    )


def _identity(pod: Pod, mesh: MeshConfig) -> SpiffeId:
    return SpiffeId(mesh.trust_domain, pod.meta.namespace, pod.spec.spec.service_account_name or "default")


def pod_endpoint(pod: Pod, node_labels: NodeLabels, mesh: MeshConfig, place: Place) -> Endpoint:
    """A pod as an endpoint without ports, for ServiceEntries that select it."""
    labels = node_labels(pod.spec.spec.node_name)
    return _endpoint(pod.spec.status.pod_ip, (), Health.HEALTHY, pod, labels, pod.meta.namespace, mesh, place)


def _selected(endpoint: Endpoint, spec: k8s.ServiceSpec) -> Endpoint:
    """A WorkloadEntry of a Kubernetes Service: its own word on a port, by port or target name, else the target port."""
    said = dict(endpoint.ports)
    ports = []
    for port in spec.ports:
        target = port.target_port if isinstance(port.target_port, int) else port.port
        named = said.get(port.target_port, 0) if isinstance(port.target_port, str) else 0
        ports.append((port.name, said.get(port.name) or named or target))
    return Endpoint(
        endpoint.address, tuple(sorted(ports)), endpoint.labels, endpoint.locality, endpoint.network, endpoint.cluster,
        endpoint.namespace, endpoint.workload, endpoint.identity, endpoint.weight, endpoint.health, endpoint.mtls,
    )  # fmt: skip
