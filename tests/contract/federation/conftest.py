"""A mesh over a real etcd, with TLS and its own access control on: made by the functions that `isthmus init` and
`cluster join` call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from federation.authority import Authority
from federation.etcd import Etcd, Options
from federation.founding import connect, init_files, init_store
from federation.join import JoinAnswer, JoinToken
from federation.joining import join
from federation.keys import Layout
from federation.lab.etcd_server import EtcdServer, ServerTls
from federation.mesh_files import AuthorityFiles, ClusterFiles, ClusterInfo, MeshInfo
from federation.model.errors import Conflict, Unavailable

T = TypeVar("T")
ATTEMPTS = 3


class Mesh:
    """A store, its authority, and its members by name."""

    def __init__(
        self, server: EtcdServer, files: AuthorityFiles, directory: Path, etcd: Etcd, clients: AsyncExitStack
    ) -> None:
        self.server = server
        self.files = files
        self.directory = directory
        self.etcd = etcd  # as the root user
        self.authority = Authority(files, etcd)
        self.layout = Layout(files.info().mesh)
        self._clients = clients

    def cluster(self, name: str) -> ClusterFiles:
        """Where a member's files lie."""
        return ClusterFiles(self.directory / name)

    async def token(self, name: str, ttl: float = 60.0, **fields: str) -> JoinToken:
        """A token for a cluster with a network and trust domain of its own."""
        granted = {"network": f"net-{name}", "region": "eu-1", "trust_domain": f"{name}.m1", **fields}
        return await self.authority.create_token(name, ttl=ttl, **granted)

    async def answer(self, token: JoinToken) -> JoinAnswer:
        """Answer the request of a token as soon as it is there."""
        async with asyncio.timeout(20):
            while True:
                with suppress(Conflict):
                    return await self.authority.answer(token.id)
                await asyncio.sleep(0.01)

    async def join(self, name: str, token: JoinToken | None = None) -> ClusterInfo:
        """Both sides of a join."""
        token = token or await self.token(name)
        joining = asyncio.ensure_future(join(token, self.cluster(name), "test"))
        await self.answer(token)
        async with asyncio.timeout(20):
            return await joining

    async def member(self, name: str, **options: Any) -> Etcd:
        """The store as a member sees it; ends with the test."""
        files = self.cluster(name)
        given = Options(self.server.endpoints, files.etcd_ca, files.etcd_cert, files.etcd_key, **options)
        return await self._clients.enter_async_context(Etcd(given))

    async def holder(self, token: JoinToken) -> Etcd:
        """The store as the holder of a token sees it; ends with the test."""
        given = Options(token.endpoints, token.store_root_pem, token.certificate_pem, token.key_pem, retry_for=1.0)
        return await self._clients.enter_async_context(Etcd(given))

    async def joined(self, *names: str) -> list[Etcd]:
        """Members of these names."""
        for name in names:
            await self.join(name)
        return [await self.member(name) for name in names]


@pytest_asyncio.fixture(loop_scope="session")
async def mesh(
    lab_binary: Path, tmp_path: Path, servers: list[EtcdServer], quick: tuple[str, ...]
) -> AsyncIterator[Mesh]:
    """A new mesh `m1` without members."""
    files = AuthorityFiles(tmp_path / "authority")
    tls = ServerTls(files.server_cert, files.server_key, client_ca=files.store_root_cert)
    for attempt in range(ATTEMPTS):
        server = EtcdServer(tmp_path / f"store-{attempt}", binary=lab_binary, tls=tls, arguments=quick)
        assert init_files(files, MeshInfo("m1", server.endpoints), ()) is (attempt == 0)
        files.save_info(MeshInfo("m1", server.endpoints))
        servers.append(server)
        server.start()
        try:
            await server.wait_ready()
            break
        except Unavailable:  # a test beside this one was given the same port
            if attempt == ATTEMPTS - 1:
                raise
    async with AsyncExitStack() as clients:
        etcd = await clients.enter_async_context(connect(files))
        assert await init_store(etcd, "m1")
        yield Mesh(server, files, tmp_path, etcd, clients)


@pytest_asyncio.fixture(loop_scope="session")
async def run() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]]:
    """Runs a loop beside the test and ends it with the test; one that failed by itself fails the test."""
    tasks: list[asyncio.Task[None]] = []

    def start(loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(loop))
        return tasks[-1]

    yield start
    failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert failed == []


@pytest.fixture
def until() -> Callable[[Callable[[], T | Awaitable[T]]], Awaitable[T]]:
    """Waits until something is true, or what it awaits is, and gives that."""

    async def wait(question: Callable[[], T | Awaitable[T]], seconds: float = 20.0) -> T:
        async with asyncio.timeout(seconds):
            while True:
                answer = question()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return answer  # type: ignore[return-value]
                await asyncio.sleep(0.01)

    return wait
