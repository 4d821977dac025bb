# ruff: noqa: E501
"""Wrong WorkloadEntry specs, and what is said of them."""

from __future__ import annotations

import pytest

from tests.istiod.api.wrong.conftest import E, Row, check

ROWS: list[Row] = [
    (E, 'spec.address', 'is empty', '{}'),
    (E, 'spec.address', "'a_b' is neither an IP address nor a host name", 'address: a_b'),
    (E, 'spec.address', "'unix://a' is no absolute path of a socket", "address: 'unix://a'"),
    (E, 'spec.address', "'unix:///a/' is no absolute path of a socket", "address: 'unix:///a/'"),
    (E, 'spec.ports', 'are given with a unix:// address', "address: 'unix:///a'\nports: {http: 1}"),
    (E, 'spec.ports.HTTP', 'is no name of a port', 'address: 1.1.1.1\nports: {HTTP: 1}'),
    (E, 'spec.ports.http', '0: input should be greater than or equal to 1', 'address: 1.1.1.1\nports: {http: 0}'),
    (E, 'spec.ports.http', '70000: input should be less than or equal to 65535', 'address: 1.1.1.1\nports: {http: 70000}'),
    (E, 'spec.ports.http', "'web': input should be a valid integer, unable to parse string as an integer", 'address: 1.1.1.1\nports: {http: web}'),
    (E, 'spec.labels.a b', 'is no key of a label', "address: 1.1.1.1\nlabels: {'a b': c}"),
    (E, 'spec.labels.a', "'b c' is no value of a label", "address: 1.1.1.1\nlabels: {a: 'b c'}"),
    (E, 'spec.labels.a', '1 is no text', 'address: 1.1.1.1\nlabels: {a: 1}'),
    (E, 'spec.weight', '-1: input should be greater than or equal to 0', 'address: 1.1.1.1\nweight: -1'),
    (E, 'spec.weight', "'many': input should be a valid integer, unable to parse string as an integer", 'address: 1.1.1.1\nweight: many'),
    (E, 'spec.adress', 'is no field', 'address: 1.1.1.1\nadress: x'),
    (E, 'spec.address', 'a list: input should be a valid string', 'address: [1.1.1.1]'),
    (E, 'spec.labels', 'a list is no mapping', 'address: 1.1.1.1\nlabels: [a]'),
    (E, 'spec.serviceAccount', '5 is no text', 'address: 1.1.1.1\nserviceAccount: 5'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("WorkloadEntry", row)
