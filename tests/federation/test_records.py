from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.keys import ClusterKey, EndpointsKey, EntryKey, GatewayKey, HeartbeatKey, Key, ServiceRecordKey
from federation.model.findings import Finding
from federation.model.identity import SpiffeId
from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, NetworkGateway
from federation.records import (
    MAX_GROUPS,
    MAX_PORTS,
    MAX_RECORD_BYTES,
    SCHEMA,
    ExportedService,
    GatewayRecord,
    decode_endpoints,
    decode_gateway,
    decode_plain,
    decode_service,
    encode_endpoints,
    encode_gateway,
    encode_service,
    group_endpoints,
)
from federation.schema import records_pb2 as pb

ECHO = ServiceRecordKey("west", "shop", "echo")
ENTRY = EntryKey("west", "shop", "echo")
SLICE = EndpointsKey("west", "shop", "echo", "0")
GATEWAY = GatewayKey("west", "gw-1")

NAME = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LABELS = st.dictionaries(TEXT, TEXT, max_size=4).map(Labels)
PORT = st.integers(1, 65535)
PLACE = st.builds(Locality, TEXT, TEXT, TEXT)
IDENTITY = st.builds(SpiffeId, NAME, NAME, NAME)
IP = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
VIP = st.one_of(IP, IP.map("{}/24".format))

SERVICES = st.builds(
    lambda external, vips, resolution, **fields: Service(
        key=ServiceKey("echo.shop.svc.cluster.local", "shop"),
        name="echo",
        origin=Origin.FEDERATION,
        clusters=("west",),
        external=external,
        vips=vips if external else (),
        resolution=resolution,
        **fields,
    ),
    external=st.booleans(),
    vips=st.lists(VIP, max_size=2).map(tuple),
    resolution=st.sampled_from(Resolution),
    ports=st.lists(st.builds(ServicePort, PORT, TEXT, st.sampled_from(Protocol)), min_size=1, max_size=4).map(tuple),
    created=TEXT,
    labels=LABELS,
    headless=st.booleans(),
    traffic_distribution=TEXT,
)


@settings(deadline=None)
@given(SERVICES, st.lists(TEXT, max_size=3).map(tuple), st.lists(NAME, max_size=3).map(tuple), st.booleans())
def test_services_and_entries_read_back(
    service: Service, identities: tuple[str, ...], consumers: tuple[str, ...], entry: bool
) -> None:
    exported = ExportedService(replace(service, subject_alt_names=identities), identities, consumers, entry)
    assert decode_service(ENTRY if entry else ECHO, encode_service(exported)) == exported


GATEWAYS = st.builds(
    GatewayRecord,
    st.builds(NetworkGateway, NAME, st.just("west"), IP, PORT, PLACE, st.integers(1, 1000)),
    NAME,
    st.sampled_from(["ready", "unready", "draining"]),
)


@settings(deadline=None)
@given(GATEWAYS)
def test_gateways_read_back(record: GatewayRecord) -> None:
    assert decode_gateway(GATEWAY, encode_gateway(record)) == record


ENDPOINTS = st.builds(
    Endpoint,
    address=st.one_of(IP, NAME),
    ports=st.dictionaries(NAME, PORT, min_size=1, max_size=3).map(lambda ports: tuple(sorted(ports.items()))),
    labels=LABELS,
    locality=PLACE,
    network=NAME,
    cluster=st.just("west"),
    namespace=st.just("shop"),
    workload=NAME,
    identity=st.one_of(st.none(), IDENTITY),
    weight=st.integers(1, 100),
    mtls=st.booleans(),
)


def order(endpoint: Endpoint) -> str:
    return repr(endpoint)


def decoded(groups: list[pb.EndpointGroup]) -> tuple[Endpoint, ...]:
    found = decode_endpoints(SLICE, encode_endpoints(groups))
    assert not isinstance(found, Finding), found
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(ENDPOINTS, max_size=6))
def test_endpoints_with_addresses_read_back(endpoints: list[Endpoint]) -> None:
    found = decoded(group_endpoints(endpoints, addresses=True))
    assert sorted(found, key=order) == sorted(endpoints, key=order)


@settings(max_examples=50, deadline=None)
@given(st.lists(ENDPOINTS, max_size=8))
def test_groups_keep_what_a_client_behind_a_gateway_needs(endpoints: list[Endpoint]) -> None:
    found = decoded(group_endpoints(endpoints, addresses=False))
    looks: dict[Endpoint, int] = {}
    for endpoint in endpoints:
        look = replace(endpoint, address="", workload="", weight=0)
        looks[look] = looks.get(look, 0) + endpoint.weight
    assert sorted(found, key=order) == sorted((replace(k, weight=w) for k, w in looks.items()), key=order)


@settings(max_examples=50, deadline=None)
@given(st.lists(ENDPOINTS, max_size=6).flatmap(lambda e: st.tuples(st.just(e), st.permutations(e))), st.booleans())
def test_the_order_in_which_endpoints_came_does_not_matter(
    pair: tuple[list[Endpoint], list[Endpoint]], addresses: bool
) -> None:
    one, other = (encode_endpoints(group_endpoints(endpoints, addresses)) for endpoints in pair)
    assert one == other


def test_nor_does_it_between_endpoints_of_one_address() -> None:
    """Two identities, two networks, two ways to write ports, behind one address or none."""
    base = Endpoint("10.0.0.1", (("a", 1), ("b", 2)), workload="w")
    endpoints = [
        base,
        replace(base, identity=SpiffeId("west.m1", "shop", "web")),
        replace(base, network="n"),
        replace(base, mtls=True),
        replace(base, weight=3),
        replace(base, workload="v"),
        replace(base, ports=(("b", 2), ("a", 1))),
        replace(base, labels=Labels({"a": "1,b=2"})),
        replace(base, labels=Labels({"a": "1", "b": "2"})),
    ]
    for addresses in (True, False):
        one = encode_endpoints(group_endpoints(endpoints, addresses))
        assert one == encode_endpoints(group_endpoints(endpoints[::-1], addresses))
    assert len(group_endpoints(endpoints, addresses=False)) == 6


def test_three_hundred_pods_that_look_alike_are_one_group() -> None:
    pods = [Endpoint(f"10.0.{n // 250}.{n % 250}", (("http", 8080),), workload=f"echo-{n}") for n in range(300)]
    (group,) = group_endpoints(pods, addresses=False)
    assert group.weight == 300
    assert not group.addresses
    (other,) = group_endpoints(pods[:3], addresses=False)
    other.weight = 300
    assert other == group  # a scale-up changes one number


def test_a_weight_of_nothing_counts_one() -> None:
    (group,) = group_endpoints([Endpoint("10.0.0.1", (("http", 80),), weight=0)] * 2, addresses=False)
    assert group.weight == 2


def test_equal_services_give_equal_bytes() -> None:
    one = exported(labels=Labels({"a": "1", "b": "2"}))
    other = exported(labels=Labels({"b": "2", "a": "1"}))
    assert encode_service(one) == encode_service(other)


def exported(**fields: Any) -> ExportedService:
    key = ServiceKey("echo.shop.svc.cluster.local", "shop")
    ports = (ServicePort(80, "http", Protocol.HTTP),)
    return ExportedService(Service(key, "echo", ports, Resolution.ENDPOINTS, Origin.KUBERNETES, **fields))


def service_record(**fields: Any) -> pb.Service:
    record = pb.Service.FromString(encode_service(exported()))
    for name, value in fields.items():
        if isinstance(value, list):
            record.ClearField(name)  # type: ignore[arg-type]
            getattr(record, name).extend(value)
        else:
            setattr(record, name, value)
    return record


def only_finding(value: object, code: str = "BadRecord") -> Finding:
    assert isinstance(value, Finding), value
    assert value.code == code
    assert value.fix
    return value


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "other"}, "it says shop/other"),
        ({"namespace": "other"}, "it says other/echo"),
        ({"host": ""}, "host ''"),
        ({"host": "*"}, "'*' is no host"),
        ({"host": "a b"}, "'a b' is no host"),
        ({"host": "*.*.b"}, "is no host"),
        ({"host": "x|y"}, "is no host"),
        ({"host": "x" * 254}, "is no host"),
        ({"ports": []}, "0 ports"),
        ({"ports": [pb.Port(number=1, protocol="HTTP")] * (MAX_PORTS + 1)}, "1001 ports"),
        ({"ports": [pb.Port(number=0, name="http", protocol="HTTP")]}, "port 'http': port 0 is not between"),
        ({"ports": [pb.Port(number=65536, name="http", protocol="HTTP")]}, "port 65536 is not between"),
        ({"ports": [pb.Port(number=80, name="http", protocol="QUIC")]}, "'QUIC' is not a valid Protocol"),
        ({"resolution": "magic"}, "unknown resolution 'magic'"),
        ({"external": True, "vips": ["10.0.0.1", "here"]}, "virtual address 'here'"),
    ],
)
def test_a_service_that_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    finding = only_finding(decode_service(ECHO, service_record(**fields).SerializeToString()))
    assert reason in finding.message
    assert finding.object == "etcd /isthmus/*/v1/c/west/services/shop/echo"
    assert "cluster west" in finding.fix


def test_a_wildcard_entry_is_no_mistake() -> None:
    record = service_record(host="*.example.com").SerializeToString()
    assert isinstance(decode_service(ENTRY, record), ExportedService)


def gateway_record(**fields: Any) -> bytes:
    given = {"schema": 1, "id": "gw-1", "address": "198.18.0.2", "port": 15443, "network": "net-west", **fields}
    return pb.Gateway(**given).SerializeToString()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"address": ""}, "without address or network"),
        ({"network": ""}, "without address or network"),
        ({"port": 0}, "port 0 is not between"),
        ({"port": 70000}, "port 70000 is not between"),
        ({"address": "not an address"}, "does not appear to be an IPv4 or IPv6 address"),
        ({"address": "unix:///run/x.sock"}, "does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_a_gateway_that_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    assert reason in only_finding(decode_gateway(GATEWAY, gateway_record(**fields))).message


def test_what_a_gateway_does_not_say() -> None:
    record = decode_gateway(GATEWAY, gateway_record(id=""))
    assert record == GatewayRecord(NetworkGateway("net-west", "west", "198.18.0.2", 15443), "gw-1", "ready")


def group(**fields: Any) -> pb.EndpointGroup:
    return pb.EndpointGroup(**{"ports": {"http": 8080}, "weight": 1, **fields})


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([group(ports={"http": 0})], "port 0 is not between"),
        ([group(ports={"http": 65536})], "port 65536 is not between"),
        ([group(identity="web")], "'web' is not spiffe://"),
        ([group(addresses=[pb.Address(address="unix:///run/docker.sock")])], "is neither an IP address nor a host"),
        ([group(addresses=[pb.Address(address="1.2.3.4 ")])], "is neither an IP address nor a host"),
        ([group(addresses=[pb.Address(address="")])], "is neither an IP address nor a host"),
        ([group(), group(identity="web")], "'web' is not spiffe://"),
        ([pb.EndpointGroup()] * (MAX_GROUPS + 1), "10001 endpoint groups"),
    ],
)
def test_endpoints_that_make_no_sense_are_refused(groups: list[pb.EndpointGroup], reason: str) -> None:
    assert reason in only_finding(decode_endpoints(SLICE, encode_endpoints(groups))).message


READERS = [
    (decode_service, ECHO, pb.Service),
    (decode_service, ENTRY, pb.Service),
    (decode_endpoints, SLICE, pb.Endpoints),
    (decode_gateway, GATEWAY, pb.Gateway),
    (lambda key, value: decode_plain(pb.Cluster, key, value), ClusterKey("west"), pb.Cluster),
]


@pytest.mark.parametrize(("read", "key", "kind"), READERS)
def test_the_future_is_refused_by_name(read: Any, key: Key, kind: Any) -> None:
    finding = only_finding(read(key, kind(schema=SCHEMA + 1).SerializeToString()), "RecordFromTheFuture")
    assert f"schema {SCHEMA + 1} is newer than {SCHEMA}" in finding.message
    assert finding.fix == "upgrade this cluster's istiod"


@pytest.mark.parametrize(("read", "key", "kind"), READERS)
def test_what_was_never_a_record_is_refused(read: Any, key: Key, kind: Any) -> None:
    assert "no schema" in only_finding(read(key, b"")).message
    assert "not a " in only_finding(read(key, b"\xff\xff\xff")).message
    large = only_finding(read(key, b"\0" * (MAX_RECORD_BYTES + 1)))
    assert f"{MAX_RECORD_BYTES + 1} bytes" in large.message


@pytest.mark.parametrize(("read", "key", "kind"), READERS)
def test_new_fields_are_ignored(read: Any, key: Key, kind: Any) -> None:
    """Field 1000, a string, in a record that is fine without it."""
    fine = {
        pb.Service: service_record().SerializeToString(),
        pb.Endpoints: encode_endpoints([group()]),
        pb.Gateway: gateway_record(),
        pb.Cluster: pb.Cluster(schema=1, name="west").SerializeToString(),
    }[kind]
    found = read(key, fine + b"\xc2\x3e\x03new")
    assert not isinstance(found, Finding), found


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_a_value_or_a_finding_and_never_an_error(value: bytes) -> None:
    for read, key, _ in READERS:
        for prefix in (b"", b"\x08\x01"):  # with and without a good schema in front
            found = read(key, prefix + value)
            assert not isinstance(found, Finding) or found.code in ("BadRecord", "RecordFromTheFuture")
    decode_plain(pb.Heartbeat, HeartbeatKey("west"), value)


def test_consumers() -> None:
    assert exported().admits("anyone")
    assert replace(exported(), consumers=("east",)).admits("east")
    assert not replace(exported(), consumers=("east",)).admits("north")
