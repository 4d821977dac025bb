"""Headless services, names of their members, and both families of addresses."""

from __future__ import annotations

import pytest

from tests.integration.xds.pods.exchange import http1, line
from tests.integration.xds.pods.world import World

CLIENT_ID = "spiffe://cluster.local/ns/apps/sa/client"
HEADER = "x-forwarded-client-cert"
SERVER6 = "fd00:255::1"


@pytest.mark.parametrize("pod", ["web-0", "web-1"])
@pytest.mark.parametrize("name", ["web", "web.apps", "{pod}.web", "{pod}.web.apps", "{pod}.web.apps.svc.cluster.local"])
def test_http_to_a_member_of_a_headless_service(world: World, pod: str, name: str) -> None:
    address = world.pods[pod].address
    with world.connect("client", address, 8080) as caller:
        answer = http1(caller, f"{name.format(pod=pod)}:8080")
    assert (answer.status, answer.pod) == (200, pod)
    assert CLIENT_ID in answer.said["headers"].get(HEADER, ""), "mutual TLS"


def test_a_member_by_its_address_alone_is_a_stranger(world: World) -> None:
    with world.connect("client", "10.9.0.31", 8080) as caller:
        answer = http1(caller, "10.9.0.31:8080")
    assert (answer.status, answer.pod) == (200, "web-1")
    assert HEADER not in answer.said["headers"]


@pytest.mark.parametrize("pod", ["web-0", "web-1"])
def test_bytes_to_a_member_of_a_headless_service(world: World, pod: str) -> None:
    with world.connect("client", world.pods[pod].address, 9000) as caller:
        assert line(caller, "hello") == f"{pod} hello"
    inbound = world.stats(pod, "^listener.0.0.0.0_15006.ssl.handshake$")
    assert sum(inbound.values()) > 0, "mutual TLS"


@pytest.mark.parametrize("host", ["server.apps", "[fd00:255::1]:8080"])
def test_http_by_an_ipv6_address(world: World, host: str) -> None:
    with world.connect("client", SERVER6, 8080) as caller:
        answer = http1(caller, host)
    assert (answer.status, answer.pod) == (200, "server")
    assert CLIENT_ID in answer.said["headers"][HEADER]


def test_both_families_of_a_workload_are_endpoints_that_work(world: World) -> None:
    def counts() -> tuple[int, ...]:
        text = world.admin("client", "/clusters")
        name = "outbound|8080||server.apps.svc.cluster.local"
        found = {}
        for address in ("10.9.0.20:8080", "[fd00:9::20]:8080"):
            mark = f"{name}::{address}::rq_success::"
            found[address] = next((int(row[len(mark) :]) for row in text.splitlines() if row.startswith(mark)), -1)
        return tuple(found.values())

    def both() -> bool:
        with world.connect("client", "10.255.1.1", 8080) as caller:
            assert http1(caller, "server.apps").pod == "server"
        return all(count > 0 for count in counts())

    world.until(both, "requests reach both addresses")


def test_bytes_by_an_ipv6_address(world: World) -> None:
    with world.connect("client", SERVER6, 9000) as caller:
        assert line(caller, "hello") == "server hello"


@pytest.mark.parametrize("address", ["10.9.0.20", "fd00:9::20"])
def test_inbound_of_both_families(world: World, address: str) -> None:
    with world.connect("naked", address, 8080) as caller:
        answer = http1(caller, "server.apps")
    assert (answer.status, answer.pod) == (200, "server")
    with world.connect("naked", address, 9000) as caller:
        assert line(caller, "hello") == "server hello"


def test_a_port_that_no_service_lists_by_ipv6(world: World) -> None:
    with world.connect("naked", "fd00:9::10", 8080) as caller:
        assert http1(caller, "client").pod == "client"


def test_strangers_by_ipv6(world: World) -> None:
    with world.connect("client", "fd00:9::50", 9001) as caller:
        assert line(caller, "hello") == "naked hello"


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: six, namespace: apps}
spec:
  hosts: [six.test]
  addresses: ["fd00:255::66", 10.255.6.6]
  ports:
  - {number: 8090, name: http, protocol: HTTP, targetPort: 8080}
  - {number: 9009, name: tcp, protocol: TCP, targetPort: 9000}
  resolution: STATIC
  endpoints: [{address: "fd00:9::50"}]
"""


def test_a_service_entry_of_ipv6(world: World) -> None:
    world.write("six.yaml", ENTRY)

    def reached() -> bool:
        with world.connect("client", "fd00:255::66", 8090) as caller:
            return http1(caller, "six.test").pod == "naked"

    try:
        world.until(reached, "the entry is reached by its IPv6 address")
        with world.connect("client", "fd00:255::66", 9009) as caller:
            assert line(caller, "hello") == "naked hello"
        with world.connect("client", "10.255.6.6", 9009) as caller:
            assert line(caller, "hello") == "naked hello"
    finally:
        world.plane.remove("six.yaml")
