"""`why` for captured traffic and mutual TLS: it says of both ends what then happens between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.xds.pods.conftest import PORTS
from tests.integration.xds.pods.exchange import http1, line
from tests.integration.xds.pods.world import World

SERVER, HOST = "10.255.1.1", "server.apps"
CLIENT = "spiffe://cluster.local/ns/apps/sa/client"

MODE = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: server, namespace: apps}}
spec: {{selector: {{matchLabels: {{app: server}}}}, mtls: {{mode: {}}}}}
"""
GUARD = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: server, namespace: apps}
spec:
  selector: {matchLabels: {app: server}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/apps/sa/client]}}]
    to: [{operation: {ports: ["8080"], paths: [/open]}}]
  - from: [{source: {principals: [cluster.local/ns/apps/sa/client]}}]
    to: [{operation: {ports: ["9090"]}}]
"""


@pytest.fixture
def ask(world: World) -> Callable[..., dict[str, Any]]:
    def why(proxy: str, url: str, **more: str) -> dict[str, Any]:
        said: dict[str, Any] = world.run(world.plane.view("why", proxy=proxy, method="GET", url=url, **more))
        return said

    return why


def upstreams(said: dict[str, Any]) -> list[str]:
    return [item["name"] for item in said["upstreams"]]


def test_both_ends_of_a_call(world: World, ask: Callable[..., dict[str, Any]]) -> None:
    said = ask("client", f"http://{HOST}:{PORTS['http']}/")
    assert (said["listener"], said["outcome"]) == (f"0.0.0.0_{PORTS['http']}", "routed")
    (name,) = upstreams(said)
    counter = f"^cluster.{name.replace('|', '.')}.*upstream_rq_total$"
    before = sum(world.stats("client", counter).values())
    said = ask("server", f"http://{HOST}:{PORTS['http']}/", principal=CLIENT, **{"from": "inbound"})
    assert (said["outcome"], upstreams(said)) == ("routed", [f"inbound|{PORTS['http']}||"])
    with world.connect("client", SERVER, PORTS["http"]) as caller:
        assert http1(caller, HOST).pod == "server"
    assert sum(world.stats("client", counter).values()) == before + 1


def test_bytes_go_to_the_listener_of_the_address(world: World, ask: Callable[..., dict[str, Any]]) -> None:
    said = ask("client", f"tcp://{HOST}:{PORTS['tcp']}")
    assert (said["listener"], said["outcome"]) == (f"{SERVER}_{PORTS['tcp']}", "routed")
    with world.connect("client", SERVER, PORTS["tcp"]) as caller:
        assert line(caller, "hello")


def test_who_gets_in_without_mutual_tls(world: World, ask: Callable[..., dict[str, Any]]) -> None:
    naked: dict[str, str] = {"from": "inbound"}
    address = world.pods["server"].address

    def gets_in() -> bool:
        try:
            with world.connect("naked", address, PORTS["http"]) as caller:
                return http1(caller, HOST).status == 200
        except (OSError, EOFError):
            return False

    for mode, expected in (("STRICT", False), ("PERMISSIVE", True)):
        world.write("server-mode.yaml", MODE.format(mode))
        world.until(lambda expected=expected: gets_in() is expected, f"{mode} is followed")  # type: ignore[misc]
        said = ask("server", f"http://{HOST}:{PORTS['http']}/", **naked)
        assert (said["outcome"] == "routed") is expected
        causes = [cause for step in said["steps"] if step["topic"] == "mutual TLS" for cause in step["causes"]]
        assert causes == [{"object": "PeerAuthentication apps/server", "field": "spec.mtls.mode"}]
    world.plane.remove("server-mode.yaml")


def test_policies_by_identity_path_and_port(world: World, ask: Callable[..., dict[str, Any]]) -> None:
    world.write("server-guard.yaml", GUARD)

    def status(port: int, path: str) -> int:
        """A call may travel on a connection that is older than the policy, which Envoy lets live on for a while."""
        with world.connect("client", SERVER, port) as caller:
            return http1(caller, HOST, path).status

    try:
        world.until(lambda: status(PORTS["http"], "/closed") == 403, "the policy is followed")
        for name, path in (("http", "/open"), ("http", "/closed"), ("http2-main", "/open")):
            url = f"http://{HOST}:{PORTS[name]}{path}"
            said = ask("server", url, principal=CLIENT, **{"from": "inbound"})
            expected = said["status"] or 200
            assert expected == (200 if (name, path) == ("http", "/open") else 403)
            world.until(lambda: status(PORTS[name], path) == expected, f"{name} {path}: {expected}")  # noqa: B023
        # What is detected by the client arrives as bytes: rules about paths mean nothing there.
        said = ask("server", f"http://{HOST}:{PORTS['any']}/x", principal=CLIENT, **{"from": "inbound"})
        assert (said["outcome"], said["routeConfiguration"]) == ("routed", "")
        assert status(PORTS["any"], "/x") == 200
        said = ask("server", f"tcp://{HOST}:{PORTS['tcp']}", principal=CLIENT, **{"from": "inbound"})
        assert (said["outcome"], said["status"]) == ("refused", None)
        with (
            world.connect("client", SERVER, PORTS["tcp"]) as caller,
            pytest.raises((OSError, EOFError, AssertionError)),
        ):
            assert line(caller, "hello")
    finally:
        world.plane.remove("server-guard.yaml")
    world.until(lambda: status(PORTS["http"], "/closed") == 200, "the policy is gone")
