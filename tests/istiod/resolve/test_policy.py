"""The traffic policy in force for an upstream, in upstream settings."""

from __future__ import annotations

from federation.model.service import Protocol
from istiod.api.destinationrule import TLSMode, TrafficPolicy
from istiod.resolve.defaults import ISTIO
from istiod.resolve.hashing import hash_policies
from istiod.resolve.locality import NO_POLICY
from istiod.resolve.policy import balancing_of, effective_policy, http_of, outlier_of, said_tls_mode


def test_the_old_name_of_a_threshold_leaves_envoys_own_in_force():
    policy = TrafficPolicy.model_validate({"outlierDetection": {"consecutiveErrors": 1, "interval": "1s"}})
    spec = outlier_of(policy, ISTIO)
    assert (spec.consecutive_5xx, spec.consecutive_gateway_failure, spec.interval) == (None, None, 1.0)


def test_a_connections_life_is_limited_without_http_settings_too():
    policy = TrafficPolicy.model_validate({"connectionPool": {"tcp": {"maxConnectionDuration": "5s"}}})
    assert http_of(policy.connection_pool, Protocol.HTTP).max_connection_duration == 5.0


def test_pings_of_a_pool_reach_the_upstream_settings():
    said = TrafficPolicy.model_validate(
        {"connectionPool": {"http": {"http2KeepAlive": {"interval": "30s", "timeout": "5s"}}}}
    )
    made = http_of(said.connection_pool, Protocol.HTTP2)
    assert (made.keepalive_interval, made.keepalive_timeout) == (30.0, 5.0)


def test_no_count_of_local_failures_leaves_envoys_own_in_force():
    said = {"splitExternalLocalOriginErrors": True, "consecutiveLocalOriginFailures": 0}
    spec = outlier_of(TrafficPolicy.model_validate({"outlierDetection": said}), ISTIO)
    assert (spec.split_external_local_origin_errors, spec.consecutive_local_origin_failure) == (True, None)


def policy(**fields) -> TrafficPolicy:
    return TrafficPolicy.model_validate(fields)


def port(number: int, **fields) -> dict:
    return {"port": {"number": number}, **fields}


POOL, OTHER_POOL = {"http": {"http2MaxRequests": 1}}, {"http": {"http2MaxRequests": 2}}


def test_a_port_level_replaces_its_own_level_and_a_subset_adds_to_it():
    top = policy(
        connectionPool=POOL,
        tls={"mode": "DISABLE"},
        portLevelSettings=[port(80, loadBalancer={"simple": "RANDOM"})],
    )
    found = effective_policy(top, None, 80)
    assert (found.connection_pool, found.tls, found.load_balancer.simple) == (None, None, "RANDOM")
    assert effective_policy(top, None, 81).connection_pool.http.http2_max_requests == 1
    found = effective_policy(top, policy(connectionPool=OTHER_POOL), 80)
    assert (found.connection_pool.http.http2_max_requests, found.load_balancer.simple) == (2, "RANDOM")


def test_a_port_level_of_a_subset_replaces_the_top_level_too():
    top = policy(connectionPool=POOL, proxyProtocol={"version": "V2"}, loadBalancer={"simple": "RANDOM"})
    subset = policy(portLevelSettings=[port(80, loadBalancer={"simple": "ROUND_ROBIN"})])
    found = effective_policy(top, subset, 80)
    assert (found.connection_pool, found.load_balancer.simple) == (None, "ROUND_ROBIN")
    assert found.proxy_protocol.version == "V2"
    assert effective_policy(top, subset, 81).connection_pool.http.http2_max_requests == 1


def test_a_port_level_keeps_the_tunnel_which_it_cannot_name():
    top = policy(
        tunnel={"targetHost": "a.test", "targetPort": 443},
        proxyProtocol={"version": "V2"},
        portLevelSettings=[port(80, connectionPool=POOL)],
    )
    found = effective_policy(top, None, 80)
    assert (found.tunnel.target_host, found.proxy_protocol) == ("a.test", None)


def test_the_meshs_policy_fills_what_nobody_speaks_of():
    mesh = policy(connectionPool=POOL, outlierDetection={"interval": "1s"}, loadBalancer={"simple": "RANDOM"})
    found = effective_policy(policy(connectionPool=OTHER_POOL), None, 80, mesh)
    assert (found.connection_pool.http.http2_max_requests, found.outlier_detection.interval) == (2, 1.0)
    assert found.load_balancer is None
    assert effective_policy(None, None, 80, mesh).connection_pool.http.http2_max_requests == 1
    subset = policy(portLevelSettings=[port(80, loadBalancer={"simple": "RANDOM"})])
    assert effective_policy(None, subset, 80, mesh).connection_pool is None
    assert effective_policy(None, subset, 81, mesh).connection_pool.http.http2_max_requests == 1


def test_a_hash_of_no_source_address_is_none():
    off = policy(loadBalancer={"consistentHash": {"useSourceIp": False}})
    assert hash_policies(off) == ()
    assert hash_policies(policy(loadBalancer={"consistentHash": {"useSourceIp": True}}))[0].source_ip


def test_a_tls_mode_is_inherited_by_a_port_level_that_names_none():
    top = policy(tls={"mode": "DISABLE"}, portLevelSettings=[port(80), port(81, tls={"mode": "ISTIO_MUTUAL"})])
    assert said_tls_mode(top, None, 80) is TLSMode.DISABLE
    assert said_tls_mode(top, None, 81) is TLSMode.ISTIO_MUTUAL
    assert said_tls_mode(top, policy(tls={"mode": "SIMPLE"}), 80) is TLSMode.SIMPLE
    assert said_tls_mode(top, policy(connectionPool=POOL), 80) is TLSMode.DISABLE
    assert said_tls_mode(None, None, 80) is None


def test_the_idle_timeout_of_tcp_counts_for_http_where_that_has_none():
    said = policy(connectionPool={"tcp": {"idleTimeout": "5s"}})
    assert http_of(said.connection_pool, Protocol.HTTP).idle_timeout == 5.0
    said = policy(connectionPool={"tcp": {"idleTimeout": "5s"}, "http": {"idleTimeout": "7s"}})
    assert http_of(said.connection_pool, Protocol.HTTP).idle_timeout == 7.0


def test_a_warm_up_may_start_from_nothing():
    said = policy(loadBalancer={"simple": "ROUND_ROBIN", "warmup": {"duration": "5s", "minimumPercent": 0}})
    assert balancing_of(said, NO_POLICY, None, ISTIO).lb.slow_start.minimum_percent == 0
    said = policy(loadBalancer={"simple": "ROUND_ROBIN", "warmup": {"duration": "5s"}})
    assert balancing_of(said, NO_POLICY, None, ISTIO).lb.slow_start.minimum_percent == 10.0
