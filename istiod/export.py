"""What this cluster tells the others: its exported services with their endpoints, as the federation publishes them.

Pure. Only what is declared here is told, never what was imported: a service merged with another cluster's leaves as it
was written.
"""

from __future__ import annotations

from dataclasses import replace

from federation.model.service import Origin, Service
from federation.model.workload import Endpoint, Health
from federation.publish import Export, Exports
from federation.records import ExportedService
from istiod.api.kinds import Kind
from istiod.registry.contribution import Contribution
from istiod.snapshot import Snapshot

WILDCARD = "*."
WILDCARD_KEY = "wildcard-."  # no DNS label ends with a hyphen, so no host is called so


def exports_of(snapshot: Snapshot, cluster: str, network: str) -> Exports:
    """The exports of this cluster under a snapshot. Peers in its own network get addresses, others groups."""
    found = [_export(item, network) for item in snapshot.local.values() if item.consumers is not None]
    shared = {peer.network for peer in snapshot.tables.get(Kind.PEER, {}).values()} & {network}
    return Exports(cluster, tuple(found), frozenset(shared))


def _export(item: Contribution, network: str) -> Export:
    service = item.service
    alive = tuple(_placed(service, e, network) for e in item.endpoints if e.health is Health.HEALTHY)
    identities = sorted({str(endpoint.identity) for endpoint in alive if endpoint.identity is not None})
    exported = ExportedService(
        replace(service, name=_key_name(service.name)),
        identities=tuple(dict.fromkeys((*service.subject_alt_names, *identities))),
        consumers=item.consumers or (),
        entry=service.origin is Origin.SERVICE_ENTRY,
    )
    return Export(exported, alive)


def _placed(service: Service, endpoint: Endpoint, network: str) -> Endpoint:
    """An endpoint as others must see it: inside the mesh, what names no network is in this cluster's.

    Here that may be left open (to Istio an empty network is reachable from everywhere); elsewhere it would be dialled
    directly. Endpoints outside the mesh are dialled from everywhere and stay as they are.
    """
    return endpoint if service.external or endpoint.network else replace(endpoint, network=network)


def _key_name(name: str) -> str:
    """A service's name as the store's keys can hold it: an entry of `*.example.com` is named by its host."""
    return WILDCARD_KEY + name.removeprefix(WILDCARD) if name.startswith(WILDCARD) else name
