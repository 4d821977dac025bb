"""`proxy why`, `proxy config` and `diff` on files: what people read, what programs read, exit codes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from istiod.cli.main import app

WORLD = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 9080, targetPort: 9081}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-1, namespace: shop, labels: {kubernetes.io/service-name: reviews}}
ports: [{name: http, port: 9081}]
endpoints: [{addresses: [10.0.0.21], targetRef: {kind: Pod, name: reviews-1, namespace: shop}}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: web}
status: {podIP: 10.0.0.11}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-1, namespace: shop, labels: {app: reviews, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: reviews}
status: {podIP: 10.0.0.21}
---
apiVersion: v1
kind: Pod
metadata: {name: edge-1, namespace: shop, labels: {istio: edge}}
spec: {serviceAccountName: edge}
status: {podIP: 10.0.0.5}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {app: reviews}}, {name: v2, labels: {app: nobody}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /v2}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{uri: {prefix: /split}}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
  - route: [{destination: {host: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.test], tls: {mode: SIMPLE, credentialName: c}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec: {hosts: [shop.test], gateways: [edge], http: [{redirect: {uri: /new}}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews, namespace: shop}
spec:
  selector: {matchLabels: {app: reviews}}
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "config"
    directory.mkdir()
    (directory / "world.yaml").write_text(WORLD)
    return directory


def run(*words: object, text: str = "") -> Result:
    return CliRunner().invoke(app, [*map(str, words)], input=text)


@pytest.fixture
def why(config: Path) -> Callable[..., dict[str, Any]]:
    def ask(*words: object) -> dict[str, Any]:
        result = run("proxy", "why", *words, "--config-dir", config, "-o", "json")
        said: dict[str, Any] = json.loads(result.stdout)
        assert result.exit_code == (0 if said["outcome"] in ("routed", "answered") else 1)
        return said

    return ask


def causes(said: dict[str, Any]) -> set[str]:
    return {f"{cause['object']} {cause['field']}" for step in said["steps"] for cause in step["causes"]}


def test_a_call_with_all_that_decides(why: Callable[..., dict[str, Any]]) -> None:
    said = why("web-1.shop", "GET", "http://reviews:9080/split")
    assert (said["outcome"], said["listener"], said["routeConfiguration"]) == ("routed", "0.0.0.0_9080", "9080")
    assert [(item["percent"], len(item["endpoints"])) for item in said["upstreams"]] == [(90, 1), (10, 0)]
    expected = {
        "Service shop/reviews spec.ports[0]",
        "VirtualService shop/reviews spec.http[1].match[0]",
        "DestinationRule shop/reviews spec.subsets[0]",
        "DestinationRule shop/reviews spec.subsets[1]",
    }
    assert expected <= causes(said)
    assert any("share of it is lost" in step["said"] for step in said["steps"])


def test_an_upstream_without_endpoints_refuses(why: Callable[..., dict[str, Any]]) -> None:
    said = why("web-1", "GET", "http://reviews.shop:9080/v2/x")
    assert (said["outcome"], said["status"]) == ("refused", 503)
    assert "has no endpoints" in said["reason"]


def test_at_the_workload_that_is_called(why: Callable[..., dict[str, Any]]) -> None:
    inbound = ("reviews-1.shop", "GET", "http://reviews:9080/", "--from", "inbound")
    said = why(*inbound)
    assert (said["outcome"], said["status"], said["chain"]) == ("refused", None, "")
    assert "PeerAuthentication shop/strict spec.mtls.mode" in causes(said)
    said = why(*inbound, "--source-principal", "cluster.local/ns/shop/sa/web")
    assert (said["outcome"], [item["name"] for item in said["upstreams"]]) == ("routed", ["inbound|9081||"])
    assert "AuthorizationPolicy shop/reviews spec.rules[0]" in causes(said)
    said = why(*inbound, "--source-principal", "spiffe://cluster.local/ns/shop/sa/other")
    assert (said["outcome"], said["status"]) == ("refused", 403)
    assert "AuthorizationPolicy shop/reviews " in causes(said)


def test_at_a_gateway(why: Callable[..., dict[str, Any]]) -> None:
    said = why("edge-1", "GET", "https://shop.test/old")
    assert (said["outcome"], said["status"], said["reason"]) == ("answered", 301, "redirected to https://shop.test/new")
    expected = {"Gateway shop/edge spec.servers[0]", "VirtualService shop/edge spec.http[0].redirect"}
    assert expected <= causes(said)
    assert why("edge-1", "GET", "https://other.test/")["outcome"] == "refused"
    assert "open ports: 443" in why("edge-1", "GET", "http://shop.test/")["reason"]


def test_strangers(why: Callable[..., dict[str, Any]]) -> None:
    said = why("web-1", "GET", "https://www.example.org/")
    assert [item["name"] for item in said["upstreams"]] == ["PassthroughCluster"]
    assert "MeshConfig outboundTrafficPolicy.mode" in causes(said)


def test_words_for_people(config: Path) -> None:
    result = run("proxy", "why", "web-1", "GET", "http://reviews:9080/x", "--config-dir", config)
    lines = result.stdout.splitlines()
    assert lines[0] == "GET http://reviews:9080/x  at sidecar~10.0.0.11~web-1.shop~shop.svc.cluster.local"
    assert lines[1].split()[:3] == ["1.", "listener", "0.0.0.0_9080"]
    assert "by VirtualService shop/reviews spec.http[2]" in {line.strip() for line in lines}
    assert lines[-1] == "=> routed: passed on"


def test_pods_that_are_in_no_file(config: Path) -> None:
    words = ("proxy", "why", "new.shop", "GET", "http://reviews:9080/", "--config-dir", config)
    assert "taken as a sidecar" in run(*words).output
    assert run("proxy", "why", "new", "GET", "http://reviews:9080/", "--config-dir", config).exit_code == 2
    assert run("proxy", "why", "web-1", "GET", "gopher://x", "--config-dir", config).exit_code == 2


CHANGED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
"""


def test_diff_of_files(config: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(CHANGED)
    result = run("diff", "-f", new, "--config-dir", config)
    assert result.exit_code == 1
    assert "changed: VirtualService shop/reviews" in result.stdout
    assert "  ~ routes 9080" in result.stdout
    assert "2 proxies change, 1 stay as they are" in result.stdout
    assert "route.cluster" not in result.stdout
    assert "virtualHosts[" in run("diff", "-f", new, "--config-dir", config, "--verbose").stdout
    assert run("diff", "-f", config / "world.yaml", "--config-dir", config).exit_code == 0
    assert run("diff", "--delete", "VirtualService/shop/reviews", "--config-dir", config).exit_code == 1
    assert (config / "world.yaml").read_text() == WORLD


def test_diff_of_wrong_objects(config: Path) -> None:
    result = run("diff", "-f", "-", "--config-dir", config, text=CHANGED.replace("hosts", "hots"))
    assert result.exit_code == 2
    assert "UnknownField VirtualService shop/reviews spec.hots" in result.stdout
    assert run("diff", "--config-dir", config).exit_code == 2
    assert run("diff", "--delete", "Nothing/shop/x", "--config-dir", config).exit_code == 2


def _dump(credential: Any) -> dict[str, Any]:
    made = credential("web.test")
    chain = base64.b64encode(made.chain.encode()).decode()
    key = base64.b64encode(made.key.encode()).decode()
    secret = {"name": "default", "tls_certificate": {"certificate_chain": {"inline_bytes": chain},
                                                     "private_key": {"inline_bytes": key}}}  # fmt: skip
    manager = {"@type": "x", "stat_prefix": "s", "route_config": {"name": "inline", "virtual_hosts": [
        {"name": "h", "domains": ["a", "b", "c", "d"], "routes": [{"match": {"path": "/x"}}]}]}}  # fmt: skip
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        "filter_chains": [
            {
                "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1"]},
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
            },
            {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {"cluster": "up"}}]},
        ],
    }
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 8080}}}}
    name = "outbound|80|v1|a.test"
    config = "/apis/networking.istio.io/v1/namespaces/ns/destination-rule/rule"
    metadata = {"filter_metadata": {"istio": {"config": config}}}
    types = "type.googleapis.com/envoy.admin.v3."
    return {
        "configs": [
            {"@type": f"{types}BootstrapConfigDump", "bootstrap": {"node": {"id": "me"}, "x": {"password": "open"}}},
            {
                "@type": f"{types}ClustersConfigDump",
                "dynamic_active_clusters": [
                    {"version_info": "1", "cluster": {"name": name, "type": "EDS", "metadata": metadata}},
                    {"version_info": "1", "cluster": {"name": "inbound|81||", "type": "ORIGINAL_DST"}},
                ],
            },
            {"@type": f"{types}ListenersConfigDump",
             "dynamic_listeners": [{"name": "l", "active_state": {"version_info": "1", "listener": listener}}]},
            {"@type": f"{types}RoutesConfigDump", "dynamic_route_configs": []},
            {
                "@type": f"{types}EndpointsConfigDump",
                "dynamic_endpoint_configs": [
                    {"endpoint_config": {"cluster_name": name, "endpoints": [
                        {"lb_endpoints": [endpoint, {**endpoint, "health_status": "UNHEALTHY"}]}]}},
                ],
            },
            {"@type": f"{types}SecretsConfigDump",
             "dynamic_active_secrets": [{"name": "default", "version_info": "1", "secret": secret}]},
        ]
    }  # fmt: skip


@pytest.fixture
def dump(tmp_path: Path, credential: Any) -> Path:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(_dump(credential)))
    return path


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["clusters"], ["- 81 - inbound ORIGINAL_DST", "a.test 80 v1 outbound EDS rule.ns"]),
        (["clusters", "--direction", "inbound"], ["- 81 - inbound ORIGINAL_DST"]),
        (["clusters", "--fqdn", "a.te", "--port", 80, "--subset", "v1"], ["a.test 80 v1 outbound EDS rule.ns"]),
        (["clusters", "--subset", "v2"], []),
        (["listeners"], ["0.0.0.0 80 Trans: raw_buffer; App: http/1.1 Inline Route: inline",
                         "0.0.0.0 80 ALL Cluster: up"]),
        (["listeners", "--type", "tcp"], ["0.0.0.0 80 ALL Cluster: up"]),
        (["listeners", "--port", 81], []),
        (["routes"], ["inline h a, b, c + 1 more /x"]),
        (["routes", "--name", "other"], []),
        (["endpoints"], ["10.0.0.1:8080 HEALTHY - outbound|80|v1|a.test",
                         "10.0.0.1:8080 UNHEALTHY - outbound|80|v1|a.test"]),
        (["endpoints", "--status", "unhealthy"], ["10.0.0.1:8080 UNHEALTHY - outbound|80|v1|a.test"]),
        (["endpoints", "--cluster", "x"], []),
    ],
)  # fmt: skip
def test_tables_of_a_dump(dump: Path, words: list[object], rows: list[str]) -> None:
    result = run("proxy", "config", *words, "--file", dump)
    assert result.exit_code == 0, result.output
    assert [" ".join(line.split()) for line in result.stdout.splitlines()[1:]] == rows


def test_secrets_of_a_dump_are_described_and_never_shown(dump: Path) -> None:
    table = run("proxy", "config", "secrets", "--file", dump)
    assert table.stdout.splitlines()[1].split()[:5] == ["default", "Cert", "Chain", "ACTIVE", "true"]
    for kind in ("secrets", "bootstrap", "all"):
        for form in ("table", "json", "yaml"):
            shown = run("proxy", "config", kind, "--file", dump, "-o", form).stdout
            assert not any(word in shown for word in ("PRIVATE", "LS0tLS1CRUdJTiB", "open"))
    assert run("proxy", "config", "bootstrap", "--file", dump).stdout.count("me")


def test_filters_that_mean_nothing_and_files_that_are_no_dump(dump: Path, tmp_path: Path) -> None:
    result = run("proxy", "config", "routes", "--port", 80, "--file", dump)
    assert (result.exit_code, "--port" in result.output) == (2, True)
    (tmp_path / "x.json").write_text("{}")
    assert run("proxy", "config", "clusters", "--file", tmp_path / "x.json").exit_code == 2
    assert run("proxy", "config", "clusters", "--file", tmp_path / "nothing").exit_code == 2
