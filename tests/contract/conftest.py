"""What all contract tests share: the real etcd of the lab.

All tests here share one event loop: gRPC hands late events of a closed loop to the next one, which logs errors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.lab.etcd_server import EtcdServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Arguments of an etcd with elections in a few hundred milliseconds, and leases as short as one second."""
    return ("--heartbeat-interval=25", "--election-timeout=250")


@pytest.fixture(scope="session")
def lab_binary() -> Path:
    """etcd 3.5, from the lab extra."""
    return Path(sys.executable).parent / "etcd"


@pytest.fixture
def servers() -> Iterator[list[EtcdServer]]:
    """Servers put in here end with the test."""
    started: list[EtcdServer] = []
    yield started
    for server in started:
        server.kill()
