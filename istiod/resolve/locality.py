"""Where requests go first: priorities and weights of endpoints as one proxy sees them.

Pure arithmetic on Istio's `localityLbSetting` (distribute, failover, failoverPriority) and `trafficDistribution`.
Rules: Istio's "Locality Load Balancing" reference and DestinationRule `LocalityLoadBalancerSetting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.workload import NETWORK_LABEL
from istiod.resolve.specs.endpoints import EndpointSpec, LocalityEndpointsSpec

REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"
SUBZONE_LABEL = "topology.istio.io/subzone"
HOSTNAME_LABEL = "kubernetes.io/hostname"

# Kubernetes trafficDistribution as the failoverPriority lists that Istio gives it.
TRAFFIC_DISTRIBUTION = {
    "PreferClose": (NETWORK_LABEL, REGION_LABEL, ZONE_LABEL),
    "PreferSameZone": (NETWORK_LABEL, REGION_LABEL, ZONE_LABEL),
    "PreferSameNode": (NETWORK_LABEL, REGION_LABEL, ZONE_LABEL, SUBZONE_LABEL, HOSTNAME_LABEL),
}


@dataclass(frozen=True, slots=True)
class LocalityPolicy:
    """What applies to one upstream. `by_locality` orders by nearness; `failover` maps the proxy's region to the
    next one.

    `distribute` lists (from pattern, ((to pattern, percent), ...)) and excludes failover.
    """

    by_locality: bool = False
    failover: tuple[tuple[str, str], ...] = ()
    failover_priority: tuple[str, ...] = ()
    distribute: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()

    @property
    def weighted(self) -> bool:
        """Whether Envoy must balance between localities by their weights."""
        return bool(self.distribute or self.failover or self.failover_priority)


NO_POLICY = LocalityPolicy()


@dataclass(frozen=True, slots=True)
class Placed:
    """An endpoint with what placing it needs: its workloads' locality and labels (not those of a gateway in front)."""

    spec: EndpointSpec
    locality: Locality
    labels: Labels


def place(
    endpoints: Iterable[Placed], own: Locality, own_labels: Mapping[str, str], policy: LocalityPolicy
) -> tuple[LocalityEndpointsSpec, ...]:
    """Group endpoints by priority and locality for a proxy at `own`; priorities have no gaps, groups are sorted.

    Endpoints of one address inside one priority become one with the summed weight: Envoy knows hosts by address,
    and who is asked through a gateway is chosen by the gateway, whatever the locality behind it. Where localities get
    shares, they are told apart until these are dealt out: a gateway gets those of all localities behind it.
    """
    ranked: dict[int, list[Placed]] = {}
    for endpoint in endpoints:
        ranked.setdefault(_rank(endpoint, own, own_labels, policy), []).append(endpoint)
    groups: list[LocalityEndpointsSpec] = []
    for priority, rank in enumerate(sorted(ranked)):
        groups += _localities(_merged(ranked[rank], bool(policy.distribute)), priority)
    if policy.distribute:
        return _distributed(groups, own, policy)
    return tuple(groups)


def _rank(endpoint: Placed, own: Locality, own_labels: Mapping[str, str], policy: LocalityPolicy) -> int:
    if policy.distribute:
        return 0
    rank = 0
    if policy.failover_priority and own_labels:
        rank = failover_priority_rank(endpoint.labels, own_labels, policy.failover_priority)
        if not policy.failover:
            return rank
    if policy.by_locality:
        rank = rank * 5 + nearness(endpoint.locality, own, policy.failover)
    return rank


def nearness(locality: Locality, own: Locality, failover: Sequence[tuple[str, str]] = ()) -> int:
    """0 same subzone, 1 same zone, 2 same region, 3 another region, 4 a region that a failover rule passes over."""
    if locality.region == own.region:
        if locality.zone != own.zone:
            return 2
        return 0 if locality.subzone == own.subzone else 1
    for source, target in failover:
        if source == own.region:
            return 3 if locality.region == target else 4
    return 3


def failover_priority_rank(labels: Mapping[str, str], own: Mapping[str, str], priority: Sequence[str]) -> int:
    """How far an endpoint is by label comparison: the earlier a label differs, the farther.

    A leading network label without a value is a preference, not an end: a mismatch there adds the list's length and
    goes on.
    """
    rank = 0
    count = len(priority)
    for index, entry in enumerate(priority):
        key, equals, wanted = entry.partition("=")
        value = wanted if equals else own.get(key, "")
        if labels.get(key, "") == value:
            continue
        if index == 0 and entry == NETWORK_LABEL:
            rank += count
            continue
        return rank + count - index
    return rank


def _merged(endpoints: list[Placed], by_locality: bool) -> list[Placed]:
    seen: dict[tuple[str, int, Locality | None], Placed] = {}
    for endpoint in endpoints:
        key = (endpoint.spec.address, endpoint.spec.port, endpoint.locality if by_locality else None)
        known = seen.get(key)
        if known is None:
            seen[key] = endpoint
        else:
            weight = known.spec.weight + endpoint.spec.weight
            spec = _with_weight(known.spec, weight)
            seen[key] = Placed(spec, _shared(known.locality, endpoint.locality), known.labels)
    return list(seen.values())


def _shared(one: Locality, other: Locality) -> Locality:
    if one.region != other.region:
        return Locality()
    if one.zone != other.zone:
        return Locality(one.region)
    return one if one.subzone == other.subzone else Locality(one.region, one.zone)


def _localities(endpoints: list[Placed], priority: int) -> list[LocalityEndpointsSpec]:
    by_locality: dict[Locality, list[EndpointSpec]] = {}
    for endpoint in endpoints:
        by_locality.setdefault(endpoint.locality, []).append(endpoint.spec)
    return [
        LocalityEndpointsSpec(
            locality,
            priority,
            sum(spec.weight for spec in specs),
            tuple(sorted(specs, key=lambda spec: (spec.address, spec.port))),
        )
        for locality, specs in sorted(by_locality.items())
    ]


def _distributed(
    groups: list[LocalityEndpointsSpec], own: Locality, policy: LocalityPolicy
) -> tuple[LocalityEndpointsSpec, ...]:
    targets = next((to for source, to in policy.distribute if own.matched_by(source)), None)
    if targets is None:
        return tuple(groups)
    taken: set[Locality] = set()
    result: list[LocalityEndpointsSpec] = []
    for pattern, percent in targets:
        matched = [group for group in groups if group.locality not in taken and group.locality.matched_by(pattern)]
        total = sum(group.weight or 0 for group in matched)
        for group in matched:
            taken.add(group.locality)
            weight = ceil(percent * (group.weight or 0) / total) if total else 0
            if weight:
                result.append(LocalityEndpointsSpec(group.locality, 0, weight, group.endpoints))
    return _joined(sorted(result, key=lambda group: group.locality))


def _joined(groups: Iterable[LocalityEndpointsSpec]) -> tuple[LocalityEndpointsSpec, ...]:
    """Localities of the very same hosts (those behind one gateway) as one with the sum of their shares."""
    found: dict[tuple[tuple[str, int], ...], LocalityEndpointsSpec] = {}
    for group in groups:
        hosts = tuple((endpoint.address, endpoint.port) for endpoint in group.endpoints)
        known = found.get(hosts)
        weight = (group.weight or 0) + (known.weight or 0 if known is not None else 0)
        found[hosts] = replace(known or group, weight=weight)
    return tuple(found.values())


def _with_weight(spec: EndpointSpec, weight: int) -> EndpointSpec:
    return EndpointSpec(
        spec.address,
        spec.port,
        min(weight, MAX_WEIGHT),
        spec.health,
        spec.mtls,
        spec.workload,
        spec.identity_key,
        spec.health_check_port,
        spec.facts,
    )


MAX_WEIGHT = (1 << 32) - 1
