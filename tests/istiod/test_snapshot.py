from typing import Any

import pytest

from federation.model.names import NamespacedName, ServiceKey
from federation.table import Peer
from istiod.api.kinds import Kind
from istiod.api.meta import Meta
from istiod.api.parse import parse_object
from istiod.events import Delete, Event, Upsert
from istiod.registry.contribution import Place
from istiod.snapshot import Changes, Snapshot, SnapshotBuilder, changes
from istiod.store import Store

KEY = ServiceKey("one.test", "ns")


def entry(name: str = "one", **spec: Any) -> Event:
    fields = {
        "hosts": [f"{name}.test"],
        "addresses": ["10.255.0.1"],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "endpoints": [{"address": "10.0.0.1", "serviceAccount": "sa"}],
    }
    document = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {**fields, **spec},
    }
    item, findings = parse_object(document, "test")
    assert item is not None, findings
    assert isinstance(item.meta, Meta)
    return Upsert(Kind.SERVICE_ENTRY, item.meta.key, item)


class World:
    """A store and its snapshots."""

    def __init__(self) -> None:
        self.store, self.builder = Store(), SnapshotBuilder(Place("east", "net-east"))
        self.last: Snapshot | None = None

    def apply(self, *events: Event) -> tuple[Snapshot, Changes]:
        self.store.apply(events)
        new = self.builder.build(self.store.tables())
        found = changes(self.last, new)
        self.last = new
        return new, found


@pytest.fixture
def world() -> World:
    made = World()
    made.apply(entry(), entry("two", addresses=["10.255.0.2"]))
    return made


def test_first_snapshot_is_all_new() -> None:
    assert World().apply(entry())[1] == Changes(config=True)


def test_endpoint_change_touches_one_service_and_reuses_the_rest(world: World) -> None:
    old = world.last
    assert old is not None
    new, found = world.apply(entry(endpoints=[{"address": "10.0.0.7", "serviceAccount": "sa"}]))
    assert found == Changes(config=False, endpoints=frozenset({KEY}))
    two = ServiceKey("two.test", "ns")
    assert new.services is old.services
    assert new.hosts is old.hosts
    assert new.endpoints[two] is old.endpoints[two]
    assert new.addresses == {"10.0.0.1": (two,), "10.0.0.7": (KEY,)}
    assert new.revision == old.revision + 1


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoints": [{"address": "10.0.0.1", "serviceAccount": "other"}]},
        {
            "endpoints": [
                {"address": "10.0.0.1", "serviceAccount": "sa", "labels": {"security.istio.io/tlsMode": "disabled"}}
            ]
        },
        {"endpoints": []},
        {"addresses": ["10.255.0.9"]},
        {"ports": [{"number": 80, "name": "http", "protocol": "TCP"}]},
    ],
)
def test_what_upstreams_show_counts_as_configuration(world: World, changed: dict[str, Any]) -> None:
    assert world.apply(entry(**changed))[1].config


def test_endpoints_that_stand_in_the_upstream_count_as_configuration(world: World) -> None:
    world.apply(entry(resolution="DNS", endpoints=[{"address": "a.example.com", "serviceAccount": "sa"}]))
    found = world.apply(entry(resolution="DNS", endpoints=[{"address": "b.example.com", "serviceAccount": "sa"}]))[1]
    assert found == Changes(config=True, endpoints=frozenset({KEY}))


def test_an_object_that_reaches_nothing_changes_nothing(world: World) -> None:
    document = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": "alone", "namespace": "ns"},
        "spec": {"address": "10.0.0.9", "labels": {"app": "nobody-selects-it"}},
    }
    item, _ = parse_object(document, "test")
    assert not world.apply(Upsert(Kind.WORKLOAD_ENTRY, NamespacedName("ns", "alone"), item))[1]


def test_policies_are_named_one_by_one(world: World) -> None:
    document = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "rule", "namespace": "ns"},
        "spec": {"host": "one.test"},
    }
    item, _ = parse_object(document, "test")
    key = NamespacedName("ns", "rule")
    for change in (Upsert(Kind.DESTINATION_RULE, key, item), Delete(Kind.DESTINATION_RULE, key)):
        found = world.apply(change)[1]
        assert (found.config, found.objects) == (False, {Kind.DESTINATION_RULE: {key}})


def test_a_service_that_goes_leaves_no_trace(world: World) -> None:
    new, found = world.apply(Delete(Kind.SERVICE_ENTRY, NamespacedName("ns", "one")))
    assert found.config
    assert KEY not in new.services
    assert KEY not in new.endpoints
    assert "one.test" not in new.hosts
    assert new.addresses == {"10.0.0.1": (ServiceKey("two.test", "ns"),)}


def test_a_trust_domain_of_a_peer_is_configuration(world: World) -> None:
    """Policies name callers by it, also those of a cluster that exports nothing."""
    key = NamespacedName("", "west")
    new, found = world.apply(Upsert(Kind.PEER, key, Peer("west", trust_domain="west.mesh")))
    assert (new.peer_domains, found.config) == (("west.mesh",), True)
    beat = Upsert(Kind.PEER, key, Peer("west", trust_domain="west.mesh", generation=2))
    assert not world.apply(beat)[1]
    new, found = world.apply(Delete(Kind.PEER, key))
    assert (new.peer_domains, found.config) == ((), True)
