# ruff: noqa: E501
"""Wrong MeshNetworks, and what is said of them."""

from __future__ import annotations

import pytest

from istiod.api.parse import parse_mesh_networks
from tests.istiod.api.wrong.conftest import E, Row, check_findings

ROWS: list[Row] = [
    (E, 'networks', 'a list is no mapping', 'networks: []'),
    (E, 'networks.n.endpoints[0]', 'needs exactly one of fromCidr and fromRegistry', 'networks: {n: {endpoints: [{}]}}'),
    (E, 'networks.n.endpoints[0]', 'needs exactly one of fromCidr and fromRegistry', 'networks: {n: {endpoints: [{fromCidr: 10.0.0.0/8, fromRegistry: a}]}}'),
    (E, 'networks.n.endpoints[0].fromCidr', "'10.0.0.300' is no CIDR", 'networks: {n: {endpoints: [{fromCidr: 10.0.0.300}]}}'),
    (E, 'networks.n.endpoints[0].fromCidr', "'x' is no CIDR", 'networks: {n: {endpoints: [{fromCidr: x}]}}'),
    (E, 'networks.n.endpoints[0].fromRegistry', "'a_b' is no name of a cluster", 'networks: {n: {endpoints: [{fromRegistry: a_b}]}}'),
    (E, 'networks.n.gateways[0]', 'needs exactly one of address and registryServiceName', 'networks: {n: {gateways: [{port: 1}]}}'),
    (E, 'networks.n.gateways[0]', 'needs exactly one of address and registryServiceName', 'networks: {n: {gateways: [{port: 1, address: 1.1.1.1, registryServiceName: a.b.svc.cluster.local}]}}'),
    (E, 'networks.n.gateways[0].port', 'is missing', 'networks: {n: {gateways: [{address: 1.1.1.1}]}}'),
    (E, 'networks.n.gateways[0].port', '0: input should be greater than or equal to 1', 'networks: {n: {gateways: [{address: 1.1.1.1, port: 0}]}}'),
    (E, 'networks.n.gateways[0].port', '70000: input should be less than or equal to 65535', 'networks: {n: {gateways: [{address: 1.1.1.1, port: 70000}]}}'),
    (E, 'networks.n.gateways[0].address', "'a b' is no address", "networks: {n: {gateways: [{address: 'a b', port: 1}]}}"),
    (E, 'networks.n.gateways[0].registryServiceName', "'a b' is no address", "networks: {n: {gateways: [{registryServiceName: 'a b', port: 1}]}}"),
    (E, 'networks.n.gateway', 'is no field', 'networks: {n: {gateway: []}}'),
    (E, 'networks.n.endpoints', 'a mapping is no list', 'networks: {n: {endpoints: {fromCidr: 10.0.0.0/8}}}'),
    (E, 'network', 'is no field', 'network: {}'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    severity, path, message, text = row
    value, findings = parse_mesh_networks(text, "x")
    check_findings("MeshNetworks x", findings, severity, path, message)
    assert (value is None) == (severity is E)
