"""What routes and TCP proxies must know of a destination's policy, consistent hashing above all: what to look at.

Rules: DestinationRule reference, `ConsistentHashLB`. The balancer itself is set on the upstream
(`istiod.resolve.policy`).
"""

from __future__ import annotations

from federation.model.service import Service
from federation.model.sni import OutboundName
from istiod.api.destinationrule import ConsistentHashLB, TrafficPolicy
from istiod.resolve.policy import NO_TRAFFIC_POLICY, effective_policy
from istiod.resolve.specs.route import HashPolicy
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView
from istiod.view.visibility import destination_policy


def target_policy(snapshot: Snapshot, view: ProxyView, service: Service | None, target: OutboundName) -> TrafficPolicy:
    """The policy in force for one destination; nothing is said about a service that nobody knows."""
    rule = destination_policy(snapshot, view, service) if service is not None else None
    if rule is None:
        return NO_TRAFFIC_POLICY
    subset = rule.subsets.get(target.subset) if target.subset else None
    return effective_policy(rule.policy, subset.traffic_policy if subset is not None else None, target.port)


def hash_policies(policy: TrafficPolicy) -> tuple[HashPolicy, ...]:
    """The hash policy of one destination; empty when its rule does not hash."""
    said = policy.load_balancer.consistent_hash if policy.load_balancer is not None else None
    hashed = _hash_policy(said) if said is not None else None
    return (hashed,) if hashed is not None else ()


def _hash_policy(said: ConsistentHashLB) -> HashPolicy | None:
    if said.http_cookie is not None:
        cookie = said.http_cookie
        attributes = tuple((item.name, item.value) for item in cookie.attributes)
        return HashPolicy(
            cookie=cookie.name, cookie_path=cookie.path, cookie_ttl=cookie.ttl, cookie_attributes=attributes
        )
    if said.http_query_parameter_name:
        return HashPolicy(query=said.http_query_parameter_name)
    if said.use_source_ip:
        return HashPolicy(source_ip=True)
    return HashPolicy(header=said.http_header_name) if said.http_header_name else None
