"""The ADS service on grpc.aio: moves bytes between sockets and streams, and decides who may have a stream at all.

Owns transport options, deadlines and status codes. Messages pass through as bytes; only requests are parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
import structlog
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from federation.model.errors import Denied, InvalidInput
from federation.model.locality import Locality
from istiod.view.node import proxy_from_node
from istiod.view.proxy import Proxy
from istiod.xds.metrics import PROXIES
from istiod.xds.session import MAX_RESPONSE_BYTES, Request
from istiod.xds.stream import Stream
from istiod.xds.subscription import SharedVersions

log = structlog.get_logger("xds")

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
FIRST_REQUEST_SECONDS = 10.0
UNSENT_SECONDS = 5.0
MAX_REQUEST_BYTES = 16 << 20
LARGE_BYTES = 64 << 10
LARGE_AT_ONCE = 32  # when a thousand proxies connect, the rest wait here instead of lying in send buffers
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)


KNOWN = SharedVersions()


class Follower(Protocol):
    """Who makes configuration for streams: the pipeline."""

    async def join(self, stream: Stream, proxy: Proxy) -> None:
        """Deliver to the stream now and on every change."""

    def leave(self, stream: Stream) -> None:
        """Stop doing so."""


# Says who the peer of a stream is: (grpc context, proxy, over TLS) -> identity, "" for an anonymous one. Raises Denied.
Authorize = Callable[[Any, Proxy, bool], Awaitable[str]]
# Gives a stream its own secrets for as long as it runs: (stream, identity).
ServeSecrets = Callable[[Stream, str], Awaitable[None]]


class AdsServer:
    """Serves both variants of ADS. Add `handlers` to any number of grpc servers (plaintext, TLS)."""

    def __init__(
        self, follower: Follower, authorize: Authorize, secrets: ServeSecrets, credentials: ServeSecrets | None = None
    ) -> None:
        """`secrets` gives a proxy without an agent its own certificate, `credentials` any the Secrets it may have."""
        self._follower = follower
        self._authorize = authorize
        self._secrets = secrets
        self._credentials = credentials
        self._count = 0
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def handlers(self, secure: bool) -> grpc.GenericRpcHandler:
        """The two methods; `secure` streams may get secrets."""

        async def delta(requests: AsyncIterator[bytes], context: Any) -> None:
            await self._serve(requests, context, True, secure)

        async def sotw(requests: AsyncIterator[bytes], context: Any) -> None:
            await self._serve(requests, context, False, secure)

        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(delta),
                "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(sotw),
            },
        )

    async def _serve(self, requests: AsyncIterator[bytes], context: Any, delta: bool, secure: bool) -> None:
        self._count += 1
        stream = Stream(delta, self._count)
        iterator = aiter(requests)
        try:
            first = await asyncio.wait_for(anext(iterator), FIRST_REQUEST_SECONDS)
            node, request = _parse(first, delta)
            proxy = _proxy(node)
            stream.identity = await self._authorize(context, proxy, secure)
            stream.proxy = proxy
            stream.request(request)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"no request within {FIRST_REQUEST_SECONDS:.0f} s")
        except StopAsyncIteration:
            return
        except (DecodeError, InvalidInput, ValueError) as wrong:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(wrong)[:1000])
        except Denied as denied:
            log.warning("stream_denied", reason=str(denied))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(denied)[:1000])
        # On its own, since a status cannot be sent while the first write, which would carry it, is still on its way.
        await context.send_initial_metadata(())
        PROXIES.inc()
        log.info("proxy_connected", proxy=proxy.id, delta=delta, identity=stream.identity)
        try:
            failure = await self._follow(stream, iterator, context, secure)
        finally:
            self._follower.leave(stream)
            PROXIES.dec()
            log.info("proxy_gone", proxy=proxy.id)
        if failure is not None:  # a client that reads nothing may never come to hear of it: nothing else waits for that
            log.warning("stream_closed", proxy=proxy.id, reason=failure[1])
            await context.abort(*failure)

    async def _follow(
        self, stream: Stream, requests: AsyncIterator[bytes], context: Any, secure: bool
    ) -> tuple[grpc.StatusCode, str] | None:
        """Read, write and follow the configuration until the client goes or something fails; then stop all of it.

        Gives the status to close the stream with, None if the client went by itself.
        """
        assert stream.proxy is not None
        tasks = [
            asyncio.ensure_future(_read(stream, requests, stream.delta)),
            asyncio.ensure_future(self._write(stream, context)),
            asyncio.ensure_future(self._join(stream)),
        ]
        if secure and stream.identity:
            serving = [self._secrets if stream.proxy.agentless else None, self._credentials]
            tasks += [asyncio.ensure_future(serve(stream, stream.identity)) for serve in serving if serve is not None]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except TimeoutError:
            return grpc.StatusCode.RESOURCE_EXHAUSTED, f"nothing was read for {UNSENT_SECONDS:.0f} s"
        except (DecodeError, InvalidInput, ValueError) as wrong:
            return grpc.StatusCode.INVALID_ARGUMENT, str(wrong)[:1000]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None

    async def _write(self, stream: Stream, context: Any) -> None:
        while True:
            await self._write_all(stream, await stream.outgoing(), context)
            stream.written()

    async def _write_all(self, stream: Stream, responses: list[bytes], context: Any) -> None:
        """Write one after the other; each is let go of when it is written, as a thousand streams hold one each."""
        responses.reverse()
        while responses:
            size = len(responses[-1])
            if size > MAX_RESPONSE_BYTES and not stream.delta:
                log.warning("large_response", proxy=stream.proxy.id if stream.proxy else "", bytes=size)
            if size <= LARGE_BYTES:
                await _send(responses.pop(), context)
                continue
            async with self._large:
                await _send(responses.pop(), context)

    async def _join(self, stream: Stream) -> None:
        assert stream.proxy is not None
        await self._follower.join(stream, stream.proxy)
        await asyncio.Event().wait()


async def _read(stream: Stream, requests: AsyncIterator[bytes], delta: bool) -> None:
    async for raw in requests:
        _, request = _parse(raw, delta)
        if request.error:
            log.warning(
                "nack", proxy=stream.proxy.id if stream.proxy else "", type=request.type_url, error=request.error[:2000]
            )
        stream.request(request)


async def _send(response: bytes, context: Any) -> None:
    """Write one response. Raises TimeoutError; `asyncio.timeout` does the same for four times the price of the rest."""
    writer, expired = asyncio.current_task(), False

    def give_up() -> None:
        nonlocal expired
        expired = True
        if writer is not None:
            writer.cancel()

    timer = asyncio.get_running_loop().call_later(UNSENT_SECONDS, give_up)
    try:
        await context.write(response)
    except asyncio.CancelledError:
        if expired:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def _parse(raw: bytes, delta: bool) -> tuple[Node, Request]:
    if not delta:
        sotw = DiscoveryRequest.FromString(raw)
        names = frozenset(sotw.resource_names)
        return sotw.node, Request(sotw.type_url, names, nonce=sotw.response_nonce, error=_error(sotw))
    message = DeltaDiscoveryRequest.FromString(raw)
    return message.node, Request(
        message.type_url,
        frozenset(message.resource_names_subscribe),
        frozenset(message.resource_names_unsubscribe),
        KNOWN.share(message.type_url, dict(message.initial_resource_versions)),
        message.response_nonce,
        _error(message),
    )


def _error(message: DeltaDiscoveryRequest | DiscoveryRequest) -> str:
    if not message.HasField("error_detail"):
        return ""
    return message.error_detail.message or f"code {message.error_detail.code}"


def _proxy(node: Node) -> Proxy:
    place = node.locality
    version = node.user_agent_build_version.version
    return proxy_from_node(
        node.id,
        MessageToDict(node.metadata),
        Locality(place.region, place.zone, place.sub_zone),
        (version.major_number, version.minor_number) if version.major_number else None,
    )
