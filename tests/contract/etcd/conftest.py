"""Real etcd servers, in the versions that we promise to work with.

All tests here share one event loop: gRPC hands late events of a closed loop to the next one, which logs errors.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from federation.etcd import Etcd, Options
from federation.lab.etcd_server import EtcdServer

HERE = Path(__file__).parent

# Elections in a few hundred milliseconds; leases as short as one second.
QUICK = ("--heartbeat-interval=25", "--election-timeout=250")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def _lab_etcd() -> Path:
    """etcd 3.5, from the lab extra."""
    return Path(sys.executable).parent / "etcd"


def _system_etcd() -> Path:
    """etcd 3.4 (or what the distribution has), which only the system's package manager can install."""
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != beside)
    found = shutil.which("etcd", path=path + os.pathsep + "/usr/bin")
    if found is None:
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent("no etcd of the system: apt-get install etcd-server")
    return Path(found or "")


@pytest.fixture(scope="session", params=["lab", "system"])
def binary(request: pytest.FixtureRequest) -> Path:
    return _lab_etcd() if request.param == "lab" else _system_etcd()


@pytest.fixture(scope="session")
def lab_binary() -> Path:
    return _lab_etcd()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_server(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EtcdServer]:
    """A server for tests that leave it as it is; each uses a prefix of its own."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd"), binary=binary, arguments=QUICK)
    server.start()
    try:
        await server.wait_ready()
        yield server
    finally:
        server.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def etcd(shared_server: EtcdServer) -> AsyncIterator[Etcd]:
    """A client of the shared server."""
    async with Etcd(Options(shared_server.endpoints)) as client:
        yield client


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix that no other test uses."""
    return f"/{request.node.name}/"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    """Servers put in here end with the test."""
    started: list[EtcdServer] = []
    yield started
    for server in started:
        server.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def server(binary: Path, tmp_path: Path, servers: list[EtcdServer]) -> EtcdServer:
    """One member, for this test alone."""
    made = EtcdServer(tmp_path / "etcd", binary=binary, arguments=QUICK)
    servers.append(made)
    made.start()
    await made.wait_ready()
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def trio(binary: Path, tmp_path: Path, servers: list[EtcdServer]) -> EtcdServer:
    """Three members, for this test alone."""
    return await _three_members(binary, tmp_path, servers)


@pytest_asyncio.fixture(loop_scope="session")
async def lab_trio(lab_binary: Path, tmp_path: Path, servers: list[EtcdServer]) -> EtcdServer:
    """Three members of one version, where the client alone is at test."""
    return await _three_members(lab_binary, tmp_path, servers)


async def _three_members(binary: Path, directory: Path, servers: list[EtcdServer]) -> EtcdServer:
    made = EtcdServer(directory / "etcd", 3, binary=binary, arguments=QUICK)
    servers.append(made)
    made.start()
    await made.wait_ready()
    return made
