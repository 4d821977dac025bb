"""What other clusters export -> services. Pure; one exported service of one peer gives one contribution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from federation.model.service import Resolution, Service
from federation.model.workload import Endpoint, NetworkGateway
from federation.records import DRAINING, READY, ExportedService
from federation.table import Peer
from istiod.registry.contribution import Contribution, Place


def convert_export(
    cluster: str, exported: ExportedService, groups: Iterable[tuple[Endpoint, ...]], place: Place
) -> Contribution | None:
    """One service of a peer with its endpoints, slice by slice; None if this cluster may not use it."""
    if not exported.admits(place.cluster):
        return None
    endpoints = tuple(endpoint for group in groups for endpoint in group)
    return Contribution(_reachable(exported.service), endpoints, peer=cluster, source=f"Cluster {cluster}")


def _reachable(service: Service) -> Service:
    """A headless service elsewhere has no addresses that clients here could dial: it is balanced like others."""
    if service.resolution is not Resolution.PASSTHROUGH or service.external:
        return service
    return replace(service, resolution=Resolution.ENDPOINTS, headless=False)


def peer_gateways(peer: Peer) -> tuple[NetworkGateway, ...]:
    """The gateways of a peer that take traffic: those that are ready, else those that may be so again before we hear
    it.
    """
    ready = [record.gateway for record in peer.gateways.values() if record.state == READY]
    return tuple(sorted(ready or (r.gateway for r in peer.gateways.values() if r.state != DRAINING)))
