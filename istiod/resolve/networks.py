"""Which endpoints a proxy can reach itself, and which only through the gateways of another network.

Pure. Rules: Istio's multi-network endpoint filter (direct inside a network or where no gateway is known, through the
gateways otherwise, only with mutual TLS), with weights that stay true for unequal gateways.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import gcd, lcm

from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.workload import CLUSTER_LABEL, NETWORK_LABEL, Endpoint, Health, NetworkGateway
from istiod.resolve.locality import Placed
from istiod.resolve.specs.endpoints import EndpointSpec
from istiod.resolve.specs.telemetry import UNKNOWN


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint of one port that passed all filters but the network's. `mtls` is the decision for this upstream."""

    endpoint: Endpoint
    port: int
    mtls: bool


@dataclass(slots=True)
class GatewayIndex:
    """Gateways by the cluster and by the network they lead into."""

    gateways: Sequence[NetworkGateway]
    by_cluster: dict[tuple[str, str], list[NetworkGateway]] = field(default_factory=lambda: defaultdict(list))
    by_network: dict[str, list[NetworkGateway]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for gateway in sorted(self.gateways):
            self.by_cluster[gateway.network, gateway.cluster].append(gateway)
            self.by_network[gateway.network].append(gateway)

    def leading_to(self, network: str, cluster: str) -> Sequence[NetworkGateway]:
        """The gateways of the endpoint's own cluster, else those of its network."""
        own = self.by_cluster.get((network, cluster))
        return own if own else self.by_network.get(network, ())


def reach(candidates: Iterable[Candidate], network: str, gateways: GatewayIndex, facts: bool = False) -> list[Placed]:
    """What a proxy in `network` dials: endpoints directly, or gateways in place of those it cannot reach.

    Endpoints of another network without mutual TLS are left out, as no gateway could tell where they go, and so are
    groups that have no address and no gateway.
    """
    direct: list[Candidate] = []
    behind: dict[tuple[str, str, Locality, Labels], int] = defaultdict(int)
    for candidate in candidates:
        endpoint = candidate.endpoint
        leading = gateways.leading_to(endpoint.network, endpoint.cluster) if endpoint.network else ()
        if not leading or endpoint.network == network:
            if endpoint.address:
                direct.append(candidate)
        elif candidate.mtls and endpoint.health is Health.HEALTHY:
            behind[endpoint.network, endpoint.cluster, endpoint.locality, endpoint.labels] += endpoint.weight or 1
    shares = {key: gateways.leading_to(key[0], key[1]) for key in behind}
    scale = (
        lcm(*(_total(share) // gcd(_total(share), *(g.weight for g in share)) for share in shares.values()))
        if shares
        else 1
    )
    placed = [_direct(candidate, scale, facts) for candidate in direct]
    for key, weight in behind.items():
        placed += _through(key, weight * scale, shares[key], facts)
    return placed


def _total(gateways: Sequence[NetworkGateway]) -> int:
    return sum(gateway.weight for gateway in gateways) or 1


def _direct(candidate: Candidate, scale: int, facts: bool) -> Placed:
    endpoint = candidate.endpoint
    spec = EndpointSpec(
        endpoint.address,
        0 if endpoint.address.startswith("unix://") else candidate.port,
        (endpoint.weight or 1) * scale,
        endpoint.health,
        candidate.mtls,
        telemetry_workload(endpoint),
        facts=_facts(endpoint.workload, endpoint.namespace, endpoint.labels, endpoint.cluster) if facts else (),
    )
    return Placed(spec, endpoint.locality, endpoint.labels)


def _through(
    key: tuple[str, str, Locality, Labels], weight: int, gateways: Sequence[NetworkGateway], facts: bool
) -> list[Placed]:
    network, cluster, locality, labels = key
    total = _total(gateways)
    placed = []
    for gateway in gateways:
        if gateway.weight <= 0:
            continue
        spec = EndpointSpec(
            gateway.address,
            gateway.port,
            max(1, weight * gateway.weight // total),
            Health.HEALTHY,
            True,
            facts=_facts("", "", labels, cluster) if facts else (),
        )
        placed.append(Placed(spec, locality, labels.merged({NETWORK_LABEL: network, CLUSTER_LABEL: cluster})))
    return placed


def telemetry_workload(endpoint: Endpoint) -> str:
    """Istio's `name;namespace;canonical-name;canonical-revision;cluster`, or "" for an endpoint without a workload."""
    if not endpoint.workload:
        return ""
    name, revision = _canonical(endpoint.workload, endpoint.labels)
    return f"{endpoint.workload};{endpoint.namespace};{name};{revision};{endpoint.cluster}"


def _canonical(workload: str, labels: Labels) -> tuple[str, str]:
    name = (
        labels.get("service.istio.io/canonical-name")
        or labels.get("app.kubernetes.io/name")
        or labels.get("app")
        or workload
    )
    revision = (
        labels.get("service.istio.io/canonical-revision")
        or labels.get("app.kubernetes.io/version")
        or labels.get("version")
    )
    return name, revision or "latest"


def _facts(workload: str, namespace: str, labels: Labels, cluster: str) -> tuple[str, ...]:
    """What metrics say of a host, in the order of `Fact`; of one behind a gateway the name is not known."""
    name, revision = _canonical(workload, labels)
    found = (workload, namespace, name, revision, cluster, labels.get("app", ""), labels.get("version", ""))
    return tuple(value or UNKNOWN for value in found)
