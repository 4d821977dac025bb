"""Where requests go first, and in which shares."""

from __future__ import annotations

from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.workload import NETWORK_LABEL
from istiod.resolve.locality import LocalityPolicy, Placed, failover_priority_rank, place
from istiod.resolve.specs.endpoints import EndpointSpec

OWN = Locality("region1", "zone1", "sub1")


def placed(address: str, locality: str) -> Placed:
    return Placed(EndpointSpec(address, 80), Locality.parse(locality), Labels({}))


def test_a_network_is_a_preference_only_where_it_leads_without_a_value():
    own, labels = {NETWORK_LABEL: "one", "app": "a"}, {NETWORK_LABEL: "two", "app": "a"}
    assert failover_priority_rank(labels, own, [NETWORK_LABEL, "app"]) == 2
    assert failover_priority_rank(labels, own, [f"{NETWORK_LABEL}=three", "app"]) == 2
    other = {**labels, "app": "b"}
    assert failover_priority_rank(other, own, [NETWORK_LABEL, "app"]) == 3
    assert failover_priority_rank(other, own, [f"{NETWORK_LABEL}=three", "app"]) == 2


def test_a_gateway_gets_the_shares_of_all_localities_behind_it():
    shares = (("region1/*", 40), ("region2/*", 30), ("region3/*", 30))
    policy = LocalityPolicy(distribute=(("region1/*", shares),))
    near, gateway = placed("10.0.0.1", "region1/zone1/sub1"), "10.9.0.1"
    behind = [placed(gateway, place) for place in ("region2/zone1", "region2/zone2", "region3/zone1")]
    found = place([near, *behind], OWN, {}, policy)
    assert [(group.endpoints[0].address, group.weight) for group in found] == [("10.0.0.1", 40), (gateway, 60)]


def test_localities_without_a_share_get_nothing():
    policy = LocalityPolicy(distribute=(("*", (("region2/*", 100),)),))
    found = place([placed("10.0.0.1", "region1"), placed("10.0.0.2", "region2/zone1")], OWN, {}, policy)
    assert [group.endpoints[0].address for group in found] == ["10.0.0.2"]
