"""A frozen, indexed picture of everything one control plane knows, shared by all work on one revision.

Input is the store's tables; derived parts (services, endpoints, indexes) are reused from the previous snapshot where
their inputs are the same objects. Nothing here depends on how the tables came to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from federation.model.findings import Finding
from federation.model.names import NamespacedName, ServiceKey
from federation.model.service import Service
from federation.model.workload import Endpoint, NetworkGateway
from istiod.api.meshconfig import MeshConfig


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One revision of the world. Mappings are never changed after construction.

    `services` is sorted as conflicts are settled: oldest first, then by name and namespace.
    `hosts` lists the services of a host (several namespaces may own one), best first.
    `addresses` maps a workload address to the (service, port, target port) it serves.
    `tables` are the raw objects by kind, for the policies that `resolve` looks up.
    """

    revision: int
    mesh: MeshConfig
    services: Mapping[ServiceKey, Service]
    endpoints: Mapping[ServiceKey, tuple[Endpoint, ...]]
    hosts: Mapping[str, tuple[ServiceKey, ...]]
    addresses: Mapping[str, tuple[ServiceKey, ...]]
    gateways: tuple[NetworkGateway, ...]
    tables: Mapping[str, Mapping[NamespacedName, Any]]
    findings: tuple[Finding, ...] = ()
