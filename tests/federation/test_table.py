from federation.keys import ClusterKey, EndpointsKey, GatewayKey, HeartbeatKey, Key, Layout, ServiceRecordKey
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, NetworkGateway
from federation.publish import heartbeat_record
from federation.records import (
    ExportedService,
    GatewayRecord,
    encode_endpoints,
    encode_gateway,
    encode_service,
    group_endpoints,
)
from federation.schema import records_pb2 as pb
from federation.table import Raw, Table

LAYOUT = Layout("m1")
ECHO = ServiceRecordKey("west", "shop", "echo")
GROUPS = EndpointsKey("west", "shop", "echo", "0")
GATEWAY = GatewayKey("west", "gw-1")


def service_record() -> bytes:
    key = ServiceKey("echo.shop.svc.cluster.local", "shop")
    port = ServicePort(80, "http", Protocol.HTTP)
    return encode_service(ExportedService(Service(key, "echo", (port,), Resolution.ENDPOINTS, Origin.KUBERNETES)))


def endpoints_record(count: int) -> bytes:
    endpoint = Endpoint("", (("http", 8080),), network="net-west", weight=count, mtls=True)
    return encode_endpoints(group_endpoints([endpoint], addresses=False))


def gateway_record(state: str = "ready") -> bytes:
    return encode_gateway(GatewayRecord(NetworkGateway("net-west", "west", "198.18.0.2", 15443), "gw-1", state))


def beat(generation: int) -> dict[str, Raw]:
    key, value = heartbeat_record(LAYOUT, "west", generation, generation, "1", "i")
    return {key: Raw(value, generation)}


def raws(records: dict[Key, bytes]) -> dict[str, Raw]:
    return {LAYOUT.format(key): Raw(value, 1) for key, value in records.items()}


def full(generation: int = 10, count: int = 2) -> dict[str, Raw]:
    return {
        **raws({ECHO: service_record(), GROUPS: endpoints_record(count), GATEWAY: gateway_record()}),
        **beat(generation),
    }


def listed(generation: int = 10) -> Table:
    table = Table(LAYOUT, "east")
    assert table.relist(full(generation), 1.0) == {"west"}
    return table


def weight(table: Table) -> int:
    (group,) = table.peers["west"].endpoints[GROUPS]
    return group.weight


def test_a_listing_is_served() -> None:
    table = listed()
    assert weight(table) == 2
    assert set(table.peers["west"].services) == {ECHO}
    assert table.findings == ()


def test_own_records_are_not_a_peers() -> None:
    table = Table(LAYOUT, "west")
    assert table.relist(full(), 1.0) == frozenset()
    assert table.peers == {}


def test_a_change_on_the_live_watch_is_served_at_once() -> None:
    table = listed()
    assert table.apply(raws({GROUPS: endpoints_record(5)}), (), 2.0) == {"west"}
    assert weight(table) == 5


def test_a_delete_on_the_live_watch_removes() -> None:
    table = listed()
    assert table.apply({}, [LAYOUT.format(GROUPS)], 2.0) == {"west"}
    assert table.peers["west"].endpoints == {}


def test_an_empty_listing_removes_nothing() -> None:
    table = listed()
    assert table.relist({}, 2.0) == frozenset()
    assert weight(table) == 2
    assert [finding.code for finding in table.findings] == ["StoreOlderThanSeen"]


def test_an_empty_listing_removes_nothing_of_a_peer_that_was_never_heard() -> None:
    """Its records were seen, and the store was lost before its first heartbeat."""
    table = Table(LAYOUT, "east")
    table.relist(raws({ECHO: service_record(), GROUPS: endpoints_record(2)}), 1.0)
    assert table.relist({}, 2.0) == frozenset()
    assert weight(table) == 2
    assert [finding.code for finding in table.findings] == ["StoreOlderThanSeen"]
    table.relist(full(), 3.0)
    assert table.findings == ()


def test_a_peer_that_serves_nothing_goes_with_its_registration() -> None:
    table = Table(LAYOUT, "east")
    table.relist(raws({ClusterKey("west"): pb.Cluster(schema=1, name="west", state="member").SerializeToString()}), 1.0)
    assert set(table.peers) == {"west"}
    table.relist({}, 2.0)
    assert table.findings == ()


def test_an_older_store_removes_nothing_until_the_peer_beats_again() -> None:
    table = listed(generation=10)
    older = full(generation=7, count=1)
    del older[LAYOUT.format(ECHO)]
    assert table.relist(older, 2.0) == frozenset()
    assert weight(table) == 2
    assert table.apply(raws({GROUPS: endpoints_record(4)}), (), 3.0) == frozenset()
    assert table.apply(beat(11), (), 4.0) == {"west"}
    assert weight(table) == 4
    assert table.peers["west"].services == {}
    assert table.findings == ()


def test_a_heartbeat_alone_changes_nothing_served_but_its_time() -> None:
    table = listed()
    assert table.apply(beat(11), (), 9.0) == frozenset()
    assert table.peers["west"].heartbeat_seen == 9.0
    assert table.apply(beat(11), (), 12.0) == frozenset()
    assert table.peers["west"].heartbeat_seen == 9.0


def test_the_last_gateway_outlives_its_lease() -> None:
    table = listed()
    table.apply({}, [LAYOUT.format(GATEWAY)], 2.0)
    assert {key: record.state for key, record in table.peers["west"].gateways.items()} == {GATEWAY: "unready"}


def test_a_drained_last_gateway_goes() -> None:
    table = listed()
    table.apply(raws({GATEWAY: gateway_record("draining")}), (), 2.0)
    table.apply({}, [LAYOUT.format(GATEWAY)], 3.0)
    assert table.peers["west"].gateways == {}


def test_one_of_two_gateways_goes_with_its_lease() -> None:
    table = listed()
    second = GatewayKey("west", "gw-2")
    record = encode_gateway(GatewayRecord(NetworkGateway("net-west", "west", "198.18.0.3", 15443), "gw-2"))
    table.apply(raws({second: record}), (), 2.0)
    table.apply({}, [LAYOUT.format(GATEWAY)], 3.0)
    assert set(table.peers["west"].gateways) == {second}


def test_a_tombstone_drops_the_peer() -> None:
    table = listed()
    tombstone = pb.Cluster(schema=1, name="west", state="left").SerializeToString()
    assert table.apply(raws({ClusterKey("west"): tombstone}), (), 2.0) == {"west"}
    assert table.peers == {}


def test_garbage_and_the_future_cost_one_record_each() -> None:
    table = listed()
    future = pb.Endpoints(schema=99).SerializeToString()
    other = ServiceRecordKey("west", "shop", "bad")
    table.apply(raws({other: b"\xff\x00garbage", GROUPS: future}), (), 2.0)
    assert set(table.peers["west"].services) == {ECHO}
    assert sorted(finding.code for finding in table.findings) == ["BadRecord", "RecordFromTheFuture"]


def test_a_key_that_is_none_of_ours_is_named() -> None:
    table = Table(LAYOUT, "east")
    table.relist({LAYOUT.exports + "west/what/is/this": Raw(b"", 1)}, 1.0)
    assert [finding.code for finding in table.findings] == ["BadKey"]


def test_a_disk_snapshot_is_served_until_the_store_speaks() -> None:
    table = listed()
    restarted = Table(LAYOUT, "east")
    assert restarted.restore({"west": table.peers["west"].raw}) == {"west"}
    assert weight(restarted) == 2
    assert restarted.relist({}, 5.0) == frozenset()
    assert weight(restarted) == 2


def test_a_heartbeat_key_is_parsed_by_the_layout() -> None:
    assert LAYOUT.parse(next(iter(beat(3)))) == HeartbeatKey("west")
