"""What other clusters export -> services. Pure; one served peer gives one contribution per service it lets us use."""

from __future__ import annotations

from collections import defaultdict

from federation.keys import EndpointsKey
from federation.model.workload import Endpoint, NetworkGateway
from federation.table import Peer
from istiod.registry.contribution import Contribution, Place


def convert_peer(peer: Peer, place: Place) -> tuple[Contribution, ...]:
    """The services of a peer that this cluster may use, with their endpoints."""
    endpoints: dict[tuple[str, str], list[Endpoint]] = defaultdict(list)
    for key, group in sorted(peer.endpoints.items(), key=lambda item: _order(item[0])):
        endpoints[key.namespace, key.name] += group
    return tuple(
        Contribution(
            exported.service,
            tuple(endpoints.get((key.namespace, key.name), ())),
            peer=peer.cluster,
            source=f"Cluster {peer.cluster}",
        )
        for key, exported in sorted(peer.services.items(), key=lambda item: (item[0].namespace, item[0].name))
        if exported.admits(place.cluster)
    )


def peer_gateways(peer: Peer) -> tuple[NetworkGateway, ...]:
    """The gateways of a peer that take traffic."""
    return tuple(sorted(record.gateway for record in peer.gateways.values() if record.state == "ready"))


def _order(key: EndpointsKey) -> tuple[str, str, str]:
    return (key.namespace, key.name, key.slice)
