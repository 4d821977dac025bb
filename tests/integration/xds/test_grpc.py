"""gRPC's own xDS client follows a real control plane, without a proxy."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

CLIENT = Path(__file__).parent / "grpc_client.py"
Ask = Callable[[], Awaitable[str]]


@pytest.fixture
async def servers() -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """Starts gRPC servers that answer with their name; each gives its port."""
    started: list[grpc.aio.Server] = []

    async def start(name: str) -> int:
        async def get(_: bytes, context: Any) -> bytes:
            return name.encode()

        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(get)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Names", {"Get": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        started.append(server)
        return int(port)

    yield start
    for server in started:
        await server.stop(0)


def bootstrap(xds_address: str) -> str:
    """What a proxyless client of Istio is started with."""
    return json.dumps(
        {
            "xds_servers": [
                {
                    "server_uri": xds_address,
                    "channel_creds": [{"type": "insecure"}],
                    "server_features": ["xds_v3"],
                }
            ],
            "node": {
                "id": "sidecar~127.0.0.1~caller-1.apps~apps.svc.cluster.local",
                "metadata": {"GENERATOR": "grpc", "NAMESPACE": "apps", "CLUSTER_ID": "c", "NETWORK": "n"},
            },
        }
    )


@asynccontextmanager
async def client(xds_address: str, target: str) -> AsyncIterator[Ask]:
    """A client in a process of its own; gives a function that has it make one call."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CLIENT),
        target,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap(xds_address)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    async def ask() -> str:
        requests.write(b"\n")
        return (await asyncio.wait_for(answers.readline(), 10)).decode().rstrip()

    try:
        yield ask
    finally:
        requests.close()
        await asyncio.wait_for(process.wait(), 5)


async def test_calls_follow_services_and_their_endpoints(mesh: Any, istiod: Any, servers: Any, eventually: Any) -> None:
    one, two = await servers("one"), await servers("two")
    mesh.service("a", one, protocol="GRPC")
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))

    async with client(plane.xds_address, f"xds:///a.test:{mesh.port}") as ask:

        async def answers(name: str) -> bool:
            return await ask() == name

        assert await ask() == "one"
        mesh.service("a", two, protocol="GRPC")
        await eventually(lambda: answers("two"), 1, "the new endpoint is called")
        mesh.rule("a", "marked")
        mesh.destination("a", "3s")
        await eventually(lambda: synced_after(plane, "cds", 2), 2, "the changed upstream is taken")
        await eventually(lambda: synced_after(plane, "rds", 2), 2, "the changed rule is taken")
        assert await ask() == "two"
        assert await plane.metric("pilot_total_xds_rejects_total", type="cds") == 0


async def test_a_service_that_comes_later_is_called_without_delay(
    mesh: Any, istiod: Any, servers: Any, eventually: Any
) -> None:
    one = await servers("one")
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))

    async with client(plane.xds_address, f"xds:///late.test:{mesh.port}") as ask:
        answer = asyncio.create_task(ask())
        await eventually(lambda: synced_after(plane, "lds", 1), 5, "the client has asked")
        mesh.destination("late", "2s")
        mesh.service("late", one, protocol="GRPC")
        assert await answer == "one"


async def synced_after(plane: Any, kind: str, pushes: int) -> bool:
    """Whether so many responses of a type were sent and all is acknowledged without complaint."""
    proxies = await plane.view("syncz")
    idle = all(not item["pending"] and not item["refused"] for proxy in proxies for item in proxy["types"])
    return idle and bool(await plane.metric("pilot_xds_pushes_total", type=kind) >= pushes)
