"""EnvoyFilter: what is taken, and what exactly is said of everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from federation.model.findings import Severity
from istiod.api.envoyfilter import ApplyTo, EnvoyFilter, Operation, PatchContext, is_effective
from istiod.api.meta import Object
from istiod.api.parse import parse_documents, parse_object

HCM = "envoy.filters.network.http_connection_manager"
VALUE: dict[str, Any] = {"name": "x"}


def parse(spec: Any) -> tuple[EnvoyFilter | None, list[tuple[str, str, str, str]]]:
    document = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "f"},
        "spec": spec,
    }
    item, findings = parse_object(document, "test.yaml")
    found = item.spec if isinstance(item, Object) else None
    return found, [(one.severity.name, one.code, one.path, one.message) for one in findings]


def patch(apply_to: str = "CLUSTER", operation: str = "MERGE", match: Any = None, **more: Any) -> dict[str, Any]:
    change = {"operation": operation, "value": VALUE, **more}
    if operation == "REMOVE" or change["value"] is None:
        del change["value"]
    return {"configPatches": [{"applyTo": apply_to, "match": match or {}, "patch": change}]}


def chain(filter_: Any) -> dict[str, Any]:
    return {"listener": {"filterChain": {"filter": filter_}}}


EXAMPLE = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: everything, namespace: apps}
spec:
  priority: -10
  workloadSelector: {labels: {app: web}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      proxy: {proxyVersion: '^1\\.2[0-9].*', metadata: {CLUSTER_ID: east}}
      listener:
        name: virtualInbound
        portNumber: 8080
        filterChain:
          name: c
          sni: a.test
          transportProtocol: tls
          applicationProtocols: h2,http/1.1
          destinationPort: 8080
          filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}
    patch:
      operation: INSERT_BEFORE
      value: {name: lua, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}
  - applyTo: HTTP_ROUTE
    match:
      context: GATEWAY
      routeConfiguration:
        name: http.8080
        portNumber: 8080
        portName: http
        gateway: apps/gw
        vhost: {name: "a:80", domainName: a, route: {name: r, action: DIRECT_RESPONSE}}
    patch: {operation: REMOVE}
  - applyTo: CLUSTER
    match: {context: ANY, cluster: {name: x, service: a.test, subset: v1, portNumber: 80}}
    patch: {operation: MERGE, value: {lb_policy: RANDOM}}
  - applyTo: LISTENER_FILTER
    match: {listener: {listenerFilter: envoy.filters.listener.tls_inspector}}
    patch: {operation: INSERT_AFTER, value: {name: x}}
  - applyTo: EXTENSION_CONFIG
    patch: {operation: ADD, value: {name: x}}
"""


def test_every_field_is_read() -> None:
    parsed = parse_documents(EXAMPLE, "f")
    assert parsed.findings == ()
    (item,) = parsed.objects
    assert isinstance(item, Object)
    policy = item.spec
    assert policy.priority == -10
    assert policy.selector.all_labels == {"app": "web"}
    first = policy.config_patches[0]
    assert (first.apply_to, first.match.context) == (ApplyTo.HTTP_FILTER, PatchContext.SIDECAR_INBOUND)
    assert first.match.listener.filter_chain.filter.sub_filter.name == "envoy.filters.http.router"
    assert policy.config_patches[1].match.route_configuration.vhost.domain_name == "a"


def test_fields_of_the_example_are_all_there_are() -> None:
    """A field that is forgotten in the model would be refused."""
    said = yaml.safe_load(EXAMPLE)["spec"]
    match = said["configPatches"][0]["match"]
    match["waypoint"] = {"portNumber": 80, "filter": {"name": "x", "subFilter": {"name": "y"}}, "route": {"name": "r"}}
    match["listener"]["portName"] = "http"
    _, findings = parse(json.loads(json.dumps(said)))
    assert "UnknownField" not in {code for _, code, _, _ in findings}


def test_nothing_to_do_is_no_error() -> None:
    assert parse({}) == (EnvoyFilter(), [])


PATH = "spec.configPatches[0]"


@pytest.mark.parametrize(
    ("spec", "code", "path", "message"),
    [
        ({"configPatches": [{"patch": {"operation": "MERGE", "value": {}}}]}, "MissingField", f"{PATH}.applyTo",
         "is missing"),
        (patch("INVALID"), "InvalidValue", f"{PATH}.applyTo", "'INVALID' is none of LISTENER, FILTER_CHAIN, "
         "LISTENER_FILTER, NETWORK_FILTER, HTTP_FILTER, ROUTE_CONFIGURATION, VIRTUAL_HOST, HTTP_ROUTE, CLUSTER, "
         "EXTENSION_CONFIG, BOOTSTRAP"),
        ({"configPatches": [{"applyTo": "CLUSTER"}]}, "MissingField", f"{PATH}.patch", "is missing"),
        ({"configPatches": [{"applyTo": "CLUSTER", "patch": {"value": {}}}]}, "MissingField",
         f"{PATH}.patch.operation", "is missing"),
        (patch(operation="merge"), "InvalidValue", f"{PATH}.patch.operation", "'merge' is none of MERGE, "
         "MERGE_AND_REPLACE_LIST, ADD, REMOVE, INSERT_BEFORE, INSERT_AFTER, INSERT_FIRST, REPLACE"),
        (patch(value=None), "MissingField", f"{PATH}.patch.value", "is missing for MERGE"),
        (patch(value="name: x"), "InvalidValue", f"{PATH}.patch.value", "'name: x' is no mapping"),
        (patch(value={"x": float("inf")}), "InvalidValue", f"{PATH}.patch.value",
         "has a number that JSON does not have"),
        (patch(match={"context": "SIDECAR"}), "InvalidValue", f"{PATH}.match.context",
         "'SIDECAR' is none of ANY, SIDECAR_INBOUND, SIDECAR_OUTBOUND, GATEWAY, WAYPOINT"),
        (patch(match={"cluster": {}, "listener": {}}), "InvalidValue", f"{PATH}.match", "has listener and cluster"),
        (patch("CLUSTER", match={"listener": {}}), "InvalidValue", f"{PATH}.match.listener",
         "does not fit applyTo CLUSTER"),
        (patch("HTTP_ROUTE", match={"cluster": {}}), "InvalidValue", f"{PATH}.match.cluster",
         "does not fit applyTo HTTP_ROUTE"),
        (patch("HTTP_FILTER", match={"routeConfiguration": {}}), "InvalidValue",
         f"{PATH}.match.routeConfiguration", "does not fit applyTo HTTP_FILTER"),
        (patch(match={"proxy": {"proxyVersion": "1.(2"}}), "InvalidValue", f"{PATH}.match.proxy.proxyVersion",
         "'1.(2' is no regular expression: missing ), unterminated subpattern at position 2"),
        (patch(match={"proxy": {"metadata": {"a": 1}}}), "InvalidValue", f"{PATH}.match.proxy.metadata.a",
         "1 is no text"),
        (patch("NETWORK_FILTER", match=chain({})), "MissingField", f"{PATH}.match.listener.filterChain.filter.name",
         "is missing"),
        (patch("NETWORK_FILTER", match=chain({"name": HCM, "subFilter": {"name": "x"}})), "InvalidValue",
         f"{PATH}.match.listener.filterChain.filter.subFilter", "does not fit applyTo NETWORK_FILTER"),
        (patch("HTTP_FILTER", match=chain({"name": "tcp", "subFilter": {"name": "x"}})), "InvalidValue",
         f"{PATH}.match.listener.filterChain.filter.name", "'tcp' has no filters inside"),
        (patch("HTTP_FILTER", match=chain({"name": HCM, "subFilter": {}})), "MissingField",
         f"{PATH}.match.listener.filterChain.filter.subFilter.name", "is missing"),
        (patch(match={"cluster": {"portNumber": 70000}}), "InvalidValue", f"{PATH}.match.cluster.portNumber",
         "70000: input should be less than or equal to 65535"),
        ({"workloadSelector": {"labels": {"app": "a*"}}}, "InvalidValue", "spec.workloadSelector.labels.app",
         "has a wildcard, which labels do not know"),
        ({"workloadSelector": {"labels": {"": "a"}}}, "InvalidValue", "spec.workloadSelector.labels",
         "has an empty key"),
        ({"workloadSelector": {"labels": {"app": "a"}}, "targetRefs": [{"kind": "Service", "name": "a"}]},
         "InvalidValue", "spec", "has workloadSelector and targetRefs"),
        ({"targetRefs": [{"kind": "Pod", "name": "a"}]}, "InvalidValue", "spec.targetRefs[0].kind",
         "'Pod' takes no policies"),
        ({"priority": "high"}, "InvalidValue", "spec.priority",
         "'high': input should be a valid integer, unable to parse string as an integer"),
        ({"selector": {"matchLabels": {}}}, "UnknownField", "spec.selector", "is no field"),
    ],
)  # fmt: skip
def test_errors(spec: Any, code: str, path: str, message: str) -> None:
    found, findings = parse(spec)
    assert found is None
    assert [one for one in findings if one[0] == "ERROR"] == [("ERROR", code, path, message)]


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"workloadSelector": {}}, "spec.workloadSelector", "has no labels, so it selects all workloads"),
        (patch("BOOTSTRAP"), f"{PATH}.applyTo",
         "BOOTSTRAP has no effect: proxies start with a bootstrap that is not patched"),
        (patch("ROUTE_CONFIGURATION", "ADD"), f"{PATH}.patch.operation",
         "ADD has no effect with applyTo ROUTE_CONFIGURATION"),
        (patch("CLUSTER", "REPLACE"), f"{PATH}.patch.operation", "REPLACE has no effect with applyTo CLUSTER"),
        (patch("EXTENSION_CONFIG", "MERGE"), f"{PATH}.patch.operation",
         "MERGE has no effect with applyTo EXTENSION_CONFIG"),
        (patch("EXTENSION_CONFIG", "ADD", {"listener": {}}), f"{PATH}.match.listener",
         "has no effect with applyTo EXTENSION_CONFIG"),
        (patch("HTTP_FILTER", "REMOVE", chain({"name": HCM})), f"{PATH}.match",
         "names no filter, so REMOVE has no effect"),
        (patch("NETWORK_FILTER", "REPLACE"), f"{PATH}.match", "names no filter, so REPLACE has no effect"),
        (patch("LISTENER_FILTER", "REMOVE"), f"{PATH}.match", "names no filter, so REMOVE has no effect"),
        (patch("LISTENER", "MERGE", chain({"name": HCM})), f"{PATH}.match.listener.filterChain.filter",
         "has no effect with applyTo LISTENER"),
        (patch(match={"context": "WAYPOINT"}), f"{PATH}.match", "is for waypoints, which are not served"),
        (patch("HTTP_FILTER", match={"waypoint": {}}), f"{PATH}.match", "is for waypoints, which are not served"),
        (patch(filterClass="AUTHZ"), f"{PATH}.patch.filterClass",
         "counts only when an HTTP_FILTER is added with ADD"),
        (patch("NETWORK_FILTER", match=chain({"name": "envoy.tcp_proxy"})),
         f"{PATH}.match.listener.filterChain.filter.name", "'envoy.tcp_proxy' is an old name, which no filter has"),
        (patch("HTTP_FILTER", match=chain({"name": HCM, "subFilter": {"name": "envoy.router"}})),
         f"{PATH}.match.listener.filterChain.filter.subFilter.name",
         "'envoy.router' is an old name, which no filter has"),
    ],
)  # fmt: skip
def test_warnings(spec: Any, path: str, message: str) -> None:
    found, findings = parse(spec)
    assert found is not None
    assert findings == [(Severity.WARNING.name, "InvalidValue", path, message)]


def test_all_errors_at_once() -> None:
    spec = patch("CLUSTER", match={"listener": {}}, value=None) | {"workloadSelector": {"labels": {"a": "*"}}}
    assert [path for _, _, path, _ in parse(spec)[1]] == [
        "spec.workloadSelector.labels.a",
        f"{PATH}.patch.value",
        f"{PATH}.match.listener",
    ]


def test_operations_that_do_something() -> None:
    assert is_effective(ApplyTo.VIRTUAL_HOST, Operation.REPLACE)
    assert is_effective(ApplyTo.HTTP_ROUTE, Operation.INSERT_BEFORE)
    assert not is_effective(ApplyTo.HTTP_ROUTE, Operation.REPLACE)
    assert not any(is_effective(ApplyTo.BOOTSTRAP, operation) for operation in Operation)
