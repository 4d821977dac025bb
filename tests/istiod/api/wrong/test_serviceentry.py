# ruff: noqa: E501
"""Wrong ServiceEntry specs, and what is said of them."""

from __future__ import annotations

import pytest

from tests.istiod.api.wrong.conftest import E, Row, W, check

ROWS: list[Row] = [
    (E, 'spec.hosts', 'is empty', 'hosts: []\nports: [{number: 80, name: http}]'),
    (E, 'spec.hosts', 'is missing', 'ports: []'),
    (E, 'spec.hosts[0]', "'*' is no host", "hosts: ['*']\nports: [{number: 80, name: http}]"),
    (E, 'spec.hosts[0]', "'a_b' is no host", "hosts: ['a_b']\nports: [{number: 80, name: http}]"),
    (W, 'spec.hosts[0]', "'*a.com' has a part of a name behind the wildcard", "hosts: ['*a.com']\nports: [{number: 80, name: http}]"),
    (E, 'spec.hosts[0]', "'*.a.com' cannot be looked up in DNS", "hosts: ['*.a.com']\nresolution: DNS\nports: [{number: 80, name: h}]"),
    (W, 'spec.ports', 'is empty', 'hosts: [a.com]'),
    (E, 'spec.ports[0].name', 'is missing', 'hosts: [a.com]\nports: [{number: 80}]'),
    (E, 'spec.ports[0].name', "'a b' is no name of a port", "hosts: [a.com]\nports: [{number: 80, name: 'a b'}]"),
    (E, 'spec.ports[0].protocol', "'HTPP' is unknown", 'hosts: [a.com]\nports: [{number: 80, name: a, protocol: HTPP}]'),
    (E, 'spec.ports[1].number', '80 is also the port number at spec.ports[0].number', 'hosts: [a.com]\nports: [{number: 80, name: a}, {number: 80, name: b}]'),
    (E, 'spec.ports[1].name', "'a' is also the port name at spec.ports[0].name", 'hosts: [a.com]\nports: [{number: 80, name: a}, {number: 81, name: a}]'),
    (E, 'spec.ports[0].number', '70000: input should be less than or equal to 65535', 'hosts: [a.com]\nports: [{number: 70000, name: a}]'),
    (E, 'spec.addresses[0]', "'10.0.0.300' is neither an IP address nor a CIDR", 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\naddresses: [10.0.0.300]'),
    (E, 'spec.addresses[0]', "'10.0.0.0/8' is a CIDR, with resolution DNS", 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\naddresses: [10.0.0.0/8]\nresolution: DNS'),
    (E, 'spec.resolution', "'STATC' is none of NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS", 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATC'),
    (W, 'spec.endpoints', 'is empty with resolution STATIC', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC'),
    (E, 'spec.endpoints', 'are given with resolution NONE', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nendpoints: [{address: 1.1.1.1}]'),
    (E, 'spec.endpoints[0].address', "'b.com' is no IP address", 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: b.com}]'),
    (E, 'spec.endpoints[0].address', 'is empty', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{}]'),
    (E, 'spec.endpoints[0].weight', '-1: input should be greater than or equal to 0', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 1.1.1.1, weight: -1}]'),
    (E, 'spec.endpoints[0].ports', "'grpc' is no port of the entry", 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 1.1.1.1, ports: {grpc: 1}}]'),
    (E, 'spec.endpoints[0].ports', 'are given with a unix:// address', "hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 'unix:///a', ports: {http: 1}}]"),
    (E, 'spec.endpoints[0].address', 'is a socket, and the entry has not exactly one port', "hosts: [a.com]\nresolution: STATIC\nports: [{number: 80, name: a}, {number: 81, name: b}]\nendpoints: [{address: 'unix:///a'}]"),
    (E, 'spec.endpoints', 'are given together with workloadSelector', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 1.1.1.1}]\nworkloadSelector: {labels: {a: b}}'),
    (W, 'spec.workloadSelector', 'is given with resolution NONE', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nworkloadSelector: {labels: {a: b}}'),
    (W, 'spec.workloadSelector', 'has no labels, so it selects nothing', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nworkloadSelector: {}'),
    (E, 'spec.workloadSelector.labels.a', 'has a wildcard or no key, which labels do not know', "hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: STATIC\nworkloadSelector: {labels: {a: '*'}}"),
    (E, 'spec.ports[0].protocol', "'TCP' shows no name to look up, with resolution DYNAMIC_DNS", "hosts: ['*.a.com']\nresolution: DYNAMIC_DNS\nports: [{number: 9000, name: tcp, protocol: TCP}]"),
    (E, 'spec.hosts[0]', "'a.com' is one name, with resolution DYNAMIC_DNS", 'hosts: [a.com]\nresolution: DYNAMIC_DNS\nports: [{number: 443, name: tls, protocol: TLS}]'),
    (E, 'spec.addresses', 'are given with resolution DYNAMIC_DNS', "hosts: ['*.a.com']\naddresses: [10.0.0.1]\nresolution: DYNAMIC_DNS\nports: [{number: 443, name: tls, protocol: TLS}]"),
    (E, 'spec.endpoints', 'is given with resolution DYNAMIC_DNS', "hosts: ['*.a.com']\nresolution: DYNAMIC_DNS\nports: [{number: 443, name: tls, protocol: TLS}]\nendpoints: [{address: 1.1.1.1}]"),
    (E, 'spec.endpoints', 'are several with resolution DNS_ROUND_ROBIN', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: DNS_ROUND_ROBIN\nendpoints: [{address: a.b}, {address: a.c}]'),
    (W, 'spec.ports[0].protocol', 'shows no name by which the hosts of the entry could be told apart, so Istio refuses it', 'hosts: [a.com, b.com]\nresolution: DNS\nports: [{number: 80, name: a, protocol: TCP}]'),
    (E, 'spec.endpoints[0].address', 'is a socket, with resolution DNS', "hosts: [a.com]\nresolution: DNS\nports: [{number: 80, name: a, protocol: HTTP}]\nendpoints: [{address: 'unix:///a'}]"),
    (E, 'spec.exportTo[0]', "'A/b' is no namespace", 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nexportTo: [A/b]'),
    (E, 'spec.exportTo[0]', "'~' stands beside others", "hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nexportTo: ['~', a]"),
    (E, 'spec.resolutoin', 'is no field', 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolutoin: DNS'),
    (E, 'spec.location', "'MESH' is none of MESH_EXTERNAL, MESH_INTERNAL", 'hosts: [a.com]\nports: [{number: 80, name: http, protocol: HTTP}]\nlocation: MESH'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("ServiceEntry", row)
