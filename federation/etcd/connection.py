"""The way to the store: one gRPC channel per endpoint, one of them in use; the login; deadlines, retries and failover.

Own rotation instead of gRPC's target list: it also leaves a member that is connected but frozen or without a leader, it
takes host names, and each endpoint is checked against its own name in TLS. Knows messages as types only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol

import grpc
import grpc.aio
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from federation.etcd import rpc
from federation.etcd.errors import BadToken, NeverSent, convert_error
from federation.etcd.options import Options, TlsMaterial, channel_arguments, read_tls, target
from federation.etcd.rpc import A, Method, Q
from federation.etcd.schema import etcd_pb2 as pb
from federation.etcd.values import Header, decode_header
from federation.model.errors import Conflict, InvalidInput, IsthmusError, Unavailable

log = structlog.get_logger("etcd")

# What goes wrong comes back as an error; gRPC's own lines on stderr would only break up logs and command output.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# What may be repeated is, after any trouble; a write only when it certainly never left.
RETRY_REPEATABLE = retry_if_exception_type(Unavailable)
RETRY_WRITE = retry_if_exception_type(NeverSent)
RETRY_WAIT = wait_random_exponential(multiplier=0.05, max=1.0)

# A member that lost the majority must end our streams, instead of being silent (etcd: WithRequireLeader).
REQUIRE_LEADER = ("hasleader", "true")


class _Answer(Protocol):
    @property
    def header(self) -> pb.Header: ...


class Connection:
    """Calls and streams to whichever endpoint works. Made in a running event loop; `close` ends it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._tls = read_tls(options)
        self._channels: dict[int, Any] = {}
        self._retired: list[Any] = []
        self._current = 0
        self._token: str | None = None
        self._login = asyncio.Lock()
        self.header: Header | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint in use."""
        return self.options.endpoints[self._current]

    async def call(self, method: Method[Q, A], request: Q, endpoint: int | None = None) -> A:
        """The answer to one request, from the endpoint in use or a given one (by its place in the options).

        Raises Unavailable after `retry_for` seconds of trouble, Denied, Conflict, Compacted, InvalidInput. A write that
        ends in Unavailable may have been carried out, unless the error is NeverSent.
        """
        retrying = AsyncRetrying(
            retry=RETRY_REPEATABLE if method.repeatable else RETRY_WRITE,
            stop=stop_after_delay(self.options.retry_for),
            wait=RETRY_WAIT,
            reraise=True,
        )
        answer: A = await retrying(self._call_logged_in, method, request, endpoint)
        return answer

    @asynccontextmanager
    async def stream(self, method: Method[Q, A]) -> AsyncIterator[Stream[Q, A]]:
        """A two-way stream to the endpoint in use, cancelled at the end of the block."""
        token = await self._logged_in()
        index = self._current
        opened = self._channel(index).stream_stream(
            method.path, method.request.SerializeToString, method.answer.FromString
        )(metadata=[REQUIRE_LEADER, *_metadata(token)])
        try:
            yield Stream(self, index, opened)
        finally:
            opened.cancel()

    @asynccontextmanager
    async def download(self, method: Method[Q, A], request: Q) -> AsyncIterator[Stream[Q, A]]:
        """A stream of answers to one request from the endpoint in use, cancelled at the end of the block."""
        token = await self._logged_in()
        index = self._current
        opened = self._channel(index).unary_stream(
            method.path, method.request.SerializeToString, method.answer.FromString
        )(request, metadata=_metadata(token))
        try:
            yield Stream(self, index, opened)
        finally:
            opened.cancel()

    def forget_token(self) -> bool:
        """Log in again before the next request; False if there is nothing to log in with."""
        self._token = None
        return bool(self.options.user)

    def observe(self, answer: _Answer) -> None:
        """Remember who answered."""
        if answer.header.cluster_id:
            self.header = decode_header(answer.header)

    def failed(self, index: int, code: grpc.StatusCode, details: str) -> IsthmusError:
        """The error to raise for a failure at an endpoint; leaves the endpoint if another might do better."""
        error = convert_error(code, details, self.options.endpoints[index])
        if isinstance(error, Unavailable):
            self._leave(index, details)
        return error

    async def close(self) -> None:
        """End all connections. Calls under way are cancelled."""
        for channel in (*self._channels.values(), *self._retired):
            await channel.close()
        self._channels.clear()
        self._retired.clear()

    async def _call_logged_in(self, method: Method[Q, A], request: Q, endpoint: int | None) -> A:
        try:
            return await self._send(method, request, await self._logged_in(), endpoint)
        except BadToken:
            # Tokens end with their time and with etcd's restart; an auth revision changes with every grant of a role.
            self.forget_token()
            return await self._send(method, request, await self._logged_in(), endpoint)

    async def _send(self, method: Method[Q, A], request: Q, token: str, endpoint: int | None) -> A:
        index = self._current if endpoint is None else endpoint
        send = self._channel(index).unary_unary(method.path, method.request.SerializeToString, method.answer.FromString)
        try:
            answer: A = await send(request, timeout=self.options.request_timeout, metadata=_metadata(token))
        except grpc.aio.AioRpcError as error:
            raise self.failed(index, error.code(), error.details() or "") from None
        self.observe(answer)  # type: ignore[arg-type]
        return answer

    async def _logged_in(self) -> str:
        if not self.options.user:
            return ""
        async with self._login:
            if self._token is None:
                self._token = await self._authenticate()
            return self._token

    async def _authenticate(self) -> str:
        request = pb.AuthenticateRequest(name=self.options.user, password=self.options.password)
        try:
            return (await self._send(rpc.AUTHENTICATE, request, "", None)).token
        except Conflict as error:
            if "authentication is not enabled" in str(error):
                return ""
            raise

    def _channel(self, index: int) -> Any:
        if index not in self._channels:
            address = target(self.options.endpoints[index])
            arguments = channel_arguments(self.options)
            if self._tls is None:
                self._channels[index] = grpc.aio.insecure_channel(address, arguments)
            else:
                self._channels[index] = grpc.aio.secure_channel(address, _credentials(self._tls), arguments)
        return self._channels[index]

    def _leave(self, index: int, why: str) -> None:
        self._reload_tls()
        if index != self._current or len(self.options.endpoints) == 1:
            return
        self._current = (index + 1) % len(self.options.endpoints)
        log.info("etcd_failover", left=self.options.endpoints[index], to=self.endpoint, why=why)

    def _reload_tls(self) -> None:
        """Take renewed certificates into use. Old channels may still carry streams, so they stay until `close`."""
        try:
            fresh = read_tls(self.options)
        except InvalidInput as error:
            log.warning("etcd_certificate_unreadable", error=str(error))
            return
        if fresh != self._tls:
            self._tls = fresh
            self._retired += self._channels.values()
            self._channels.clear()


class Stream(Generic[Q, A]):
    """An open stream to one endpoint. Every failure, and its end, is raised as the matching error."""

    def __init__(self, connection: Connection, index: int, opened: Any) -> None:
        self._connection = connection
        self._index = index
        self._opened = opened

    async def write(self, request: Q) -> None:
        """Send one message."""
        try:
            await self._opened.write(request)
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        except asyncio.InvalidStateError:
            raise await self._ended() from None

    async def read(self, timeout: float | None = None) -> A:
        """The next message. Without `timeout` (seconds) it waits as long as the server answers keepalive pings."""
        try:
            async with asyncio.timeout(timeout):
                answer = await self._opened.read()
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        except TimeoutError:
            raise self._connection.failed(
                self._index, grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout:.1f} s"
            ) from None
        if answer is grpc.aio.EOF:
            raise await self._ended()
        self._connection.observe(answer)
        message: A = answer
        return message

    async def read_or_end(self, timeout: float) -> A | None:
        """As `read`, but None where the server ends the stream in good order."""
        try:
            return await self.read(timeout)
        except Unavailable:
            if self._opened.done() and await self._opened.code() is grpc.StatusCode.OK:
                return None
            raise

    def _failed(self, error: Any) -> IsthmusError:
        return self._connection.failed(self._index, error.code(), error.details() or "")

    async def _ended(self) -> IsthmusError:
        code, details = await self._opened.code(), await self._opened.details()
        if code is grpc.StatusCode.OK:
            code, details = grpc.StatusCode.UNAVAILABLE, "the server ended the stream"
        return self._connection.failed(self._index, code, details or "")


def _metadata(token: str) -> list[tuple[str, str]]:
    return [("token", token)] if token else []


def _credentials(tls: TlsMaterial) -> Any:
    return grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
