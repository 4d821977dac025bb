# ruff: noqa: E501
"""Wrong MeshConfig, and what is said of them."""

from __future__ import annotations

import pytest

from istiod.api.parse import parse_mesh_config
from tests.istiod.api.wrong.conftest import E, Row, W, check_findings

ROWS: list[Row] = [
    (E, 'trustDomain', "'a_b' is no trust domain", 'trustDomain: a_b'),
    (E, 'trustDomain', "'' is no trust domain", "trustDomain: ''"),
    (E, 'trustDomainAliases[0]', "'a b' is no trust domain", "trustDomainAliases: ['a b']"),
    (E, 'rootNamespace', "'A_b' is no namespace", 'rootNamespace: A_b'),
    (E, 'connectTimeout', 'is shorter than 1ms', 'connectTimeout: 0s'),
    (E, 'connectTimeout', 'is longer than an hour', 'connectTimeout: 2h'),
    (E, 'connectTimeout', '5: a duration like 10s, 1.5s, 100ms or 1h30m is wanted', 'connectTimeout: 5'),
    (E, 'accessLogFormat', "is no format string: '%NOPE%' is no command that Envoy knows", "accessLogFormat: '%NOPE%'"),
    (E, 'accessLogEncoding', "'JSN' is none of TEXT, JSON", 'accessLogEncoding: JSN'),
    (E, 'outboundTrafficPolicy.mode', "'ALLOW' is none of REGISTRY_ONLY, ALLOW_ANY, ALLOW_ANY_DYNAMIC_DNS", 'outboundTrafficPolicy: {mode: ALLOW}'),
    (E, 'localityLbSetting.failover[0].to', "'a' is where it fails over from", 'localityLbSetting: {failover: [{from: a, to: a}]}'),
    (E, 'localityLbSetting.distribute[0].to', 'adds up to 1', 'localityLbSetting: {distribute: [{from: a, to: {b: 1}}]}'),
    (E, 'serviceSettings[0].hosts[0]', "'a_b' is no host", 'serviceSettings: [{hosts: [a_b]}]'),
    (E, 'extensionProviders[0]', 'has no kind of provider', 'extensionProviders: [{name: a}]'),
    (W, 'extensionProviders[0].envoyExtAuthzGrpc.statusOnError', "'299' is no HTTP status that can be answered", 'extensionProviders: [{name: a, envoyExtAuthzGrpc: {service: a.b, port: 80, statusOnError: "299"}}]'),
    (W, 'extensionProviders[0].envoyExtAuthzHttp', "has the name 'Opa'", 'extensionProviders: [{name: Opa, envoyExtAuthzHttp: {service: a.b, port: 80}}]'),
    (E, 'extensionProviders[1].name', "'a' is given twice", 'extensionProviders: [{name: a, prometheus: {}}, {name: a, prometheus: {}}]'),
    (E, 'trustDomian', 'is no field', 'trustDomian: x'),
    (E, 'enableAutoMtls', "'maybe': input should be a valid boolean, unable to interpret input", 'enableAutoMtls: maybe'),
    (E, 'h2UpgradePolicy', 'True is none of DO_NOT_UPGRADE, UPGRADE', 'h2UpgradePolicy: YES'),
    (W, 'certificates', 'has no effect yet', 'certificates: [{secretName: a}]'),
    (W, 'tlsDefaults.cipherSuites[0]', "'NOPE' is unknown and left out", 'tlsDefaults: {cipherSuites: [NOPE]}'),
    (W, 'tlsDefaults.ecdhCurves[0]', "'NOPE' is unknown and left out", 'tlsDefaults: {ecdhCurves: [NOPE]}'),
    (W, 'meshMTLS.ecdhCurves', 'have no effect on mutual TLS of the mesh', 'meshMTLS: {ecdhCurves: [P-256]}'),
    (W, 'defaultTrafficPolicy.loadBalancer', 'has no effect: only connectionPool and outlierDetection have a default', 'defaultTrafficPolicy: {loadBalancer: {simple: RANDOM}}'),
    (E, 'isthmus.defaults', "'none' is none of resilient, istio", 'isthmus: {defaults: none}'),
    (E, 'protocolDetectionTimeout', "'x': a duration like 10s, 1.5s, 100ms or 1h30m is wanted", 'protocolDetectionTimeout: x'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    severity, path, message, text = row
    value, findings = parse_mesh_config(text, "x")
    check_findings("MeshConfig x", findings, severity, path, message)
    assert (value is None) == (severity is E)
