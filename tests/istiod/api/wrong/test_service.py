# ruff: noqa: E501
"""Wrong Service specs, and what is said of them."""

from __future__ import annotations

import pytest

from tests.istiod.api.wrong.conftest import E, Row, check

ROWS: list[Row] = [
    (E, 'spec.ports[0].port', '0: input should be greater than or equal to 1', 'ports: [{port: 0}]'),
    (E, 'spec.ports[0].port', '70000: input should be less than or equal to 65535', 'ports: [{port: 70000}]'),
    (E, 'spec.ports[0].port', 'is missing', 'ports: [{}]'),
    (E, 'spec.ports', 'a mapping is no list', 'ports: {port: 80}'),
    (E, 'spec.ports[0].port', "'web': input should be a valid integer, unable to parse string as an integer", 'ports: [{port: web}]'),
    (E, 'spec.ports[0].targetPort', 'a list: input should be a valid integer', 'ports: [{port: 80, targetPort: [1]}]'),
    (E, 'spec.ports[0].name', '5 is no text', 'ports: [{port: 80, name: 5}]'),
    (E, 'spec.selector', 'a list is no mapping', 'selector: [a]'),
    (E, 'spec.selector.a', '1 is no text', 'selector: {a: 1}'),
    (E, 'spec.clusterIP', '5 is no text', 'clusterIP: 5'),
    (E, 'spec.clusterIPs', "'10.0.0.1' is no list", 'clusterIPs: 10.0.0.1'),
    (E, 'spec.type', '5 is no text', 'type: 5'),
    (E, 'spec.externalName', 'a mapping: input should be a valid string', 'externalName: {a: b}'),
    (E, 'spec.externalIPs', "'x' is no list", 'externalIPs: x'),
    (E, 'spec.publishNotReadyAddresses', "'maybe': input should be a valid boolean, unable to interpret input", 'publishNotReadyAddresses: maybe'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("Service", row)
