"""The traffic policy in force for an upstream, in upstream settings."""

from __future__ import annotations

from federation.model.service import Protocol
from istiod.api.destinationrule import TrafficPolicy
from istiod.resolve.defaults import ISTIO
from istiod.resolve.policy import http_of, outlier_of


def test_the_old_name_of_a_threshold_leaves_envoys_own_in_force():
    policy = TrafficPolicy.model_validate({"outlierDetection": {"consecutiveErrors": 1, "interval": "1s"}})
    spec = outlier_of(policy, ISTIO)
    assert (spec.consecutive_5xx, spec.consecutive_gateway_failure, spec.interval) == (None, None, 1.0)


def test_a_connections_life_is_limited_without_http_settings_too():
    policy = TrafficPolicy.model_validate({"connectionPool": {"tcp": {"maxConnectionDuration": "5s"}}})
    assert http_of(policy.connection_pool, Protocol.HTTP).max_connection_duration == 5.0
