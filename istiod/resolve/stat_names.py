"""Names of an upstream's statistics, where MeshConfig gives a pattern for them.

Rules: MeshConfig `inboundClusterStatName` and `outboundClusterStatName`. Without a pattern the upstream's own name.
"""

from __future__ import annotations

from federation.model.service import Origin, Service, ServicePort
from istiod.api.meshconfig import MeshConfig


def outbound_stat_name(mesh: MeshConfig, name: str, service: Service, port: ServicePort, subset: str) -> str:
    """The name for an upstream towards a service; the semicolon ends it, so that tags can be cut out."""
    return f"{_filled(mesh.outbound_cluster_stat_name, service, port, subset) or name};"


def inbound_stat_name(mesh: MeshConfig, name: str, service: Service | None, port: ServicePort | None) -> str:
    """The name for an upstream to the application, by the service that decides on its port."""
    if service is None or port is None:
        return f"{name};"
    return f"{_filled(mesh.inbound_cluster_stat_name, service, port, '') or name};"


def _filled(pattern: str | None, service: Service, port: ServicePort, subset: str) -> str:
    short = f"{service.name}.{service.namespace}" if service.origin is Origin.KUBERNETES else service.host
    text = pattern or ""
    for word, value in (
        ("%SERVICE%", short),
        ("%SERVICE_NAME%", service.name),
        ("%SERVICE_FQDN%", service.host),
        ("%SERVICE_PORT%", str(port.number)),
        ("%SERVICE_PORT_NAME%", port.name),
        ("%TARGET_PORT%", str(port.target_port)),
        ("%SUBSET_NAME%", subset),
    ):
        text = text.replace(word, value)
    return text
