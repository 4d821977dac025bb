# ruff: noqa: E501
"""Wrong DestinationRule specs, and what is said of them."""

from __future__ import annotations

import pytest

from tests.istiod.api.wrong.conftest import E, Row, W, check

ROWS: list[Row] = [
    (E, 'spec.host', 'is empty', "host: ''"),
    (E, 'spec.host', "'a_b' is no host", 'host: a_b'),
    (E, 'spec.subsets[0].name', 'is missing', 'host: a.com\nsubsets: [{labels: {a: b}}]'),
    (E, 'spec.subsets[0].name', "'a|b' is no name", "host: a.com\nsubsets: [{name: 'a|b'}]"),
    (E, 'spec.subsets[0].name', "'v.1' is no name", 'host: a.com\nsubsets: [{name: v.1}]'),
    (E, 'spec.subsets[1].name', "'v1' is also the subset name at spec.subsets[0].name", 'host: a.com\nsubsets: [{name: v1}, {name: v1}]'),
    (E, 'spec.subsets[0].labels.a', "'b c' is no value of a label", "host: a.com\nsubsets: [{name: v1, labels: {a: 'b c'}}]"),
    (E, 'spec.subsets[0].labels.a', '1 is no text', 'host: a.com\nsubsets: [{name: v1, labels: {a: 1}}]'),
    (E, 'spec.subsets[0].trafficPolicy', 'is empty', 'host: a.com\nsubsets: [{name: v1, trafficPolicy: {}}]'),
    (E, 'spec.trafficPolicy', 'is empty', 'host: a.com\ntrafficPolicy: {}'),
    (E, 'spec.trafficPolicy.loadBalancer', 'has both simple and consistentHash', 'host: a.com\ntrafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, consistentHash: {useSourceIp: true}}}'),
    (W, 'spec.trafficPolicy.loadBalancer.consistentHash', 'has none of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName, so nothing is hashed', 'host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {ringHash: {}}}}'),
    (W, 'spec.trafficPolicy.loadBalancer.consistentHash', 'has none of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName, so nothing is hashed', 'host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: false}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.consistentHash', 'has more than one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName', 'host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, httpHeaderName: x}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.name', 'is empty', "host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: '', ttl: 1s}}}}"),
    (W, 'spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize', 'is deprecated', 'host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 5}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.consistentHash', 'has ringHash and maglev', 'host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {}, maglev: {}}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize', '1000 is no prime number up to 5000011', 'host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 1000}}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.simple', "'ROUND_ROBN' is none of UNSPECIFIED, RANDOM, PASSTHROUGH, ROUND_ROBIN, LEAST_REQUEST, LEAST_CONN", 'host: a.com\ntrafficPolicy: {loadBalancer: {simple: ROUND_ROBN}}'),
    (E, 'spec.trafficPolicy.loadBalancer.warmupDurationSecs', 'is given together with warmup', 'host: a.com\ntrafficPolicy: {loadBalancer: {warmup: {duration: 1s}, warmupDurationSecs: 1s}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to', 'adds up to 60', 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 60}}]}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to[c]', 'is 0', 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100, c: 0}}]}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute', "'a//b' is no locality", "host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {distribute: [{from: 'a//b', to: {b: 100}}]}}}"),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to', "'b/c' and 'b' overlap", 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 50, b/c: 50}}]}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute', "'a/b' and 'a' overlap", 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100}}, {from: a/b, to: {b: 100}}]}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].to', "'a' is where it fails over from", 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].from', "'a/b' is no region", 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {failover: [{from: a/b, to: c}]}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting', 'has both distribute and failover', 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}}}'),
    (W, 'spec.trafficPolicy.loadBalancer.localityLbSetting.failoverPriority', 'has no effect beside distribute', 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100}}], failoverPriority: [x]}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.localityLbSetting.failoverPriority', 'orders by topology, as failover does', 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}, loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}], failoverPriority: [topology.kubernetes.io/region]}}}'),
    (W, 'spec.trafficPolicy.outlierDetection', 'is missing, so locality failover has no signal of its own', 'host: a.com\ntrafficPolicy: {loadBalancer: {localityLbSetting: {failoverPriority: [a]}}}'),
    (E, 'spec.trafficPolicy.outlierDetection.interval', 'is shorter than 1ms', 'host: a.com\ntrafficPolicy: {outlierDetection: {interval: 0s}}'),
    (W, 'spec.trafficPolicy.outlierDetection.consecutiveErrors', 'is deprecated and has no effect', 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutiveErrors: 1}}'),
    (E, 'spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures', 'counts only with splitExternalLocalOriginErrors', 'host: a.com\ntrafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 1}}'),
    (E, 'spec.trafficPolicy.outlierDetection.maxEjectionPercent', '101: input should be less than or equal to 100', 'host: a.com\ntrafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}'),
    (E, 'spec.trafficPolicy.connectionPool', 'is empty', 'host: a.com\ntrafficPolicy: {connectionPool: {}}'),
    (E, 'spec.trafficPolicy.connectionPool.tcp.maxConnections', '-1: input should be greater than or equal to 0', 'host: a.com\ntrafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}'),
    (E, 'spec.trafficPolicy.connectionPool.tcp.connectTimeout', 'is shorter than 1ms', 'host: a.com\ntrafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}'),
    (E, 'spec.trafficPolicy.connectionPool.tcp.maxConnectionDuration', 'is shorter than 1ms', 'host: a.com\ntrafficPolicy: {connectionPool: {tcp: {maxConnectionDuration: 0s}}}'),
    (E, 'spec.trafficPolicy.connectionPool.http.useClientProtocol', 'is true, and h2UpgradePolicy is UPGRADE', 'host: a.com\ntrafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}'),
    (E, 'spec.trafficPolicy.connectionPool.tcp.connectTimeout', 'has parts of a millisecond', 'host: a.com\ntrafficPolicy: {connectionPool: {tcp: {connectTimeout: 1.5ms}}}'),
    (E, 'spec.trafficPolicy.tls', 'is MUTUAL without clientCertificate and privateKey, or credentialName', 'host: a.com\ntrafficPolicy: {tls: {mode: MUTUAL}}'),
    (W, 'spec.trafficPolicy.tls', "is ISTIO_MUTUAL, which uses the mesh's certificates, and names others", 'host: a.com\ntrafficPolicy: {tls: {mode: ISTIO_MUTUAL, caCertificates: x}}'),
    (E, 'spec.trafficPolicy.tls.credentialName', 'is given together with files', 'host: a.com\ntrafficPolicy: {tls: {mode: SIMPLE, credentialName: a, caCertificates: b}}'),
    (E, 'spec.trafficPolicy.tls.subjectAltNames', 'is given, and insecureSkipVerify is true', 'host: a.com\ntrafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]}}'),
    (E, 'spec.trafficPolicy.tls.mode', "'SIMPLY' is none of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL", 'host: a.com\ntrafficPolicy: {tls: {mode: SIMPLY}}'),
    (E, 'spec.trafficPolicy.portLevelSettings[0].port', 'is missing', 'host: a.com\ntrafficPolicy: {portLevelSettings: [{tls: {mode: DISABLE}}]}'),
    (E, 'spec.trafficPolicy.portLevelSettings[0]', 'is empty', 'host: a.com\ntrafficPolicy: {portLevelSettings: [{port: {number: 1}}]}'),
    (W, 'spec.trafficPolicy.portLevelSettings[1].port.number', '1 is also the port number at spec.trafficPolicy.portLevelSettings[0].port.number', 'host: a.com\ntrafficPolicy: {portLevelSettings: [{port: {number: 1}, tls: {mode: DISABLE}}, {port: {number: 1}, tls: {mode: DISABLE}}]}'),
    (E, 'spec.trafficPolicy.tunnel.protocol', "'GET' is unknown", 'host: a.com\ntrafficPolicy: {tunnel: {protocol: GET, targetHost: a, targetPort: 1}}'),
    (E, 'spec.trafficPolicy.tunnel.targetHost', "'*.a' is no host", "host: a.com\ntrafficPolicy: {tunnel: {targetHost: '*.a', targetPort: 1}}"),
    (E, 'spec.trafficPolicy.proxyProtocol', 'is given together with tunnel', 'host: a.com\ntrafficPolicy: {tunnel: {targetHost: a, targetPort: 1}, proxyProtocol: {version: V1}}'),
    (E, 'spec.exportTo[0]', "'~' is for services alone", "host: a.com\nexportTo: ['~']"),
    (E, 'spec.exportTo', 'reaches other namespaces, where a rule with workloadSelector does not count', "host: a.com\nworkloadSelector: {matchLabels: {a: b}}\nexportTo: ['*']"),
    (E, 'spec.exportTo', 'reaches other namespaces, where a rule with workloadSelector does not count', "host: a.com\nworkloadSelector: {matchLabels: {a: b}}\nexportTo: [other]"),
    (E, 'spec.trafficPolicy.connectionPool.http.idleTimeout', 'has parts of a millisecond', 'host: a.com\ntrafficPolicy: {connectionPool: {http: {idleTimeout: 1.0000001s}}}'),
    (E, 'spec.trafficPolicy.connectionPool.http.http2KeepAlive.timeout', 'is shorter than 1ms', 'host: a.com\ntrafficPolicy: {connectionPool: {http: {http2KeepAlive: {interval: 1s, timeout: 0s}}}}'),
    (W, 'spec.trafficPolicy.connectionPool.http.http2KeepAlive.timeout', 'is missing, which Istio refuses', 'host: a.com\ntrafficPolicy: {connectionPool: {http: {http2KeepAlive: {interval: 1s}}}}'),
    (E, 'spec.trafficPolicy.loadBalancer', 'has both localityLbSetting and zoneAwareLbSetting', 'host: a.com\ntrafficPolicy: {loadBalancer: {localityLbSetting: {enabled: true}, zoneAwareLbSetting: {enabled: true}}}'),
    (E, 'spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[1].name', "'SameSite' is listed twice", 'host: a.com\ntrafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 1s, attributes: [{name: SameSite, value: Lax}, {name: SameSite}]}}}}'),
    (E, 'spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes[0]', '99: input should be greater than or equal to 100', 'host: a.com\ntrafficPolicy: {outlierDetection: {outlierDetectionHttpErrorCodes: [99]}}'),
    (W, 'spec.trafficPolicy.connectionPool.http.http2KeepAlive.interval', 'is missing, so no pings are sent', 'host: a.com\ntrafficPolicy: {connectionPool: {http: {http2KeepAlive: {timeout: 1s}}}}'),
    (W, 'spec.workloadSelector', 'selects nothing', 'host: a.com\nworkloadSelector: {}'),
    (E, 'spec.workloadSelector.matchLabels.a', 'has a wildcard or no key, which labels do not know', "host: a.com\nworkloadSelector: {matchLabels: {a: 'b*'}}"),
    (E, 'spec.workloadSelector.labels', 'is no field', 'host: a.com\nworkloadSelector: {labels: {a: b}}'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("DestinationRule", row)
