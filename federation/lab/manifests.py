"""The objects of a cluster in the lab, as a Kubernetes API server would show them: Namespace, Pod, Service,
EndpointSlice. Pure.

istiod reads them from files; in a real cluster the same objects come from the API server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from federation.lab.topology import Node, Plan, Role, VirtualService

Json = dict[str, Any]
EXPORT_LABEL = "isthmus.io/export"


def render_manifests(plan: Plan, cluster: str) -> dict[str, str]:
    """File name -> YAML for the configuration directory of a cluster."""
    pods = plan.pods(cluster)
    services = [service for service in plan.services if service.cluster == cluster]
    return {
        "namespaces.yaml": _dump(_namespace(n) for n in sorted({p.workload.namespace for p in pods if p.workload})),
        "pods.yaml": _dump(_pod(plan, pod) for pod in pods),
        "services.yaml": _dump(item for service in services for item in (_service(service), _slice(service))),
    }


def render_names(plan: Plan, cluster: str) -> dict[str, list[str]]:
    """Names that the cluster's own name server knows by itself."""
    names = {service.host: [service.address] for service in plan.services if service.cluster == cluster}
    return {**names, "istiod.istio-system.svc.cluster.local": [plan.istiod(cluster).address]}


def pod_labels(node: Node, network: str) -> dict[str, str]:
    """The labels of a pod, the ones that Istio's injection adds included."""
    workload = node.workload
    labels = {
        "app": workload.application if workload else node.role.value,
        **({"version": workload.version} if workload and workload.version else {}),
        "topology.kubernetes.io/region": node.locality.region,
        "topology.kubernetes.io/zone": node.locality.zone,
        "topology.istio.io/network": network,
    }
    meshed = node.role is Role.GATEWAY or (workload is not None and workload.sidecar)
    return {**labels, "security.istio.io/tlsMode": "istio"} if meshed else labels


def service_account(node: Node) -> str:
    """The service account that a pod runs as."""
    assert node.workload is not None
    return node.workload.service_account or node.workload.name


def _namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _pod(plan: Plan, node: Node) -> Json:
    workload = node.workload
    assert workload is not None
    ports = [{"name": "http", "containerPort": workload.port}] if workload.port else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": node.short,
            "namespace": workload.namespace,
            "labels": pod_labels(node, plan.cluster(node.cluster).network),
        },
        "spec": {"serviceAccountName": service_account(node), "containers": [{"name": workload.name, "ports": ports}]},
        "status": {"phase": "Running", "podIP": node.address, "podIPs": [{"ip": node.address}]},
    }


def _service(virtual: VirtualService) -> Json:
    said = virtual.service
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": said.name,
            "namespace": virtual.namespace,
            "labels": {"app": said.workload, **({EXPORT_LABEL: "true"} if said.export else {})},
        },
        "spec": {
            "clusterIP": virtual.address,
            "selector": {"app": said.workload},
            "ports": [{"name": said.port_name, "port": said.port, "targetPort": virtual.target_port}],
        },
    }


def _slice(virtual: VirtualService) -> Json:
    said = virtual.service
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{said.name}-lab",
            "namespace": virtual.namespace,
            "labels": {"kubernetes.io/service-name": said.name},
        },
        "addressType": "IPv4",
        "ports": [{"name": said.port_name, "port": virtual.target_port, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [pod.address],
                "conditions": {"ready": True},
                "zone": pod.locality.zone,
                "targetRef": {"kind": "Pod", "name": pod.short, "namespace": virtual.namespace},
            }
            for pod in virtual.pods
        ],
    }


def _dump(items: Iterator[Json]) -> str:
    return yaml.safe_dump_all(list(items), sort_keys=False)
