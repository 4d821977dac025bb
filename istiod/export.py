"""What this cluster tells the others: its exported services with their endpoints, as the federation publishes them. Pure.

Only what is declared here is told, never what was imported: a service merged with another cluster's leaves as it was written.
"""

from __future__ import annotations

from federation.model.workload import Health
from federation.publish import Export, Exports
from federation.records import ExportedService
from istiod.registry.contribution import Contribution
from istiod.snapshot import Snapshot


def exports_of(snapshot: Snapshot, cluster: str, network: str) -> Exports:
    """The exports of this cluster under a snapshot. Peers in this cluster's own network get addresses, others groups."""
    found = [_export(item) for item in snapshot.local.values() if item.consumers is not None]
    shared = {peer.network for peer in snapshot.tables.get("Peer", {}).values()} & {network}
    return Exports(cluster, tuple(found), frozenset(shared))


def _export(item: Contribution) -> Export:
    service = item.service
    alive = tuple(endpoint for endpoint in item.endpoints if endpoint.health is Health.HEALTHY)
    identities = sorted({str(endpoint.identity) for endpoint in alive if endpoint.identity is not None})
    exported = ExportedService(
        service,
        identities=tuple(dict.fromkeys((*service.subject_alt_names, *identities))),
        consumers=item.consumers or (),
        entry=service.origin.value == "service-entry",
    )
    return Export(exported, alive)
