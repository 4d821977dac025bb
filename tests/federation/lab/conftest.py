"""What tests of the lab need: prefixes for namespaces, and labs that are gone when the test is."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation.lab import netns
from federation.lab.lab import Lab


@pytest.fixture
def prefix(machine: None) -> Iterator[str]:
    """A prefix for namespaces, which are removed after the test."""
    name = f"isthmus-test-{uuid.uuid4().hex[:8]}-"
    yield name
    netns.down(name)


@pytest.fixture
def lab(machine: None) -> Iterator[Lab]:
    """A lab that does not exist yet. In a short directory: sockets lie in it."""
    directory = Path(f"/tmp/isthmus-{uuid.uuid4().hex[:8]}")
    made = Lab("t", directory)
    yield made
    made.down()
    directory.rmdir() if directory.exists() else None


@pytest.fixture
def untouched(machine: None) -> Iterator[None]:
    """The machine's own namespace has the same links, rules and routes after the test as before."""
    before = own_network()
    yield
    assert own_network() == before


def own_network() -> list[list[str]]:
    """Links, routes and rules of the machine's own namespace, without counters."""
    commands = (["ip", "-o", "link"], ["ip", "route"], ["iptables-save"], ["sysctl", "net.ipv4.ip_forward"])
    found = [subprocess.run(command, capture_output=True, text=True, check=False).stdout for command in commands]
    return [[line.partition(" [")[0] for line in text.splitlines() if not line.startswith("#")] for text in found]
