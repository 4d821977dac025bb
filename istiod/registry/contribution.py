"""What one object adds to the registry: a service as its owner declared it, with the endpoints known from there."""

from __future__ import annotations

from dataclasses import dataclass

from federation.model.findings import Finding
from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.service import Service
from federation.model.workload import CLUSTER_LABEL, NETWORK_LABEL, Endpoint
from istiod.api.meshconfig import MeshConfig

LOCALITY_LABEL = "topology.istio.io/locality"
OLD_LOCALITY_LABEL = "istio-locality"
REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"
SUBZONE_LABEL = "topology.istio.io/subzone"
_OLD_REGION_LABEL = "failure-domain.beta.kubernetes.io/region"
_OLD_ZONE_LABEL = "failure-domain.beta.kubernetes.io/zone"
EXPORT_TO = "networking.istio.io/exportTo"


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """One service from one object. `peer` is the exporting cluster, "" for our own objects.

    `consumers` are the clusters that may use it (empty = all), None if it is not exported.
    """

    service: Service
    endpoints: tuple[Endpoint, ...]
    peer: str = ""
    source: str = ""
    findings: tuple[Finding, ...] = ()
    consumers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where this control plane is: facts that objects leave out."""

    cluster: str
    network: str
    domain: str = "cluster.local"


def labelled_locality(labels: Labels) -> Locality:
    """The locality that a label names, in which dots stand for slashes; none if there is no such label."""
    return Locality.parse((labels.get(LOCALITY_LABEL) or labels.get(OLD_LOCALITY_LABEL) or "").replace(".", "/"))


def locality_from(labels: Labels, node: Labels | None = None) -> Locality:
    """A pod's or proxy's locality: its label, or its node's topology labels, or such labels of its own."""
    labelled = labelled_locality(labels)
    if labelled.region:
        return labelled
    return _topology(node) if node and _topology(node).region else _topology(labels)


def _topology(labels: Labels) -> Locality:
    region = labels.get(REGION_LABEL) or labels.get(_OLD_REGION_LABEL, "")
    zone = labels.get(ZONE_LABEL) or labels.get(_OLD_ZONE_LABEL, "")
    return Locality(region, zone, labels.get(SUBZONE_LABEL, ""))


def with_place(labels: Labels, locality: Locality, cluster: str, network: str) -> Labels:
    """Labels with the place written in, so that subsets and failoverPriority can refer to it."""
    found = {
        REGION_LABEL: locality.region,
        ZONE_LABEL: locality.zone,
        SUBZONE_LABEL: locality.subzone,
        CLUSTER_LABEL: cluster,
        NETWORK_LABEL: network,
    }
    return labels.merged({key: value for key, value in found.items() if value and key not in labels})


def export_to(said: tuple[str, ...], mesh: MeshConfig) -> tuple[str, ...]:
    """Who sees a service: what its owner said, else the mesh's default."""
    return said or mesh.default_service_export_to or ("*",)
