"""ServiceEntry and its workloads -> services. Pure; one entry gives one contribution per host.

Rules: ServiceEntry and WorkloadEntry references. The identity of an endpoint is the entry's namespace with its service
account. A sidecar is there if the label `security.istio.io/tlsMode` says `istio`, or, without that label, if a service
account is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from federation.model.identity import SpiffeId
from federation.model.labels import NO_LABELS, Labels
from federation.model.locality import Locality
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import NETWORK_LABEL, TLS_MODE_LABEL, Endpoint
from istiod.api import serviceentry as api
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Meta, Object
from istiod.api.workloadentry import WorkloadEntry
from istiod.registry.contribution import Contribution, Place, export_to, labelled_locality, with_place
from istiod.registry.protocol import protocol_word

_RESOLUTION = {
    api.Resolution.NONE: Resolution.PASSTHROUGH,
    api.Resolution.STATIC: Resolution.ENDPOINTS,
    api.Resolution.DNS: Resolution.DNS,
    api.Resolution.DNS_ROUND_ROBIN: Resolution.DNS_ROUND_ROBIN,
    api.Resolution.DYNAMIC_DNS: Resolution.DYNAMIC_DNS,
}


def convert_entry(
    entry: Object[api.ServiceEntry], workloads: Sequence[Endpoint], mesh: MeshConfig, place: Place
) -> tuple[Contribution, ...]:
    """The services of an entry. `workloads` are those its selector matched, with empty `ports`."""
    ports = tuple(_port(port) for port in entry.spec.ports)
    by_name = {port.name: port for port in ports}
    inline = [workload_endpoint(item, entry.meta.namespace, mesh, place) for item in entry.spec.endpoints]
    chosen = [(endpoint, dict(endpoint.ports)) for endpoint in (*inline, *workloads)]
    endpoints = tuple(_served(endpoint, said, by_name.values()) for endpoint, said in chosen)
    return tuple(_contribution(entry, host, ports, endpoints, mesh) for host in dict.fromkeys(entry.spec.hosts))


def workload_endpoint(
    item: WorkloadEntry, namespace: str, mesh: MeshConfig, place: Place, meta: Meta | None = None
) -> Endpoint:
    """A WorkloadEntry (or inline endpoint) as an endpoint whose `ports` are only those it names itself.

    Its `locality` field counts before its locality label; labels that a Kubernetes node would have do not.
    """
    labels = all_labels(item, meta)
    locality = Locality.parse(item.locality) if item.locality else labelled_locality(labels)
    network = item.network or labels.get(NETWORK_LABEL, "")
    return Endpoint(
        address=item.address,
        ports=tuple(sorted(item.ports.items())),
        labels=with_place(labels, locality, place.cluster, network),
        locality=locality,
        network=network,
        cluster=place.cluster,
        namespace=namespace,
        workload=meta.name if meta else "",
        identity=SpiffeId(mesh.trust_domain, namespace, item.service_account) if item.service_account else None,
        weight=item.weight or 1,
        mtls=labels.get(TLS_MODE_LABEL, "istio" if item.service_account else "") == "istio",
    )


def all_labels(item: WorkloadEntry, meta: Meta | None) -> Labels:
    """The labels of a workload: those of the object itself are written over those of its spec."""
    return Labels(item.labels).merged(meta.labels) if meta is not None else Labels(item.labels)


def _bare(address: str) -> str:
    """A CIDR of one address as that address, which is what a listener and a host name of a route can be."""
    network = ip_network(address, strict=False)
    return str(network.network_address) if "/" in address and network.num_addresses == 1 else address


def _port(port: api.ServicePort) -> ServicePort:
    name = port.name or f"port-{port.number}"
    protocol = protocol_word(port.protocol) if port.protocol else Protocol.AUTO
    return ServicePort(port.number, name, protocol or Protocol.AUTO, port.target_port or port.number)


def _served(endpoint: Endpoint, said: dict[str, int], ports: Iterable[ServicePort]) -> Endpoint:
    numbers = tuple((port.name, said.get(port.name) or port.target_port) for port in ports)
    return Endpoint(
        endpoint.address, numbers, endpoint.labels, endpoint.locality, endpoint.network, endpoint.cluster,
        endpoint.namespace, endpoint.workload, endpoint.identity, endpoint.weight, endpoint.health, endpoint.mtls,
    )  # fmt: skip


def _contribution(
    entry: Object[api.ServiceEntry],
    host: str,
    ports: tuple[ServicePort, ...],
    endpoints: tuple[Endpoint, ...],
    mesh: MeshConfig,
) -> Contribution:
    spec, meta = entry.spec, entry.meta
    resolution = _RESOLUTION[spec.resolution]
    if resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN) and not endpoints and spec.workload_selector is None:
        endpoints = (Endpoint(host, tuple((port.name, port.target_port) for port in ports)),)
    service = Service(
        key=ServiceKey(host, meta.namespace),
        name=host,
        ports=ports,
        resolution=resolution,
        origin=Origin.SERVICE_ENTRY,
        vips=tuple(map(_bare, spec.addresses)),
        external=spec.location is api.Location.MESH_EXTERNAL,
        created=meta.created,
        labels=meta.labels,
        export_to=export_to(spec.export_to, mesh),
        selector=Labels(spec.workload_selector.all_labels) if spec.workload_selector is not None else NO_LABELS,
        subject_alt_names=spec.subject_alt_names,
        traffic_distribution=meta.annotations.get("networking.istio.io/traffic-distribution", ""),
    )
    return Contribution(service, endpoints, source=str(entry))
