# ruff: noqa: E501
"""Wrong Sidecar specs, and what is said of them."""

from __future__ import annotations

import pytest

from tests.istiod.api.wrong.conftest import E, Row, W, check

ROWS: list[Row] = [
    (E, 'spec', 'is empty', '{}'),
    (W, 'spec.workloadSelector', 'has no labels, so the Sidecar is for the whole namespace', "workloadSelector: {}\negress: [{hosts: ['*/*']}]"),
    (E, 'spec.workloadSelector.labels.a', 'has a wildcard or no key, which labels do not know', "workloadSelector: {labels: {a: '*'}}\negress: [{hosts: ['*/*']}]"),
    (E, 'spec.outboundTrafficPolicy.egressProxy', 'is given in mode REGISTRY_ONLY', 'outboundTrafficPolicy: {egressProxy: {host: a, port: {number: 1}}}'),
    (E, 'spec.outboundTrafficPolicy.egressProxy.port', 'is missing', 'outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a}}'),
    (E, 'spec.outboundTrafficPolicy.egressProxy.host', "'*' is no host", "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: '*', port: {number: 1}}}"),
    (E, 'spec.outboundTrafficPolicy.mode', "'ALLOW' is none of REGISTRY_ONLY, ALLOW_ANY", 'outboundTrafficPolicy: {mode: ALLOW}'),
    (E, 'spec.egress[0].hosts[0]', "'a' has not the form namespace/host", 'egress: [{hosts: [a]}]'),
    (E, 'spec.egress[0].hosts', 'is empty', 'egress: [{hosts: []}]'),
    (E, 'spec.egress[0].hosts', 'is missing', 'egress: [{}]'),
    (E, 'spec.egress[0].hosts[0]', "'short' is a short name", 'egress: [{hosts: [a/short]}]'),
    (E, 'spec.egress[0].hosts[0]', "'a_b' is no namespace", 'egress: [{hosts: [a_b/*]}]'),
    (E, 'spec.egress[0].hosts[0]', "'*b.com' is no host", "egress: [{hosts: ['a/*b.com']}]"),
    (E, 'spec.egress[0].hosts[0]', "'b c' is no host", "egress: [{hosts: ['a/b c']}]"),
    (W, 'spec.egress[0].hosts[1]', "'a/*' is imported already", "egress: [{hosts: ['a/*', 'a/*']}]"),
    (W, 'spec.egress[0].hosts[1]', "'./*' is imported already", "egress: [{hosts: ['*/*', './*']}]"),
    (E, 'spec.egress[0]', 'has no port but is not the last', "egress: [{hosts: ['*/*']}, {hosts: ['*/*']}]"),
    (E, 'spec.egress[1].port.number', '1 is also the port number at spec.egress[0].port.number', "egress: [{port: {number: 1}, hosts: ['*/*']}, {port: {number: 1}, hosts: ['*/*']}]"),
    (E, 'spec.egress[0].port.protocol', "'HTPP' is unknown", "egress: [{port: {number: 1, protocol: HTPP}, hosts: ['*/*']}]"),
    (E, 'spec.egress[0].port.name', "'a b' is no name of a port", "egress: [{port: {number: 1, name: 'a b'}, hosts: ['*/*']}]"),
    (E, 'spec.egress[0].bind', "'x' is no IP address", "egress: [{port: {number: 1}, bind: x, hosts: ['*/*']}]"),
    (E, 'spec.egress[0].bind', "'' is no socket, and the port is 0", "egress: [{port: {number: 0}, hosts: ['*/*']}]"),
    (E, 'spec.egress[0].captureMode', 'is IPTABLES with a socket', "egress: [{bind: 'unix:///a', port: {number: 0}, captureMode: IPTABLES, hosts: ['*/*']}]"),
    (E, 'spec.egress[0].captureMode', "'SOME' is none of DEFAULT, IPTABLES, NONE", "egress: [{captureMode: SOME, hosts: ['*/*']}]"),
    (E, 'spec.ingress[0].defaultEndpoint', "'10.0.0.1:80' is no endpoint of the workload", "ingress: [{port: {number: 80}, defaultEndpoint: '10.0.0.1:80'}]"),
    (E, 'spec.ingress[0].port.number', 'is missing', "ingress: [{port: {}, defaultEndpoint: ''}]"),
    (E, 'spec.ingress[0].bind', "'x' is no IP address", 'ingress: [{port: {number: 80}, bind: x}]'),
    (E, 'spec.outboundTrafficPolicy.egressProxy.subset', "'a b' is no name", "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.com, subset: 'a b', port: {number: 80}}}"),
    (E, 'spec.ingress[0].tls.mode', 'is ISTIO_MUTUAL, which is for gateways', 'ingress: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]'),
    (E, 'spec.ingress[0].tls.credentialName', 'is not supported at a sidecar', 'ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: a}}]'),
    (E, 'spec.ingress[0].tls.credentialNames', 'is not supported at a sidecar', 'ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, credentialNames: [a]}}]'),
    (E, 'spec.ingress[0].tls.tlsCertificates', 'is not supported at a sidecar', 'ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, tlsCertificates: [{serverCertificate: a, privateKey: b}]}}]'),
    (E, 'spec.ingress[0].defaultEndpoint', "'unix:///' is no endpoint of the workload", "ingress: [{port: {number: 80}, defaultEndpoint: 'unix:///'}]"),
    (E, 'spec.egress[1].port.number', "'unix:///a:0' is also the port number at spec.egress[0].port.number", "egress: [{port: {number: 0}, bind: 'unix:///a', hosts: ['*/*']}, {port: {number: 0}, bind: 'unix:///a', hosts: ['*/*']}]"),
    (E, 'spec.ingress[0].tls', 'is given on a port of protocol HTTP', 'ingress: [{port: {number: 80, protocol: HTTP}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b}}]'),
    (E, 'spec.ingress[0].tls', 'is SIMPLE without a certificate', 'ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE}}]'),
    (E, 'spec.ingress[0].connectionPool', 'is empty', 'ingress: [{port: {number: 80}, connectionPool: {}}]'),
    (E, 'spec.inboundConnectionPool', 'is empty', 'inboundConnectionPool: {}'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("Sidecar", row)
