# ruff: noqa: E501
"""Wrong Gateway specs, and what is said of them."""

from __future__ import annotations

import pytest

from tests.istiod.api.wrong.conftest import E, Row, W, check

ROWS: list[Row] = [
    (E, 'spec.servers[0].tls.credentialNames', 'has more than 2 entries', 'servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialNames: [a, b, c]}}]'),
    (E, 'spec.servers[0].tls.mode', 'is ISTIO_MUTUAL on a port of protocol HTTP', 'servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.com], tls: {mode: ISTIO_MUTUAL}}]'),
    (E, 'spec.servers', 'is empty', 'servers: []'),
    (E, 'spec.servers', 'is empty', '{}'),
    (E, 'spec.servers[0].port.protocol', "'HTTPX' is unknown", 'servers: [{port: {number: 443, name: p, protocol: HTTPX}, hosts: [a.com]}]'),
    (E, 'spec.servers[0].hosts', 'is empty', 'servers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: []}]'),
    (E, 'spec.servers[0].hosts[0]', "'a*b' is no host", 'servers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: [a*b]}]'),
    (E, 'spec.servers[0].hosts[0]', "'short' is a short name", 'servers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: [short]}]'),
    (E, 'spec.servers[0].hosts[0]', "'*a.com' is no host", "servers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: ['*a.com']}]"),
    (E, 'spec.servers[0].hosts[0]', "'~' is no namespace", "servers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: ['~/a.com']}]"),
    (E, 'spec.servers[0].hosts[0]', "'a_b' is no namespace", 'servers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: [a_b/a.com]}]'),
    (E, 'spec.servers[0].port.name', 'is missing', 'servers: [{port: {number: 80, protocol: HTTP}, hosts: [a.com]}]'),
    (E, 'spec.servers[0].port.number', 'is 0 without a socket as bind', 'servers: [{port: {number: 0, name: a, protocol: HTTP}, hosts: [a.com]}]'),
    (E, 'spec.servers[0].bind', "'x' is no IP address", 'servers: [{port: {number: 80, name: a, protocol: HTTP}, bind: x, hosts: [a.com]}]'),
    (E, 'spec.servers[0].port.number', 'is 80 with a socket as bind', "servers: [{port: {number: 80, name: a, protocol: HTTP}, bind: 'unix:///run/a', hosts: [a.com]}]"),
    (E, 'spec.servers[0].tls', 'has credentialName and serverCertificate', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, serverCertificate: b, privateKey: c}}]'),
    (E, 'spec.servers[0].tls', 'has credentialNames and tlsCertificates', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialNames: [a], tlsCertificates: [{serverCertificate: b, privateKey: c}]}}]'),
    (E, 'spec.servers[0].tls.tlsCertificates[0].privateKey', 'is missing', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, tlsCertificates: [{serverCertificate: b}]}}]'),
    (E, 'spec.servers[0].tls.caCertificates', 'is missing in mode MUTUAL', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: MUTUAL, tlsCertificates: [{serverCertificate: b, privateKey: c}]}}]'),
    (E, 'spec.servers[1].port.name', "'a' is also the port name at spec.servers[0].port.name", 'servers: [{port: {number: 1, name: a, protocol: TCP}, hosts: [a.com]}, {port: {number: 2, name: a, protocol: TCP}, hosts: [a.com]}]'),
    (E, 'spec.servers[0].tls', 'is missing on a port of protocol HTTPS', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com]}]'),
    (E, 'spec.servers[0].tls', 'is SIMPLE without a certificate', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE}}]'),
    (E, 'spec.servers[0].tls.caCertificates', 'is missing in mode MUTUAL', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: MUTUAL, serverCertificate: a, privateKey: b}}]'),
    (E, 'spec.servers[0].tls.minProtocolVersion', "'TLS1' is none of TLS_AUTO, TLSV1_0, TLSV1_1, TLSV1_2, TLSV1_3", 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLS1}}]'),
    (W, 'spec.servers[0].tls.minProtocolVersion', 'is TLSV1_0, and the default suites do not fit it', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_0}}]'),
    (W, 'spec.servers[0].tls.cipherSuites[0]', "'NOPE' is unknown and left out", 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, cipherSuites: [NOPE]}}]'),
    (W, 'spec.servers[0].tls.cipherSuites[1]', "'AES128-SHA' is listed twice", 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, cipherSuites: [AES128-SHA, AES128-SHA]}}]'),
    (E, 'spec.servers[0].tls.verifyCertificateHash[0]', "'ab' is no SHA-256", 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, verifyCertificateHash: [ab]}}]'),
    (E, 'spec.servers[0].tls.verifyCertificateSpki[0]', "'ab' is no SHA-256", 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, verifyCertificateSpki: [ab]}}]'),
    (E, 'spec.servers[0].tls.credentialName', "is given in mode ISTIO_MUTUAL, which uses the mesh's certificates", 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: ISTIO_MUTUAL, credentialName: a}}]'),
    (W, 'spec.servers[0].tls.credentialName', 'is given in mode PASSTHROUGH, which uses no certificates', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: PASSTHROUGH, credentialName: a}}]'),
    (E, 'spec.servers[0].tls.caCrl', 'is given in mode SIMPLE, which asks for no certificates', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, serverCertificate: a, privateKey: b, caCrl: c}}]'),
    (W, 'spec.servers[0].tls.httpsRedirect', 'is given on a port of protocol HTTPS, where nothing is redirected', 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a, httpsRedirect: true}}]'),
    (E, 'spec.servers[0].tls.mode', 'is SIMPLE on a port of protocol HTTP', 'servers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: a}}]'),
    (E, 'spec.servers[0].tls', 'is given on a port of protocol TCP', 'servers: [{port: {number: 443, name: p, protocol: TCP}, hosts: [a.com], tls: {mode: PASSTHROUGH}}]'),
    (E, 'spec.servers[0].tls.mode', "'SIMPEL' is none of PASSTHROUGH, SIMPLE, MUTUAL, AUTO_PASSTHROUGH, ISTIO_MUTUAL, OPTIONAL_MUTUAL", 'servers: [{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPEL}}]'),
    (E, 'spec.selector', 'a list is no mapping', 'selector: [a]\nservers: [{port: {number: 443, name: p, protocol: HTTP}, hosts: [a.com]}]'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("Gateway", row)
