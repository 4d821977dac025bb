"""A gateway's settings, as its command line would make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from eastwest_gateway.settings import Settings
from federation.model.locality import Locality
from federation.model.workload import NetworkGateway
from federation.runtime.address import Address


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """One gateway of west."""
    return Settings(
        name="gw-1",
        mesh="demo",
        gateway=NetworkGateway("net-west", "west", "203.0.113.7", 15443, Locality("eu-west", "a"), 3),
        xds=Address("127.0.0.1", 15012),
        xds_server_name="istiod.istio-system.svc",
        trust_domain="west.demo",
        root_cert=tmp_path / "root.pem",
        token_file=tmp_path / "token",
        state=tmp_path / "state",
        envoy="envoy",
        http=None,
    )
