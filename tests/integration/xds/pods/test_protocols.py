"""Protocols through a pair of sidecars: declared, detected, and declared wrongly."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.integration.xds.pods.conftest import PORTS
from tests.integration.xds.pods.exchange import Answer, http1, http2, line
from tests.integration.xds.pods.world import World

SERVER, HOST = "10.255.1.1", "server.apps"
LOCAL = "server.apps.svc.cluster.local"
CLIENT_ID = "spiffe://cluster.local/ns/apps/sa/client"
MESSAGE = b"\0\0\0\0\5hello"
WEBSOCKET = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
HEADER = "x-forwarded-client-cert"


def upstream(world: World, name: str, counter: str, pod: str = "client") -> int:
    """A counter of a pod's upstream towards a port of the server."""
    return sum(world.stats(pod, f"^cluster.outbound.{PORTS[name]}..{LOCAL}.*{counter}$").values())


@contextmanager
def secured(world: World, connection: socket.socket, name: str) -> Iterator[ssl.SSLSocket]:
    """TLS to the application itself."""
    context = ssl.create_default_context(cadata=world.credential.roots)
    context.check_hostname = False
    with context.wrap_socket(connection, server_hostname=name) as wrapped:
        yield wrapped


def test_plain_http(world: World) -> None:
    with world.connect("client", SERVER, PORTS["http"]) as caller:
        answer = http1(caller, HOST, "/path?x=1")
    assert (answer.status, answer.pod) == (200, "server")
    assert (answer.said["path"], answer.said["protocol"]) == ("/path?x=1", "HTTP/1.1")
    assert CLIENT_ID in answer.said["headers"][HEADER]


@pytest.mark.parametrize("call", [http1, http2])
def test_a_port_of_http2_speaks_it_to_the_application(world: World, call: Callable[..., Answer]) -> None:
    with world.connect("client", SERVER, PORTS["http2-main"]) as caller:
        answer = call(caller, HOST)
    assert (answer.status, answer.pod, answer.said["protocol"]) == (200, "server", "HTTP/2")
    assert CLIENT_ID in answer.said["headers"][HEADER]


def test_grpc_keeps_its_trailers(world: World) -> None:
    with world.connect("client", SERVER, PORTS["grpc"]) as caller:
        answer = http2(caller, HOST, "/test.Echo/Say", MESSAGE, content_type="application/grpc", te="trailers")
    assert (answer.status, answer.body) == (200, MESSAGE)
    assert (answer.trailers["grpc-status"], answer.trailers["x-trailer"]) == ("0", "server")


def test_a_grpc_error_of_the_proxy_is_one_of_grpc(world: World) -> None:
    with world.connect("client", SERVER, PORTS["grpc"]) as caller:
        answer = http2(caller, "absent.apps", "/test.Echo/Say", MESSAGE, content_type="application/grpc", te="trailers")
    assert (answer.status, answer.headers["grpc-status"]) == (200, "14")


def test_grpc_web_becomes_grpc(world: World) -> None:
    with world.connect("client", SERVER, PORTS["grpc-web"]) as caller:
        answer = http1(caller, HOST, "/test.Echo/Say", body=MESSAGE, content_type="application/grpc-web+proto")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/grpc-web+proto")
    assert answer.body.startswith(MESSAGE)
    (
        mark,
        *_,
    ) = answer.body[len(MESSAGE) :]
    assert mark == 0x80
    assert b"grpc-status:0" in answer.body
    assert b"x-trailer:server" in answer.body


def upgraded(caller: socket.socket, host: str, path: str = "/") -> str:
    """What comes back on a WebSocket for some bytes."""
    answer = http1(caller, host, path, sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAA==", **WEBSOCKET)
    assert (answer.status, answer.headers["upgrade"]) == (101, "websocket")
    return line(caller, "bytes as they are")


def test_websocket_through_a_pair_of_sidecars(world: World) -> None:
    with world.connect("client", SERVER, PORTS["http"]) as caller:
        assert upgraded(caller, HOST) == "bytes as they are"


RULE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server, namespace: apps}
spec:
  hosts: [server]
  http:
  - match: [{uri: {prefix: /socket}, headers: {upgrade: {exact: websocket}}}]
    rewrite: {uri: /}
    timeout: 30s
    route: [{destination: {host: server, port: {number: 8080}}}]
  - match: [{uri: {prefix: /marked}}]
    directResponse: {status: 299}
  - route: [{destination: {host: server}}]
"""


def test_websocket_by_a_rule(world: World) -> None:
    world.write("rule.yaml", RULE)

    def in_use() -> bool:
        with world.connect("client", SERVER, PORTS["http"]) as caller:
            return http1(caller, HOST, "/marked").status == 299

    try:
        world.until(in_use, "the rule is in use")
        with world.connect("client", SERVER, PORTS["http"]) as caller:
            assert upgraded(caller, HOST, "/socket/one") == "bytes as they are"
    finally:
        world.plane.remove("rule.yaml")


def test_http10_is_taken_where_the_proxy_says_so(world: World) -> None:
    with world.connect("client", "10.9.0.30", 8080) as caller:  # outbound, without: bytes; then inbound, without
        assert http1(caller, "web.apps", version="HTTP/1.0").status == 426
    with world.connect("naked", "10.9.0.30", 8080) as caller:  # inbound, without
        assert http1(caller, "web.apps", version="HTTP/1.0").status == 426
    with world.connect("naked", "10.9.0.20", PORTS["http"]) as caller:  # inbound, with
        answer = http1(caller, HOST, version="HTTP/1.0")
        assert (answer.status, answer.pod) == (200, "server")
    with world.connect("server", "10.9.0.30", 8080) as caller:  # outbound, with
        answer = http1(caller, "web.apps", version="HTTP/1.0")
        assert (answer.status, answer.pod, answer.said["protocol"]) == (200, "web-0", "HTTP/1.1")


UPGRADE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: server, namespace: apps}
spec: {host: server, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}}
"""


def test_http1_is_upgraded_to_http2_between_sidecars(world: World) -> None:
    assert upstream(world, "http", "upstream_cx_http2_total") == 0
    world.write("upgrade.yaml", UPGRADE)

    def upgrades() -> bool:
        with world.connect("client", SERVER, PORTS["http"]) as caller:
            answer = http1(caller, HOST)
        assert (answer.status, answer.pod) == (200, "server")
        assert CLIENT_ID in answer.said["headers"][HEADER]
        return upstream(world, "http", "upstream_cx_http2_total") > 0

    try:
        world.until(upgrades, "HTTP/2 between the sidecars")
    finally:
        world.plane.remove("upgrade.yaml")


def test_bytes_on_a_port_declared_http_are_a_bad_request(world: World) -> None:
    with world.connect("client", "10.9.0.20", PORTS["http-lie"]) as caller:
        assert line(caller, "these are no words of HTTP").startswith("HTTP/1.1 400")


def test_http_on_a_port_declared_tcp_is_bytes(world: World) -> None:
    with world.connect("client", SERVER, PORTS["tcp-lie"]) as caller:
        answer = http1(caller, "whatever")
    assert (answer.status, answer.pod) == (200, "server")
    assert "x-request-id" not in answer.said["headers"]


def test_tcp(world: World) -> None:
    with world.connect("client", SERVER, PORTS["tcp"]) as caller:
        assert line(caller, "hello") == "server hello"
        assert line(caller, "again") == "server again"


@pytest.mark.parametrize(("call", "protocol"), [(http1, "HTTP/1.1"), (http2, "HTTP/2")])
def test_http_is_detected(world: World, call: Callable[..., Answer], protocol: str) -> None:
    with world.connect("client", SERVER, PORTS["any"]) as caller:
        answer = call(caller, HOST)
    assert (answer.status, answer.pod, answer.said["protocol"]) == (200, "server", protocol)
    assert "x-request-id" in answer.said["headers"]


def test_bytes_are_detected(world: World) -> None:
    with world.connect("client", SERVER, PORTS["any"]) as caller:
        assert line(caller, "hello") == "server hello"


@pytest.mark.parametrize("name", ["https", "any-tls"])
def test_tls_of_the_application_is_left_alone(world: World, name: str) -> None:
    with world.connect("client", SERVER, PORTS[name]) as caller, secured(world, caller, "server.apps") as tls:
        answer = http1(tls, HOST)
    assert (answer.status, answer.pod, answer.said["tls"]) == (200, "server", True)
    assert HEADER not in answer.said["headers"]


PASSED_ON = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure, namespace: apps}
spec:
  hosts: [one.secure.test, two.secure.test]
  ports: [{number: 9443, name: tls, protocol: TLS}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secure, namespace: apps}
spec:
  hosts: [one.secure.test, two.secure.test]
  tls:
  - match: [{port: 9443, sniHosts: [one.secure.test]}]
    route: [{destination: {host: server, port: {number: 8443}}}]
  - match: [{port: 9443, sniHosts: [two.secure.test]}]
    route: [{destination: {host: naked, port: {number: 8443}}}]
"""


def test_tls_is_passed_on_by_server_name(world: World) -> None:
    world.write("secure.yaml", PASSED_ON)

    def reached(name: str) -> str:
        with world.connect("client", "10.255.9.9", 9443) as caller, secured(world, caller, name) as tls:
            return http1(tls, name).pod

    try:
        world.until(lambda: reached("one.secure.test") == "server", "the first name leads to the server")
        assert reached("two.secure.test") == "naked"
    finally:
        world.plane.remove("secure.yaml")
