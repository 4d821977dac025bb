from __future__ import annotations

from istiod.encode.resource import CLUSTER, frame_resource
from istiod.xds import delivery as deliveries
from istiod.xds.delivery import Delivery

RESOURCES = {name: frame_resource(CLUSTER, name, name.encode()) for name in "cab"}
A, B, C = RESOURCES["a"], RESOURCES["b"], RESOURCES["c"]


def test_bodies_are_joined_once_for_each_variant_in_the_order_of_names() -> None:
    delivery = Delivery({CLUSTER: RESOURCES})
    delta = delivery.body(CLUSTER, frozenset("ab"), True)
    assert delta == A.delta + B.delta
    assert delivery.body(CLUSTER, frozenset("ba"), True) is delta
    assert delivery.body(CLUSTER, frozenset("ab"), False) == A.sotw + B.sotw
    assert delivery.body(CLUSTER, frozenset(), True) == b""


def test_only_so_many_bodies_are_kept() -> None:
    delivery = Delivery({CLUSTER: {str(n): A for n in range(100)}})
    for number in range(100):
        assert delivery.body(CLUSTER, frozenset({str(number)}), True) == A.delta
    assert len(delivery._bodies) == deliveries.KEPT_BODIES


def test_names_are_one_object_for_all() -> None:
    delivery = Delivery({CLUSTER: RESOURCES})
    assert delivery.names(CLUSTER) == frozenset("abc")
    assert delivery.names(CLUSTER) is delivery.names(CLUSTER)
    assert delivery.names("nothing.of/that.type") == frozenset()
