"""The commands that ask, against real control planes, a real store and a client that acknowledges or refuses."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from federation.lab.etcd_server import EtcdServer
from federation.lab.ports import free_ports
from istiod.encode.resource import CLUSTER, ENDPOINTS

BIN = Path(sys.executable).parent
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop, labels: {isthmus.io/export: "true"}}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, namespace: shop, labels: {kubernetes.io/service-name: a}}
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}]
"""
NODE = "sidecar~10.0.0.9~web-1.shop~shop.svc.cluster.local"


@dataclass
class Istiod:
    process: subprocess.Popen[bytes]
    xds: str
    http: str


@asynccontextmanager
async def istiod(directory: Path, cluster: str, *arguments: str) -> AsyncIterator[Istiod]:
    """A control plane with its HTTP on a unix socket; `directory` holds its `config`."""
    (xds,) = free_ports(1)
    (directory / "config").mkdir(parents=True, exist_ok=True)
    socket = directory / "http.sock"
    command = [str(BIN / "istiod"), "run", "--cluster", cluster, "--network", f"net-{cluster}", "--config-dir",
               str(directory / "config"), "--xds-address", f"127.0.0.1:{xds}", "--http-address", f"unix:{socket}",
               "--metrics-address", "off", "--log-level", "error", *arguments]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield Istiod(process, f"127.0.0.1:{xds}", f"unix:{socket}")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def isthmus(*words: str, istiods: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a command."""
    environment = {**os.environ, "ISTHMUS_ISTIOD": " ".join(istiods), "COLUMNS": "250"}
    process = await asyncio.create_subprocess_exec(
        BIN / "isthmus", *words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), " ".join(err.decode().split())


async def status(*istiods: str, wait: bool = False) -> tuple[int, dict[str, Any]]:
    code, out, _ = await isthmus("status", "-o", "json", *(["--wait"] if wait else []), istiods=istiods)
    return code, json.loads(out)


@asynccontextmanager
async def proxy(address: str, refuse: str = "") -> AsyncIterator[None]:
    """A delta client that takes clusters and endpoints, and refuses clusters if it has a reason."""
    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), 20)
        call = channel.stream_stream(
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )()
        for number, type_url in enumerate((CLUSTER, ENDPOINTS)):
            first = DeltaDiscoveryRequest(type_url=type_url)
            if number == 0:
                first.node.id = NODE
                first.node.metadata.update({"NAMESPACE": "shop", "CLUSTER_ID": "west", "NETWORK": "net-west"})
            else:
                first.resource_names_subscribe.append("outbound|80||a.shop.svc.cluster.local")
            await call.write(first)
            answer = await asyncio.wait_for(call.read(), 20)
            said = DeltaDiscoveryRequest(type_url=answer.type_url, response_nonce=answer.nonce)
            if refuse and answer.type_url == CLUSTER:
                said.error_detail.message = refuse
            await call.write(said)
        yield
        call.cancel()


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path / "etcd", binary=BIN / "etcd")
    server.start()
    try:
        yield server
    finally:
        server.kill()


def only(items: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    (found,) = [item for item in items if all(item[key] == value for key, value in fields.items())]
    return found


async def test_two_clusters_seen_from_both_sides(tmp_path: Path, etcd: EtcdServer) -> None:
    await etcd.wait_ready()
    store = ("--etcd", ",".join(etcd.endpoints))
    (tmp_path / "east" / "config").mkdir(parents=True)
    (tmp_path / "east" / "config" / "a.yaml").write_text(SERVICE)
    async with istiod(tmp_path / "east", "east", *store) as east, istiod(tmp_path / "west", "west", *store) as west:
        code, seen = await status(east.http, west.http, wait=True)
        assert (code, seen["problems"]) == (0, []), seen["problems"]
        code, seen = await healthy_with(east.http, west.http, host="a.shop.svc.cluster.local")
        east_view, west_view = seen["controlPlanes"]
        here = only(east_view["services"], name="a")
        assert here["exportedTo"] == []
        assert here["endpoints"] == {"east": {"healthy": 1, "total": 2}}
        there = only(west_view["services"], name="a")
        assert (there["importedFrom"], there["local"]) == (["east"], False)
        assert there["endpoints"] == {"east": {"healthy": 1, "total": 1}}
        peer = only(west_view["federation"]["peers"], cluster="east")
        assert 0 <= peer["heartbeatAgeSeconds"] < 5
        assert west_view["federation"]["store"]["source"] == "store"
        code, out, _ = await isthmus("service", "list", istiods=(west.http,))
        assert (code, "a.shop.svc.cluster.local" in out, "east 1" in out) == (0, True, True)

        etcd.kill()
        code, seen = await degraded(east.http, west.http)
        assert code == 1
        assert {"east", "west"} <= {p["observer"] for p in seen["problems"] if p["object"] == "store"}
        there = only(seen["controlPlanes"][1]["services"], name="a")
        assert there["endpoints"] == {"east": {"healthy": 1, "total": 1}}  # served, and said to be old
        assert seen["controlPlanes"][1]["federation"]["store"]["ageSeconds"] is not None


async def healthy_with(*istiods: str, host: str) -> tuple[int, dict[str, Any]]:
    """The first status in which everybody knows a host, within 20 s."""
    async with asyncio.timeout(20):
        while True:
            code, seen = await status(*istiods)
            if all(host in {s["host"] for s in view["services"]} for view in seen["controlPlanes"]):
                return code, seen


async def degraded(*istiods: str) -> tuple[int, dict[str, Any]]:
    """The first status in which every control plane misses the store, within 20 s."""
    async with asyncio.timeout(20):
        while True:
            code, seen = await status(*istiods)
            if len({p["observer"] for p in seen["problems"] if p["object"] == "store"}) == len(istiods):
                return code, seen


async def test_proxies(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.yaml").write_text(SERVICE)
    async with istiod(tmp_path, "west") as west, proxy(west.xds):
        code, out, _ = await isthmus("proxy", "status", "-o", "json", istiods=(west.http,))
        (found,) = json.loads(out)
        assert (code, found["proxy"]["id"], found["proxy"]["state"]) == (0, NODE, "synced")
        assert [(t["type"], t["state"]) for t in found["proxy"]["types"]] == [
            ("clusters", "synced"), ("endpoints", "synced")]  # fmt: skip
        assert (await status(west.http))[0] == 0
        words = ("proxy", "config", "web-1.shop", "-o", "json")
        code, out, _ = await isthmus(*words, istiods=(west.http,))
        resources = json.loads(out)["resources"]
        name = "outbound|80||a.shop.svc.cluster.local"
        assert only(resources["clusters"], name=name)["content"]["type"] == "EDS"
        (group,) = only(resources["endpoints"], name=name)["content"]["endpoints"]
        ports = {e["endpoint"]["address"]["socketAddress"]["portValue"] for e in group["lbEndpoints"]}
        assert ports == {8080}
        code, out, _ = await isthmus("proxy", "config", "web-1", "endpoints", istiods=(west.http,))
        assert (code, name in out, "BlackHoleCluster" in out) == (0, True, False)
        code, _, err = await isthmus("proxy", "config", "web-2", istiods=(west.http,))
        assert (code, NODE in err) == (2, True)


async def test_looking_inside_a_running_mesh(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.yaml").write_text(SERVICE)
    new = tmp_path / "new.yaml"
    new.write_text(SERVICE.replace("port: 8080", "port: 8081"))
    async with istiod(tmp_path, "west") as west, proxy(west.xds):
        await healthy_with(west.http, host="a.shop.svc.cluster.local")
        code, out, _ = await isthmus("proxy", "config", "web-1", "bootstrap", istiods=(west.http,))
        assert (code, NODE in out, "Envoy's own bootstrap" in out) == (0, True, True)
        code, out, _ = await isthmus("proxy", "config", "web-1", "clusters", "--fqdn", "a.shop", istiods=(west.http,))
        assert (code, [line.split()[:5] for line in out.splitlines()[1:]]) == (
            0, [["a.shop.svc.cluster.local", "80", "-", "outbound", "EDS"]])  # fmt: skip
        code, out, _ = await isthmus(
            "proxy", "why", "web-1", "GET", "http://a.shop/", "-o", "json", istiods=(west.http,)
        )
        said = json.loads(out)
        assert (code, said["outcome"], said["upstreams"][0]["endpoints"][0]["address"]) == (
            0, "routed", "10.0.0.1:8080")  # fmt: skip
        code, _, err = await isthmus("proxy", "why", "web-2", "GET", "http://a.shop/", istiods=(west.http,))
        assert (code, NODE in err) == (2, True)
        for _ in range(2):  # asking changes nothing
            code, out, _ = await isthmus("diff", "-f", str(new), "-v", istiods=(west.http,))
            assert (code, "changed: EndpointSlice shop/a-1" in out, "web-1.shop:" in out) == (1, True, True)
            assert "  ~ endpoints outbound|80||a.shop.svc.cluster.local" in out
            assert "+ endpoints[0].lbEndpoints[0].endpoint.address.socketAddress.portValue: 8081" in out
        code, out, _ = await isthmus("diff", "-f", str(tmp_path / "config"), istiods=(west.http,))
        assert (code, "0 proxies change, 1 stay as they are" in out) == (0, True)
        new.write_text("#" * (5 << 20))
        code, _, err = await isthmus("diff", "-f", str(new), istiods=(west.http,))
        assert (code, "4 MiB" in err) == (2, True)


async def test_refusal_is_shown_with_the_proxy_s_words(tmp_path: Path) -> None:
    async with istiod(tmp_path, "west") as west, proxy(west.xds, "no such filter"):
        code, seen = await status(west.http)
        assert code == 1
        assert [p["message"] for p in seen["problems"]] == ["refuses clusters: no such filter"]
        code, out, _ = await isthmus("proxy", "status", istiods=(west.http,))
        assert (code, f"{NODE} refuses clusters: no such filter" in out) == (1, True)


async def test_error_in_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "broken.yaml").write_text(SERVICE.replace("port: 80}", "port: eighty}"))
    async with istiod(tmp_path, "west") as west, asyncio.timeout(30):
        while (seen := await status(west.http))[0] == 2:
            pass
        code, report = seen
        assert (code, "Service shop/a" in {p["object"] for p in report["problems"]}) == (1, True), report["problems"]


async def test_who_does_not_answer(tmp_path: Path) -> None:
    nobody = f"unix:{tmp_path}/nobody.sock"
    code, seen = await status(nobody)
    assert (code, list(seen["unreachable"])) == (2, [nobody])
    async with istiod(tmp_path / "west", "west") as west:
        assert (await status(west.http, wait=True))[0] == 0
        code, seen = await status(west.http, nobody)
        assert (code, [p["observer"] for p in seen["problems"]]) == (1, [nobody])
    code, _, err = await isthmus("status", "--istiod", "localhost:8080")
    assert (code, "is no address" in err) == (2, True)


async def test_socket_is_for_its_owner_and_goes_with_the_process(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    socket = tmp_path / "http.sock"
    async with istiod(tmp_path, "west") as west:
        await status(west.http, wait=True)
        assert socket.stat().st_mode & 0o777 == 0o600
        west.process.kill()  # leaves its socket behind
        west.process.wait()
    async with istiod(tmp_path, "west") as west:
        assert (await status(west.http, wait=True))[0] == 0
    assert not socket.exists()
