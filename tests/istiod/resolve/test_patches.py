"""EnvoyFilters on the specs of a view: selection, order, contexts, and matching of whole resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from federation.model.labels import Labels
from istiod.api.envoyfilter import ApplyTo, Operation
from istiod.encode.clusters import encode_cluster
from istiod.encode.listeners import encode_listener
from istiod.encode.patch_added import added_resources
from istiod.encode.patch_report import PatchReport, idle_patches, report_of, value_findings
from istiod.encode.routes import encode_routes
from istiod.resolve.config import ViewConfig, resolve_view
from istiod.resolve.specs.cluster import ClusterSpec
from istiod.resolve.specs.listener import ListenerSpec
from istiod.resolve.specs.patch import PatchRef
from istiod.resolve.specs.route import RouteConfigSpec
from istiod.view.proxy import ProxyType
from tests.istiod.resolve.conftest import HTTP, target

MERGE = "patch: {operation: MERGE, value: {name: x}}"
GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: apps}
spec:
  selector: {app: gw}
  servers:
  - {port: {number: 80, name: web, protocol: HTTP}, hosts: [a.test]}
  - {port: {number: 443, name: sec, protocol: HTTPS}, hosts: [b.test], tls: {mode: SIMPLE, credentialName: c}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: apps}
spec: {hosts: ["*"], gateways: [gw], http: [{route: [{destination: {host: a}}]}]}
"""


def envoy_filter(*patches: str, name: str = "f", namespace: str = "apps", spec: str = "", created: str = "") -> str:
    items = "".join(f"  - {patch}\n" for patch in patches)
    stamp = f", creationTimestamp: {created}" if created else ""
    return f"""
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {name}, namespace: {namespace}{stamp}}}
spec:
  {spec or "priority: 0"}
  configPatches:
{items}"""


def patch(apply_to: str, match: str = "{}", change: str = MERGE) -> str:
    return f"{{applyTo: {apply_to}, match: {match}, {change}}}"


def named(specs: Iterable[ListenerSpec | ClusterSpec | RouteConfigSpec]) -> set[str]:
    """The names of those that have patches."""
    return {spec.name for spec in specs if spec.patches}


@pytest.fixture
def resolved(snapshot: Callable[..., Any], view: Callable[..., Any]) -> Callable[..., ViewConfig]:
    def resolve(text: str, **fields: Any) -> ViewConfig:
        return resolve_view(snapshot(text), view(targets=(target(HTTP),), **fields))

    return resolve


def report(config: ViewConfig) -> PatchReport:
    made = [encode_cluster(spec) for spec in config.clusters]
    made += [encode_listener(spec) for spec in config.listeners]
    made += [encode_routes(spec) for spec in config.routes]
    return report_of(config.patches, config.removed, [*made, *(one for _, one in added_resources(config.added))])


def test_order_is_priority_then_root_then_age(resolved: Callable[..., ViewConfig]) -> None:
    text = "".join(
        envoy_filter(patch("CLUSTER"), name=name, namespace=namespace, spec=f"priority: {priority}", created=created)
        for name, namespace, priority, created in [
            ("late", "apps", 5, "2020-01-01T00:00:00Z"),
            ("young", "apps", 0, "2022-01-01T00:00:00Z"),
            ("old", "apps", 0, "2021-01-01T00:00:00Z"),
            ("root", "istio-system", 0, "2023-01-01T00:00:00Z"),
            ("first", "apps", -1, "2024-01-01T00:00:00Z"),
            ("elsewhere", "other", 0, "2020-01-01T00:00:00Z"),
        ]
    )
    names = [found.ref.object.partition("/")[2] for found in resolved(text).patches]
    assert names == ["first", "root", "old", "young", "late"]


def test_workloads_are_selected(resolved: Callable[..., ViewConfig]) -> None:
    text = envoy_filter(patch("CLUSTER"), spec="workloadSelector: {labels: {app: b}}")
    assert resolved(text).patches == ()
    assert len(resolved(text, labels={"app": "b"}).patches) == 1


def test_without_patches_nothing_is_touched(resolved: Callable[..., ViewConfig]) -> None:
    plain = resolved("")
    assert resolved(envoy_filter(patch("CLUSTER", "{context: GATEWAY}"))) == plain


@pytest.mark.parametrize(
    ("proxy", "matches"),
    [
        ("{proxyVersion: '^1\\.29.*'}", True),
        ("{proxyVersion: '^1\\.2$'}", False),
        ("{metadata: {CLUSTER_ID: east}}", True),
        ("{metadata: {CLUSTER_ID: east, OTHER: x}}", False),
        ("{proxyVersion: '1.29', metadata: {CLUSTER_ID: west}}", False),
    ],
)
def test_proxies_are_told_apart(resolved: Callable[..., ViewConfig], proxy: str, matches: bool) -> None:
    text = envoy_filter(patch("CLUSTER", f"{{proxy: {proxy}}}"))
    metadata = Labels({"ISTIO_VERSION": "1.29.0", "CLUSTER_ID": "east"})
    assert bool(resolved(text, metadata=metadata).patches) is matches
    assert resolved(text).patches == ()  # it says nothing of itself


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{}", {"virtualInbound", "virtualOutbound", "0.0.0.0_80", "10.255.0.1_9000"}),
        ("{context: SIDECAR_INBOUND}", {"virtualInbound"}),
        ("{context: SIDECAR_OUTBOUND}", {"virtualOutbound", "0.0.0.0_80", "10.255.0.1_9000"}),
        ("{context: GATEWAY}", set()),
        ("{listener: {name: 0.0.0.0_80}}", {"0.0.0.0_80"}),
        ("{listener: {portNumber: 9000}}", {"10.255.0.1_9000"}),
        ("{listener: {portNumber: 15001}}", {"virtualOutbound"}),
    ],
)
def test_listeners(resolved: Callable[..., ViewConfig], match: str, expected: set[str]) -> None:
    config = resolved(envoy_filter(patch("LISTENER", match)))
    others = {"10.255.0.1_8443", "10.255.0.2_8443", "10.255.0.2_9000", "10.255.0.3_8443", "10.255.0.3_9000"}
    assert named(config.listeners) - others == expected


def test_a_port_of_the_listeners_that_catch_everything_is_that_of_a_chain(resolved: Callable[..., ViewConfig]) -> None:
    match = "{context: SIDECAR_INBOUND, listener: {portNumber: %s}}"
    for said, ports in ((80, (80, 8080)), (8080, (8080,)), (15006, (15006,))):
        config = resolved(envoy_filter(patch("NETWORK_FILTER", match % said)))
        (inbound,) = (spec for spec in config.listeners if spec.patches)
        assert inbound.name == "virtualInbound"
        assert [found.target.chain_ports for found in inbound.patches] == [ports]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{cluster: {service: a.apps.svc.cluster.local, portNumber: 80}}",
         {"outbound|80||a.apps.svc.cluster.local", "outbound|80|v1|a.apps.svc.cluster.local"}),
        ("{cluster: {name: PassthroughCluster}}", {"PassthroughCluster"}),
        ("{cluster: {subset: v1}}", {"outbound|80|v1|a.apps.svc.cluster.local",
                                     "outbound|8443|v1|a.apps.svc.cluster.local",
                                     "outbound|9000|v1|a.apps.svc.cluster.local"}),
        ("{context: SIDECAR_INBOUND}", {"inbound|8080||", "InboundPassthroughCluster"}),
        ("{context: SIDECAR_INBOUND, cluster: {portNumber: 8080}}", {"inbound|8080||"}),
        ("{context: SIDECAR_INBOUND, cluster: {service: a.apps.svc.cluster.local}}", {"inbound|8080||"}),
        ("{context: SIDECAR_INBOUND, cluster: {service: b.apps.svc.cluster.local}}", set()),
        ("{context: SIDECAR_OUTBOUND, cluster: {portNumber: 8080}}", set()),
    ],
)  # fmt: skip
def test_clusters(resolved: Callable[..., ViewConfig], match: str, expected: set[str]) -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: apps}
spec: {host: a, subsets: [{name: v1, labels: {version: v1}}]}
"""
    assert named(resolved(rule + envoy_filter(patch("CLUSTER", match))).clusters) == expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{}", {"80"}),
        ("{routeConfiguration: {portNumber: 80}}", {"80"}),
        ("{routeConfiguration: {portNumber: 81}}", set()),
        ("{routeConfiguration: {name: '80'}}", {"80"}),
        ("{routeConfiguration: {name: http.8080}}", set()),
        ("{context: SIDECAR_INBOUND}", set()),
    ],
)
@pytest.mark.parametrize("apply_to", ["ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"])
def test_routes(resolved: Callable[..., ViewConfig], apply_to: str, match: str, expected: set[str]) -> None:
    assert named(resolved(envoy_filter(patch(apply_to, match))).routes) == expected


@pytest.mark.parametrize(
    ("match", "routes"),
    [
        ("{}", {"http.8080", "https.443.sec.gw.apps"}),
        ("{portNumber: 443}", {"https.443.sec.gw.apps"}),
        ("{portNumber: 80}", {"http.8080"}),  # the port of the server, behind which the workload has another one
        ("{portName: web}", {"http.8080"}),
        ("{gateway: apps/gw, portName: sec}", {"https.443.sec.gw.apps"}),
        ("{gateway: apps/other}", set()),
        ("{name: http.8080}", {"http.8080"}),
    ],
)
def test_gateways(resolved: Callable[..., ViewConfig], match: str, routes: set[str]) -> None:
    text = GATEWAY + envoy_filter(patch("HTTP_ROUTE", f"{{context: GATEWAY, routeConfiguration: {match}}}"))
    config = resolved(text, type=ProxyType.ROUTER, labels={"app": "gw"})
    assert named(config.routes) == routes
    assert named(config.listeners) == set()


def test_listeners_of_gateways(resolved: Callable[..., ViewConfig]) -> None:
    text = GATEWAY + envoy_filter(patch("LISTENER", "{context: GATEWAY, listener: {portNumber: 443}}"))
    assert named(resolved(text, type=ProxyType.ROUTER, labels={"app": "gw"}).listeners) == {"0.0.0.0_443"}


def test_what_is_removed_is_gone(resolved: Callable[..., ViewConfig]) -> None:
    text = envoy_filter(
        patch("LISTENER", "{listener: {portNumber: 80}}", "patch: {operation: REMOVE}"),
        patch("CLUSTER", "{cluster: {service: b.apps.svc.cluster.local}}", "patch: {operation: REMOVE}"),
        patch("CLUSTER", "{cluster: {service: nobody}}", "patch: {operation: REMOVE}"),
    )
    config, plain = resolved(text), resolved("")
    assert {spec.name for spec in plain.listeners} - {spec.name for spec in config.listeners} == {"0.0.0.0_80"}
    gone = {spec.name for spec in plain.clusters} - {spec.name for spec in config.clusters}
    assert gone == {f"outbound|{port}||b.apps.svc.cluster.local" for port in (80, 9000, 8443)}
    assert [finding.path for finding in idle_patches([report(config)])] == ["spec.configPatches[2].match"]


def test_added_resources(resolved: Callable[..., ViewConfig]) -> None:
    text = envoy_filter(
        patch("CLUSTER", "{}", "patch: {operation: ADD, value: {name: mine}}"),
        patch("LISTENER", "{context: SIDECAR_INBOUND}", "patch: {operation: INSERT_FIRST, value: {name: mine}}"),
        patch("EXTENSION_CONFIG", "{context: GATEWAY}", "patch: {operation: ADD, value: {name: mine}}"),
    )
    found = [(one.apply_to, one.operation) for one in resolved(text).added]
    assert found == [(ApplyTo.CLUSTER, Operation.ADD), (ApplyTo.LISTENER, Operation.ADD)]
    assert named(resolved(text).clusters) == set()


def test_what_did_nothing_is_told(resolved: Callable[..., ViewConfig]) -> None:
    lua = "{name: lua, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}"
    text = envoy_filter(
        patch("HTTP_FILTER", "{context: SIDECAR_INBOUND}", f"patch: {{operation: INSERT_FIRST, value: {lua}}}"),
        patch("HTTP_FILTER", "{listener: {name: nobody}}", f"patch: {{operation: INSERT_FIRST, value: {lua}}}"),
        patch("HTTP_ROUTE", "{routeConfiguration: {vhost: {name: nobody}}}"),
        patch("HTTP_ROUTE", "{routeConfiguration: {portNumber: 8080}}"),  # of the routes inside the inbound listener
        patch("CLUSTER", "{}", "patch: {operation: MERGE, value: {lb_policy: NONE}}"),
        patch("CLUSTER", "{context: GATEWAY}"),
    )
    findings = idle_patches([report(resolved(text)), report(resolved(text, labels={"app": "b"}))])
    assert [(one.code, one.object, one.path) for one in findings] == [
        ("PatchMatchesNothing", "EnvoyFilter apps/f", "spec.configPatches[1].match"),
        ("PatchMatchesNothing", "EnvoyFilter apps/f", "spec.configPatches[2].match"),
    ]


def test_what_does_something_in_one_class_is_not_idle() -> None:
    first, second = PatchRef("EnvoyFilter apps/f", 0), PatchRef("EnvoyFilter apps/f", 1)
    known = frozenset({first, second})
    assert idle_patches([PatchReport(known, frozenset({first})), PatchReport(known, frozenset({second}))]) == ()
    assert len(idle_patches([PatchReport(known), PatchReport()])) == 2


def test_values_are_judged_without_any_proxy(snapshot: Callable[..., Any]) -> None:
    text = envoy_filter(
        patch("CLUSTER", "{context: GATEWAY}", "patch: {operation: MERGE, value: {connect_timeout: soon}}"),
        patch("CLUSTER", "{context: GATEWAY}", "patch: {operation: MERGE, value: {conect_timeout: 1s}}"),
        patch("BOOTSTRAP", "{}", "patch: {operation: MERGE, value: {nonsense: 1}}"),
    )
    assert [(one.severity.name, one.code, one.path) for one in value_findings(snapshot(text))] == [
        ("ERROR", "InvalidValue", "spec.configPatches[0].patch.value.connect_timeout"),
        ("WARNING", "UnknownField", "spec.configPatches[1].patch.value.conect_timeout"),
    ]
