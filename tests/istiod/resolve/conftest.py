"""A small mesh for listener and route tests: services a and b of `apps`, c of `other`, rules as YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from federation.model.labels import Labels
from federation.model.locality import NO_LOCALITY
from federation.model.names import NamespacedName, ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Invalid
from istiod.api.parse import parse_documents
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView, ServiceTarget

HTTP = ServicePort(80, "http", Protocol.HTTP, 8080)
TCP = ServicePort(9000, "tcp", Protocol.TCP, 9000)
TLS = ServicePort(8443, "https", Protocol.HTTPS, 8443)


def service(
    name: str, namespace: str = "apps", ports: Iterable[ServicePort] = (HTTP, TCP, TLS), **fields: Any
) -> Service:
    host = fields.pop("host", f"{name}.{namespace}.svc.cluster.local")
    fields.setdefault("resolution", Resolution.ENDPOINTS)
    fields.setdefault("origin", Origin.KUBERNETES)
    return Service(ServiceKey(host, namespace), name, tuple(ports), **fields)


def mesh_services() -> list[Service]:
    return [
        service("a", vips=("10.255.0.1",)),
        service("b", vips=("10.255.0.2",)),
        service("c", "other", vips=("10.255.0.3",)),
    ]


@pytest.fixture
def snapshot() -> Callable[..., Snapshot]:
    """Makes a snapshot of services and YAML; every document must be accepted, invalid security policies included."""

    def make(
        text: str = "",
        services: Iterable[Service] | None = None,
        endpoints: dict[ServiceKey, tuple[Endpoint, ...]] | None = None,
        **mesh: Any,
    ) -> Snapshot:
        parsed = parse_documents(text, "test.yaml")
        tables: dict[str, dict[NamespacedName, Any]] = {}
        for item in parsed.objects:
            tables.setdefault(item.kind, {})[item.meta.key] = item
        errors = [finding for finding in parsed.findings if finding.severity >= 3]
        assert not errors or any(isinstance(item, Invalid) for item in parsed.objects), errors
        known = list(mesh_services() if services is None else services)
        hosts: dict[str, tuple[ServiceKey, ...]] = {}
        for item in known:
            hosts[item.host] = (*hosts.get(item.host, ()), item.key)
        settings = MeshConfig.model_validate({"isthmus": {"defaults": "istio"}, **mesh})
        return Snapshot(1, settings, {item.key: item for item in known}, endpoints or {}, hosts, {}, (), tables)

    return make


@pytest.fixture
def view() -> Callable[..., ProxyView]:
    """Makes a view; by default the sidecar of a workload of service a, without an agent."""

    def make(**fields: Any) -> ProxyView:
        fields.setdefault("type", ProxyType.SIDECAR)
        namespace = fields.setdefault("namespace", "apps")
        fields.setdefault("dns_domain", f"{namespace}.svc.cluster.local")
        fields.setdefault("cluster", "cluster1")
        fields.setdefault("network", "")
        fields.setdefault("locality", NO_LOCALITY)
        fields["labels"] = Labels(fields.get("labels", {"app": "a"}))
        fields.setdefault("agentless", True)
        return ProxyView(**fields)

    return make


def target(port: ServicePort, name: str = "a", namespace: str = "apps") -> ServiceTarget:
    return ServiceTarget(ServiceKey(f"{name}.{namespace}.svc.cluster.local", namespace), port, port.target_port)
