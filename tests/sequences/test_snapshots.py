"""Histories of events: a snapshot built step by step equals the one built from scratch of the same tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.keys import EndpointsKey, EntryKey, GatewayKey, ServiceRecordKey
from federation.model.labels import Labels
from federation.model.names import NamespacedName, ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, NetworkGateway
from federation.records import ExportedService, GatewayRecord
from federation.table import Peer
from istiod.api.kinds import KINDS, Kind
from istiod.api.meshconfig import MeshConfig, MeshNetworks
from istiod.api.meta import Meta, Object
from istiod.events import MESH_KEY, Delete, Event, Upsert
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder, changes
from istiod.store import Store

PLACE = Place("east", "net-east")
NAMES = ("a", "b")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.9.0.4")
AGES = ("", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
names, addresses, ages = st.sampled_from(NAMES), st.sampled_from(ADDRESSES), st.sampled_from(AGES)
labels = st.fixed_dictionaries(
    {},
    optional={"app": st.sampled_from("xy"), "v": st.sampled_from("12"), "security.istio.io/tlsMode": st.just("istio")},
)
selectors = st.fixed_dictionaries({"app": st.sampled_from("xy")}, optional={"v": st.sampled_from("12")})


def made(kind: Kind, name: str, spec: Any, said: dict[str, str] | None = None, created: str = "", **meta: Any) -> Event:
    info = KINDS[kind]
    namespace = "" if info.cluster_scoped else meta.pop("namespace", "ns")
    item = Object(
        kind.value, Meta(name, namespace, Labels(said), created=created, **meta), info.model.model_validate(spec)
    )
    return Upsert(kind, item.meta.key, item)


@st.composite
def service(draw: st.DrawFn, name: str = "") -> Event:
    ports = draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=3, unique_by=lambda p: p["name"]))
    spec = {
        "ports": ports,
        "clusterIP": draw(st.sampled_from(("10.96.0.1", "10.96.0.2", "None"))),
        "selector": draw(selectors),
        "publishNotReadyAddresses": draw(st.booleans()),
    }
    exported = {"isthmus.io/export": "true"} if draw(st.booleans()) else {}
    return made(Kind.SERVICE, name or draw(names), spec, exported, draw(ages))


PORTS = (
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "tcp", "port": 9000},
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53},
    {"name": "again", "port": 80},
)


@st.composite
def slice_of(draw: st.DrawFn, name: str = "") -> Event:
    endpoints = []
    for address in draw(st.lists(addresses, min_size=1, max_size=3)):
        target = draw(st.none() | names)
        endpoints.append(
            {
                "addresses": [address],
                "conditions": {"ready": draw(st.booleans()), "terminating": draw(st.booleans())},
                "targetRef": {"kind": "Pod", "name": target} if target else None,
                "nodeName": draw(st.none() | names),
            }
        )
    spec = {"endpoints": endpoints, "ports": [{"name": "http", "port": 8080}, {"name": "tcp", "port": 9000}]}
    owner = draw(st.sampled_from((*NAMES, *NAMES, "")))
    return made(Kind.ENDPOINT_SLICE, name or draw(names), spec, {"kubernetes.io/service-name": owner} if owner else {})


@st.composite
def pod(draw: st.DrawFn, name: str = "") -> Event:
    spec = {
        "spec": {"serviceAccountName": draw(names), "nodeName": draw(names)},
        "status": {
            "podIP": draw(st.sampled_from((*ADDRESSES, ""))),
            "phase": draw(st.sampled_from(("Running", "Running", "Running", "Failed"))),
        },
    }
    return made(Kind.POD, name or draw(names), spec, draw(labels))


@st.composite
def node(draw: st.DrawFn, name: str = "") -> Event:
    return made(
        Kind.NODE,
        name or draw(names),
        {},
        {"topology.kubernetes.io/region": draw(names)} if draw(st.booleans()) else {},
    )


@st.composite
def service_entry(draw: st.DrawFn, name: str = "") -> Event:
    host = st.sampled_from(("a.ns.svc.cluster.local", "one.test", "two.test"))
    selector = draw(st.none() | selectors)
    spec: dict[str, Any] = {
        "hosts": draw(st.lists(host, min_size=1, max_size=2, unique=True)),
        "addresses": draw(st.sampled_from(((), ("10.255.0.1",), ("10.255.0.0/24",)))),
        "resolution": draw(st.sampled_from(("NONE", "STATIC", "DNS"))),
        "location": draw(st.sampled_from(("MESH_INTERNAL", "MESH_EXTERNAL"))),
        "ports": [
            {"number": 80, "name": draw(st.sampled_from(("http", "web"))), "protocol": "HTTP", "targetPort": 8080}
        ],
    }
    if selector is not None:
        spec["workloadSelector"] = {"labels": selector}
    else:
        found = draw(st.lists(addresses, max_size=2))
        spec["endpoints"] = [{"address": address, "labels": draw(labels)} for address in found]
    return made(Kind.SERVICE_ENTRY, name or draw(names), spec, {}, draw(ages))


@st.composite
def workload_entry(draw: st.DrawFn, name: str = "") -> Event:
    spec = {"address": draw(addresses), "labels": draw(labels), "serviceAccount": draw(st.just("") | names)}
    if draw(st.booleans()):
        spec["ports"] = {"http": 8081}
    return made(Kind.WORKLOAD_ENTRY, name or draw(names), spec)


@st.composite
def export(draw: st.DrawFn, name: str = "") -> Event:
    return made(Kind.SERVICE_EXPORT, name or draw(names), {})


@st.composite
def mesh(draw: st.DrawFn) -> Event:
    local = [{"settings": {"clusterLocal": True}, "hosts": ["*.ns.svc.cluster.local"]}]
    fields = {"trustDomain": draw(names), "serviceSettings": draw(st.sampled_from(([], local)))}
    return Upsert(Kind.MESH_CONFIG, MESH_KEY, MeshConfig.model_validate(fields))


@st.composite
def networks(draw: st.DrawFn) -> Event:
    gateway = draw(st.sampled_from(({"address": "192.0.2.1"}, {"registryServiceName": "a.ns.svc.cluster.local"})))
    network = {"endpoints": [{"fromCidr": "10.9.0.0/16"}], "gateways": [{**gateway, "port": 15443}]}
    return Upsert(Kind.MESH_NETWORKS, MESH_KEY, MeshNetworks.model_validate({"networks": {"far": network}}))


@st.composite
def peer(draw: st.DrawFn, cluster: str = "") -> Event:
    cluster = cluster or draw(st.sampled_from(("west", "north")))
    services: dict[ServiceRecordKey | EntryKey, ExportedService] = {}
    endpoints: dict[EndpointsKey, tuple[Endpoint, ...]] = {}
    for name in draw(st.lists(names, unique=True, min_size=1)):
        port = ServicePort(
            80, draw(st.sampled_from(("http", "web"))), draw(st.sampled_from((Protocol.HTTP, Protocol.TCP)))
        )
        model = Service(
            ServiceKey(f"{name}.ns.svc.cluster.local", "ns"), name, (port,), draw(st.sampled_from(Resolution)),
            Origin.FEDERATION, created=draw(ages), clusters=(cluster,),
        )  # fmt: skip
        services[ServiceRecordKey(cluster, "ns", name)] = ExportedService(model, consumers=draw(CONSUMERS))
        for part in draw(st.lists(st.sampled_from("01"), unique=True)):
            group = Endpoint("", ((port.name, 8080),), network=cluster, cluster=cluster, weight=draw(st.integers(1, 3)))
            endpoints[EndpointsKey(cluster, "ns", name, part)] = (group,)
    state = draw(st.sampled_from(("ready", "draining")))
    record = GatewayRecord(NetworkGateway(cluster, cluster, "192.0.2.9", 15443), "g", state)
    value = Peer(cluster, cluster, services=services, endpoints=endpoints, gateways={GatewayKey(cluster, "g"): record})
    return Upsert(Kind.PEER, NamespacedName("", cluster), value)


CONSUMERS = st.sampled_from(((), ("east",), ("elsewhere",)))
objects = st.one_of(service(), slice_of(), pod(), node(), service_entry(), workload_entry(), export(), peer())
# Settings start everything anew, so they are rare: else nothing would be left to be kept up to date.
upserts = st.integers(0, 19).flatmap(lambda chance: mesh() if chance == 7 else networks() if chance == 8 else objects)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """A populated world, then small batches of upserts, deletes and repeats of earlier events, in any order."""
    kinds = (service, slice_of, pod, node, service_entry, workload_entry)
    world = [draw(kind(name)) for kind in kinds for name in NAMES] + [draw(peer("west"))]
    seen, batches = list(world), [world]
    for size in draw(st.lists(st.sampled_from((1, 1, 1, 2, 5)), min_size=4, max_size=8)):
        batch: list[Event] = []
        for _ in range(size):
            event = draw(st.sampled_from(seen)) if draw(st.booleans()) else draw(upserts)
            seen.append(event)
            batch.append(Delete(event.kind, event.key) if draw(st.booleans()) else event)  # type: ignore[union-attr]
        batches.append(draw(st.permutations(batch)))
    return batches


def facts(snapshot: Snapshot) -> Iterator[Any]:
    yield list(snapshot.services.items())
    yield dict(snapshot.endpoints)  # their order too: two control planes must give one answer
    yield list(snapshot.endpoints) == list(snapshot.services)
    yield snapshot.hosts
    yield snapshot.addresses
    yield snapshot.gateways
    yield snapshot.findings
    yield {key: (item.service, item.endpoints, item.consumers) for key, item in snapshot.local.items()}


def from_scratch(store: Store, ledger: dict[str, str], order: int) -> Snapshot:
    """A snapshot of the store's rows by a new store and a new builder, rows in another order."""
    fresh = Store()
    rows = [
        Upsert(Kind(kind), key, value) for kind, table in store.tables().by_kind.items() for key, value in table.items()
    ]
    fresh.apply(rows[::-1] if order else rows)
    return SnapshotBuilder(PLACE, ledger).build(fresh.tables())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(histories())
def test_step_by_step_equals_from_scratch(history: list[list[Event]]) -> None:
    store, builder = Store(), SnapshotBuilder(PLACE)
    old: Snapshot | None = None
    for number, batch in enumerate(history):
        store.apply(batch)
        new = builder.build(store.tables())
        assert list(facts(new)) == list(facts(from_scratch(store, dict(builder.ledger), number % 2)))
        if old is not None:
            check_reuse(old, new)
        old = new


def check_reuse(old: Snapshot, new: Snapshot) -> None:
    """What is equal is the same object, and `changes` names exactly the services whose endpoints differ."""
    for key, value in new.services.items():
        assert old.services.get(key) is value or old.services.get(key) != value
    for key, endpoints in new.endpoints.items():
        assert old.endpoints.get(key) is endpoints or old.endpoints.get(key) != endpoints
    assert (new.services is old.services) == (list(new.services.items()) == list(old.services.items()))
    found = changes(old, new)
    if not found.config:
        differing = {key for key in new.endpoints if new.endpoints[key] != old.endpoints[key]}
        assert (found.endpoints, new.hosts, new.gateways) == (differing, old.hosts, old.gateways)
    if list(facts(old))[:2] != list(facts(new))[:2]:
        assert found


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(histories())
def test_repeating_a_whole_history_changes_nothing(history: list[list[Event]]) -> None:
    last = {(event.kind, event.key): event for batch in history for event in batch}  # type: ignore[union-attr]
    store, builder = Store(), SnapshotBuilder(PLACE)
    store.apply(event for batch in history for event in batch)
    before = builder.build(store.tables())
    assert not store.apply(last.values())
    after = builder.build(store.tables())
    assert after.services is before.services
    assert after.endpoints is before.endpoints
    assert not changes(before, after)
