"""Real etcd servers, in the versions that we promise to work with."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from federation.etcd import Etcd, Options
from federation.lab.etcd_server import EtcdServer


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
def binary(request: pytest.FixtureRequest, lab_binary: Path) -> Path:
    return lab_binary if request.param == "lab" else _system_etcd()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_server(
    binary: Path, tmp_path_factory: pytest.TempPathFactory, quick: tuple[str, ...]
) -> AsyncIterator[EtcdServer]:
    """A server for tests that leave it as it is; each uses a prefix of its own."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd"), binary=binary, arguments=quick)
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


@pytest_asyncio.fixture(loop_scope="session")
async def server(binary: Path, tmp_path: Path, servers: list[EtcdServer], quick: tuple[str, ...]) -> EtcdServer:
    """One member, for this test alone."""
    made = EtcdServer(tmp_path / "etcd", binary=binary, arguments=quick)
    servers.append(made)
    made.start()
    await made.wait_ready()
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def trio(binary: Path, tmp_path: Path, servers: list[EtcdServer], quick: tuple[str, ...]) -> EtcdServer:
    """Three members, for this test alone."""
    return await _three_members(binary, tmp_path, servers, quick)


@pytest_asyncio.fixture(loop_scope="session")
async def lab_trio(lab_binary: Path, tmp_path: Path, servers: list[EtcdServer], quick: tuple[str, ...]) -> EtcdServer:
    """Three members of one version, where the client alone is at test."""
    return await _three_members(lab_binary, tmp_path, servers, quick)


async def _three_members(
    binary: Path, directory: Path, servers: list[EtcdServer], quick: tuple[str, ...]
) -> EtcdServer:
    made = EtcdServer(directory / "etcd", 3, binary=binary, arguments=quick)
    servers.append(made)
    made.start()
    await made.wait_ready()
    return made
