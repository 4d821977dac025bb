from __future__ import annotations

import pytest

from federation.keys import (
    ClusterKey,
    CompleteKey,
    EndpointsKey,
    EntryKey,
    GatewayKey,
    HeartbeatKey,
    Layout,
    ServiceRecordKey,
    ViewKey,
)
from federation.model.labels import Labels
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint
from federation.publish import (
    MAX_ADDRESSES_PER_GROUP,
    MAX_BYTES_PER_SLICE,
    MAX_GROUPS_PER_SLICE,
    Export,
    Exports,
    complete_record,
    desired_records,
    heartbeat_record,
    next_generation,
    plan_publish,
)
from federation.records import MAX_RECORD_BYTES, ExportedService, decode_endpoints, decode_service
from federation.schema import records_pb2 as pb

LAYOUT = Layout("m1")


def export(name: str = "echo", *endpoints: Endpoint, entry: bool = False, external: bool = False) -> Export:
    key = ServiceKey(f"{name}.shop.svc.cluster.local", "shop")
    port = ServicePort(80, "http", Protocol.HTTP)
    service = Service(key, name, (port,), Resolution.ENDPOINTS, Origin.KUBERNETES, external=external)
    return Export(ExportedService(service, entry=entry), endpoints)


def pod(number: int, **labels: str) -> Endpoint:
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return Endpoint(address, (("http", 8080),), Labels(labels), network="net-west", workload=f"p-{number}")


def records(*exports: Export, shared: frozenset[str] = frozenset()) -> dict[str, bytes]:
    return desired_records(LAYOUT, Exports("west", exports, shared))


def key(name: str = "echo") -> str:
    return LAYOUT.format(ServiceRecordKey("west", "shop", name))


def slice_key(number: int, name: str = "echo") -> str:
    return LAYOUT.format(EndpointsKey("west", "shop", name, str(number)))


def read(found: dict[str, bytes]) -> list[Endpoint]:
    endpoints: list[Endpoint] = []
    for text, value in found.items():
        parsed = LAYOUT.parse(text)
        if isinstance(parsed, EndpointsKey):
            decoded = decode_endpoints(parsed, value)
            assert isinstance(decoded, tuple), decoded
            endpoints += decoded
    return endpoints


def test_a_service_and_its_endpoints_are_two_records() -> None:
    assert set(records(export("echo", pod(1), pod(2)))) == {key(), slice_key(0)}
    (group,) = read(records(export("echo", pod(1), pod(2))))
    assert (group.address, group.weight) == ("", 2)


def test_a_service_without_endpoints_is_told_all_the_same() -> None:
    assert set(records(export())) == {key()}


def test_a_service_entry_is_an_entry() -> None:
    found = records(export(entry=True))
    text = LAYOUT.format(EntryKey("west", "shop", "echo"))
    assert set(found) == {text}
    decoded = decode_service(EntryKey("west", "shop", "echo"), found[text])
    assert isinstance(decoded, ExportedService)
    assert decoded.entry


@pytest.mark.parametrize(
    ("shared", "external", "told"),
    [((), False, False), (("net-west",), False, True), (("net-east",), False, False), ((), True, True)],
)
def test_addresses_are_told_where_they_can_be_dialled(shared: tuple[str, ...], external: bool, told: bool) -> None:
    found = read(records(export("echo", pod(1), pod(2), external=external), shared=frozenset(shared)))
    assert [e.address for e in found] == (["10.0.0.1", "10.0.0.2"] if told else [""])


def test_equal_exports_give_equal_bytes() -> None:
    pods = [pod(n, version=str(n % 3)) for n in range(20)]
    for shared in (frozenset[str](), frozenset({"net-west"})):
        forth = records(export("echo", *pods), export("web"), shared=shared)
        assert forth == records(export("web"), export("echo", *pods[::-1]), shared=shared)


def test_many_groups_go_into_several_slices() -> None:
    pods = [pod(n, name=f"{n:05}") for n in range(2 * MAX_GROUPS_PER_SLICE + 1)]
    found = records(export("echo", *pods))
    assert set(found) == {key(), slice_key(0), slice_key(1), slice_key(2)}
    assert len(pb.Endpoints.FromString(found[slice_key(0)]).groups) == MAX_GROUPS_PER_SLICE
    assert len(pb.Endpoints.FromString(found[slice_key(2)]).groups) == 1
    assert {e.labels["name"] for e in read(found)} == {f"{n:05}" for n in range(2 * MAX_GROUPS_PER_SLICE + 1)}


def test_exactly_one_slice_is_one_slice() -> None:
    pods = [pod(n, name=f"{n:05}") for n in range(MAX_GROUPS_PER_SLICE)]
    assert set(records(export("echo", *pods))) == {key(), slice_key(0)}


def test_large_groups_go_into_several_slices() -> None:
    """The store takes no record of more than 1.5 MiB."""
    pods = [pod(n, name=f"{n:05}", text="x" * 5_000) for n in range(300)]
    found = records(export("echo", *pods))
    assert max(map(len, found.values())) < MAX_BYTES_PER_SLICE + 10_000
    assert len(read(found)) == 300


def test_a_service_of_very_many_addresses_is_told_whole() -> None:
    count = 40 * MAX_ADDRESSES_PER_GROUP + 1
    found = records(export("echo", *map(pod, range(count))), shared=frozenset({"net-west"}))
    assert max(map(len, found.values())) < MAX_RECORD_BYTES
    assert {e.address for e in read(found)} == {pod(n).address for n in range(count)}
    groups = [g for text, v in found.items() if text != key() for g in pb.Endpoints.FromString(v).groups]
    assert sum(g.weight for g in groups) == count
    assert max(len(g.addresses) for g in groups) == MAX_ADDRESSES_PER_GROUP


def test_what_is_there_already_is_not_written_again() -> None:
    wanted = records(export("echo", pod(1)), export("web", pod(2)))
    plan = plan_publish(LAYOUT, "west", wanted, wanted)
    assert not plan
    assert (plan.puts, plan.deletes) == ((), ())


def test_only_what_changed_is_written() -> None:
    before = records(export("echo", pod(1)), export("web", pod(2)))
    after = records(export("echo", pod(1), pod(3)), export("web", pod(2)))
    plan = plan_publish(LAYOUT, "west", after, before)
    assert plan.puts == ((slice_key(0), after[slice_key(0)]),)
    assert plan.deletes == ()
    assert plan


def test_what_is_wanted_no_longer_is_deleted() -> None:
    before = records(export("echo", pod(1)), export("gone", pod(2)), export("entry", pod(3), entry=True))
    plan = plan_publish(LAYOUT, "west", records(export("echo", pod(1))), before)
    assert plan.puts == ()
    entry = LAYOUT.format(EntryKey("west", "shop", "entry"))
    assert set(plan.deletes) == {key("gone"), slice_key(0, "gone"), entry, slice_key(0, "entry")}


def test_slices_that_are_needed_no_longer_go() -> None:
    before = records(export("echo", *(pod(n, name=f"{n:05}") for n in range(MAX_GROUPS_PER_SLICE + 1))))
    plan = plan_publish(LAYOUT, "west", records(export("echo", pod(1))), before)
    assert plan.deletes == (slice_key(1),)


def test_nothing_else_is_ever_touched() -> None:
    others = (
        HeartbeatKey("west"),
        CompleteKey("west"),
        GatewayKey("west", "gw-1"),
        ViewKey("west", "east"),
        ClusterKey("west"),
        HeartbeatKey("east"),
        ServiceRecordKey("east", "shop", "echo"),
        EndpointsKey("west-2", "shop", "echo", "0"),
        EntryKey("wes", "shop", "echo"),
    )
    published = {LAYOUT.format(item): b"x" for item in others}
    published[LAYOUT.meta] = published[LAYOUT.bundle] = published[LAYOUT.joins + "t/token"] = b"x"
    assert not plan_publish(LAYOUT, "west", {}, published)
    assert plan_publish(LAYOUT, "west", {}, {**published, key(): b"x"}).deletes == (key(),)


def test_the_marker_counts_what_is_there() -> None:
    text, value = complete_record(LAYOUT, "west", 7, 3, Exports("west", (export("a", pod(1), pod(2)), export("b"))))
    assert text == LAYOUT.format(CompleteKey("west"))
    assert pb.Complete.FromString(value) == pb.Complete(epoch=3, generation=7, services=2, endpoints=2)


def test_the_heartbeat_says_who_and_when() -> None:
    text, value = heartbeat_record(LAYOUT, "west", 7, 1234, "0.1", "i-1")
    assert text == LAYOUT.format(HeartbeatKey("west"))
    assert pb.Heartbeat.FromString(value) == pb.Heartbeat(
        generation=7, sent_unix_ms=1234, istiod_version="0.1", instance="i-1"
    )


def test_generations_only_grow() -> None:
    assert next_generation(0, 1_000) == 1_000
    assert next_generation(1_000, 1_000) == 1_001
    assert next_generation(5_000, 1_000) == 5_001  # the clock was set back
