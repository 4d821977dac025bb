"""Through a gateway: WebSocket, gRPC-Web, both families of addresses, headless services, HTTP/1.0."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.xds.pods.exchange import http1, http2, line
from tests.integration.xds.pods.test_protocols import MESSAGE, upgraded
from tests.integration.xds.pods.world import World

ADDRESS, ADDRESS6 = "10.9.0.60", "fd00:9::60"
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: apps}
spec:
  selector: {app: gateway}
  servers:
  - {port: {number: 8180, name: http, protocol: HTTP}, hosts: ["*"]}
  - {port: {number: 8181, name: grpc-web, protocol: GRPC-WEB}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: apps}
spec:
  hosts: ["*"]
  gateways: [edge]
  http:
  - {match: [{uri: {prefix: /web}}], route: [{destination: {host: web, port: {number: 8080}}}]}
  - {match: [{uri: {prefix: /test.Echo}}], route: [{destination: {host: server, port: {number: 7070}}}]}
  - {route: [{destination: {host: server, port: {number: 8080}}}]}
"""


@pytest.fixture(autouse=True, scope="module")
def gateway(world: World) -> Iterator[None]:
    """The gateway has its configuration."""
    world.write("edge.yaml", GATEWAY)

    def answers() -> bool:
        found = []
        for port in (8180, 8181):
            with world.connect("naked", ADDRESS, port) as caller:
                found.append(http1(caller, "any.test").status)
        return found == [200, 200]

    world.until(answers, "the gateway answers")
    yield
    world.plane.remove("edge.yaml")


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6])
def test_both_families(world: World, address: str) -> None:
    with world.connect("naked", address, 8180) as caller:
        answer = http1(caller, "any.test")
    assert (answer.status, answer.pod) == (200, "server")
    assert "spiffe://cluster.local/ns/apps/sa/gateway" in answer.said["headers"]["x-forwarded-client-cert"]


def test_websocket(world: World) -> None:
    with world.connect("naked", ADDRESS, 8180) as caller:
        assert upgraded(caller, "any.test") == "bytes as they are"
        assert line(caller, "and more") == "and more"


def test_grpc(world: World) -> None:
    with world.connect("naked", ADDRESS, 8180) as caller:
        answer = http2(caller, "any.test", "/test.Echo/Say", MESSAGE, content_type="application/grpc", te="trailers")
    assert (answer.status, answer.body, answer.trailers.get("grpc-status")) == (200, MESSAGE, "0")


def test_grpc_web(world: World) -> None:
    with world.connect("naked", ADDRESS, 8181) as caller:
        answer = http1(caller, "any.test", "/test.Echo/Say", body=MESSAGE, content_type="application/grpc-web+proto")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/grpc-web+proto")
    assert b"grpc-status:0" in answer.body


def test_every_member_of_a_headless_service(world: World) -> None:
    def members() -> bool:
        found = set()
        for _ in range(10):
            with world.connect("naked", ADDRESS, 8180) as caller:
                found.add(http1(caller, "any.test", "/web").pod)
        return found == {"web-0", "web-1"}

    world.until(members, "both members answer")


def test_http10_is_refused_by_a_gateway_that_does_not_take_it(world: World) -> None:
    with world.connect("naked", ADDRESS, 8180) as caller:
        assert http1(caller, "any.test", version="HTTP/1.0").status == 426
