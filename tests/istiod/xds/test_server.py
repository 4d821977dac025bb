"""The transport over real connections: who gets a stream, who is sent away and with which words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from prometheus_client import REGISTRY

from federation.model.errors import Denied
from istiod.encode.resource import CLUSTER, ENDPOINTS, frame_resource
from istiod.view.proxy import Proxy
from istiod.xds import server as servers
from istiod.xds import session as sessions
from istiod.xds.delivery import Delivery
from istiod.xds.server import AdsServer
from istiod.xds.stream import Stream

NODE = Node(id="sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local")
PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
PATIENCE = 5.0
MIB = 1 << 20

Open = Callable[[bool], Any]


class OneConfiguration:
    """Gives every stream the same configuration, and knows which are there."""

    def __init__(self) -> None:
        self.resources = {CLUSTER: {"up": frame_resource(CLUSTER, "up", b"")}}
        self.streams: set[Stream] = set()
        self.left = asyncio.Event()

    async def join(self, stream: Stream, proxy: Proxy) -> None:
        self.streams.add(stream)
        stream.deliver(Delivery(self.resources))

    def leave(self, stream: Stream) -> None:
        self.streams.discard(stream)
        self.left.set()


@pytest.fixture
async def follower() -> OneConfiguration:
    return OneConfiguration()


@pytest.fixture
async def open_stream(follower: OneConfiguration) -> AsyncIterator[Open]:
    """Opens streams, delta or not, to a server whose proxies may be anybody but from the namespace `denied`."""

    async def authorize(context: Any, proxy: Proxy, secure: bool) -> str:
        if proxy.namespace == "denied":
            raise Denied("not you")
        return ""

    async def secrets(stream: Stream, identity: str) -> None:
        raise AssertionError("no secrets on plaintext")

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((AdsServer(follower, authorize, secrets).handlers(secure=False),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    unbounded = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=unbounded) as channel:
        yield lambda delta: channel.stream_stream(
            PATH + ("DeltaAggregatedResources" if delta else "StreamAggregatedResources")
        )()
    await server.stop(0)


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """Read to the end; the status."""
    async with asyncio.timeout(PATIENCE):
        with suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        return await call.code(), await call.details()


def first(type_url: str = CLUSTER, **fields: Any) -> bytes:
    return DeltaDiscoveryRequest(node=NODE, type_url=type_url, **fields).SerializeToString()


async def read(call: Any) -> bytes:
    found: Awaitable[bytes] = call.read()
    return await asyncio.wait_for(found, PATIENCE)


async def test_both_variants_are_served_and_left(open_stream: Open, follower: OneConfiguration) -> None:
    call = open_stream(True)
    await call.write(first())
    delta = DeltaDiscoveryResponse.FromString(await read(call))
    assert ([item.name for item in delta.resources], delta.type_url) == (["up"], CLUSTER)
    assert REGISTRY.get_sample_value("pilot_xds") == 1
    (stream,) = follower.streams
    assert stream.proxy is not None
    assert (stream.proxy.name, stream.delta) == ("web-1", True)
    call.cancel()
    await asyncio.wait_for(follower.left.wait(), PATIENCE)
    assert not follower.streams
    other = open_stream(False)
    await other.write(DiscoveryRequest(node=NODE, type_url=CLUSTER).SerializeToString())
    sotw = DiscoveryResponse.FromString(await read(other))
    assert [item.type_url for item in sotw.resources] == [CLUSTER]


async def test_who_is_not_who_it_claims_is_denied(open_stream: Open) -> None:
    call = open_stream(True)
    node = Node(id="sidecar~10.0.0.1~web-1.denied~denied.svc.cluster.local")
    await call.write(DeltaDiscoveryRequest(node=node, type_url=CLUSTER).SerializeToString())
    assert await ended(call) == (grpc.StatusCode.PERMISSION_DENIED, "not you")


@pytest.mark.parametrize("raw", [b"\xff\xff", DeltaDiscoveryRequest(type_url=CLUSTER).SerializeToString()])
async def test_a_first_request_that_cannot_be_read_or_names_no_proxy_is_refused(open_stream: Open, raw: bytes) -> None:
    call = open_stream(True)
    await call.write(raw)
    assert (await ended(call))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_later_request_that_cannot_be_read_ends_the_stream(open_stream: Open, follower: Any) -> None:
    call = open_stream(True)
    await call.write(first())
    await call.write(b"\xff\xff")
    assert (await ended(call))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert not follower.streams


@pytest.mark.parametrize("requests", [[("a", "b", "c")], [("a", "b"), ("c",)]])
async def test_too_many_names_end_the_stream(
    open_stream: Open, monkeypatch: pytest.MonkeyPatch, requests: list[tuple[str, ...]]
) -> None:
    monkeypatch.setattr(sessions, "MAX_NAMES", 2)
    call = open_stream(True)
    for names in requests:
        await call.write(first(ENDPOINTS, resource_names_subscribe=names))
    code, words = await ended(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 2 are served" in words


async def test_who_says_nothing_does_not_keep_a_stream(open_stream: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "FIRST_REQUEST_SECONDS", 0.05)
    assert (await ended(open_stream(True)))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("pieces", [1, 32])
async def test_who_reads_nothing_is_not_buffered_for(
    open_stream: Open, follower: OneConfiguration, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    """Whether it is the first response that stalls, which has more to it on the wire, or a later one."""
    monkeypatch.setattr(servers, "UNSENT_SECONDS", 0.1)
    piece = b"x" * (32 * MIB // pieces)
    large = {f"up{number}": frame_resource(CLUSTER, f"up{number}", piece) for number in range(pieces)}
    follower.resources = {CLUSTER: large}
    call = open_stream(True)
    await call.write(first())
    await asyncio.wait_for(follower.left.wait(), PATIENCE)
    code, words = await ended(call)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert words.startswith("nothing was read")
