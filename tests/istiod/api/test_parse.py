from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.findings import Severity
from federation.model.labels import Labels
from istiod.api.fields import parse_duration
from istiod.api.kinds import KINDS
from istiod.api.kubernetes import Pod, ServiceSpec
from istiod.api.meta import Invalid, Object, Unbuilt
from istiod.api.parse import parse_documents, parse_mesh_config, parse_mesh_networks, parse_object
from istiod.api.regex import regex_problem

GOOD = """
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {name: good, namespace: apps, labels: {a: b}, creationTimestamp: 2024-01-02T03:04:05Z}
spec: {hosts: [good.com], ports: [{number: 80, name: http}]}
"""
PEER = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"


def test_one_broken_object_costs_that_object() -> None:
    broken = GOOD.replace("good", "bad").replace("number: 80", "number: x")
    not_yaml = "kind: [\n"
    parsed = parse_documents(f"{broken}---\n{not_yaml}---\n{GOOD}", "mesh.yaml")
    assert [str(item) for item in parsed.objects] == ["ServiceEntry apps/good"]
    assert [(one.code, one.object, one.path) for one in parsed.findings] == [
        ("InvalidValue", "ServiceEntry apps/bad", "spec.ports[0].number"),
        ("NotYaml", "File mesh.yaml", ""),
    ]
    assert parsed.findings[1].message.startswith("line 8 is no YAML: ")


def test_all_errors_at_once_each_with_its_place() -> None:
    text = GOOD.replace("spec: {", "spec: {resolutoin: DNS, location: MESH, ").replace("a: b", "a: 1")
    assert {(one.path, one.message, one.fix) for one in parse_documents(text, "f").findings} == {
        ("metadata.labels.a", "1 is no text", "put it in quotes"),
        ("spec.resolutoin", "is no field", "did you mean resolution?"),
        ("spec.location", "'MESH' is none of MESH_EXTERNAL, MESH_INTERNAL", "use one of them"),
    }


def test_meta() -> None:
    (item,) = parse_documents(GOOD, "f").objects
    assert isinstance(item, Object)
    assert (item.meta.name, item.meta.namespace, item.meta.labels) == ("good", "apps", Labels({"a": "b"}))
    assert item.meta.created == "2024-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("metadata", "path", "message"),
    [
        ("metadata: {}", "metadata.name", "is missing"),
        ("metadata: {name: A_b}", "metadata.name", "'A_b' is no name of Kubernetes"),
        ("metadata: {name: a, namespace: a/b}", "metadata.namespace", "'a/b' is no name of Kubernetes"),
        ("metadata: {name: [a]}", "metadata.name", "\"['a']\" is no name of Kubernetes"),
        ("metadata:", "metadata", "is missing"),
    ],
)
def test_bad_metadata(metadata: str, path: str, message: str) -> None:
    text = GOOD.replace(next(line for line in GOOD.splitlines() if line.startswith("metadata")), metadata)
    parsed = parse_documents(text, "f.yaml")
    assert parsed.objects == ()
    assert [(one.object, one.path, one.message) for one in parsed.findings] == [
        ("ServiceEntry in f.yaml", path, message)
    ]


def test_namespace_is_default_and_absent_for_cluster_scoped() -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, namespace: x}\n---\n" + GOOD.replace(
        "namespace: apps, ", ""
    )
    assert [str(item.meta.key) for item in parse_documents(text, "f").objects] == ["/n", "default/good"]


@pytest.mark.parametrize(
    ("spec", "selector"),
    [
        ("spec: {selector: {matchLabels: {app: a}}, mtls: {mode: WRONG}}", {"app": "a"}),
        ("spec: {selector: {matchLabels: {app: 1}}, mtls: {mode: STRICT}}", {}),
        ("spec: {selector: {matchLabls: {app: a}}, mtls: {mode: STRICT}}", {}),
        ("spec: {selector: [app], mtls: {mode: STRICT}}", {}),
        ("spec: [1]", {}),
        ("Spec: {mtls: {mode: STRICT}}", {}),
    ],
)
def test_broken_security_policy_is_kept_to_fail_closed(spec: str, selector: dict[str, str]) -> None:
    parsed = parse_documents(f"{PEER}metadata: {{name: p, namespace: apps}}\n{spec}\n", "f")
    (item,) = parsed.objects
    assert isinstance(item, Invalid)
    assert item.selector == Labels(selector)
    assert max(one.severity for one in parsed.findings) is Severity.ERROR


def test_security_policy_of_unknown_version_fails_closed() -> None:
    parsed = parse_documents(PEER.replace("/v1", "/v9") + "metadata: {name: p}\n", "f")
    assert isinstance(parsed.objects[0], Invalid)
    assert [one.code for one in parsed.findings] == ["UnknownVersion"]


@pytest.mark.parametrize(
    ("version", "kind", "severity", "words"),
    [
        ("security.istio.io/v1", "NextYearsPolicy", Severity.ERROR, "not enforced"),
        ("extensions.istio.io/v1alpha1", "WasmPlugin", Severity.WARNING, "no effect"),
        ("gateway.networking.k8s.io/v1alpha2", "UDPRoute", Severity.WARNING, "no effect"),
        ("serving.knative.dev/v1", "Service", Severity.INFO, "no kind that the mesh reads"),
        ("apps/v1", "Deployment", Severity.INFO, "no kind that the mesh reads"),
    ],
)
def test_kinds_that_are_not_read_are_said(version: str, kind: str, severity: Severity, words: str) -> None:
    text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x, namespace: y}}\nspec: {{a: 1}}\n"
    parsed = parse_documents(text, "f")
    assert [type(item) for item in parsed.objects] == [Unbuilt]
    (finding,) = parsed.findings
    assert (finding.severity, finding.code, finding.object) == (severity, "KindNotSupported", f"{kind} y/x")
    assert words in finding.message


def test_list_is_its_items() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- {kind: Namespace, apiVersion: v1, metadata: {name: a}}\n- 7\n"
    parsed = parse_documents(text, "f")
    assert [item.meta.name for item in parsed.objects] == ["a"]
    assert [one.code for one in parsed.findings] == ["NotAnObject"]


def test_kubernetes_objects_as_the_api_writes_them() -> None:
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n", "managedFields": []},
        "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "externalIPs": None, "ipFamilies": ["IPv4"],
                 "ports": [{"port": 80, "targetPort": "web", "appProtocol": None}], "selector": None},
        "status": {"loadBalancer": {}},
    }  # fmt: skip
    item, findings = parse_object(service, "f")
    assert findings == []
    assert isinstance(item, Object)
    assert isinstance(item.spec, ServiceSpec)
    assert (item.spec.cluster_ip, item.spec.cluster_ips, item.spec.external_ips) == ("10.0.0.1", ("10.0.0.1",), ())
    assert item.spec.ports[0].target_port == "web"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "status": {"podIP": "1.1.1.1", "podIPs": [{"ip": "1.1.1.1"}]},
    }
    parsed, _ = parse_object(pod, "f")
    assert isinstance(parsed, Object)
    assert isinstance(parsed.spec, Pod)
    assert parsed.spec.status.pod_ip == "1.1.1.1"


def test_mesh_config() -> None:
    mesh, findings = parse_mesh_config(
        "trustDomain: a.b\nca: {address: x}\ndefaultConfig: {statusPort: 15020}\n", "m.yaml"
    )
    assert mesh is not None
    assert (mesh.trust_domain, mesh.isthmus.defaults) == ("a.b", "resilient")
    assert [(one.severity, one.code, one.path, one.message) for one in findings] == [
        (Severity.WARNING, "SettingIgnored", "ca", "has no effect yet"),
        (
            Severity.INFO,
            "SettingIgnored",
            "defaultConfig.statusPort",
            "is for whoever starts the proxy; istiod does nothing with it",
        ),
    ]
    assert parse_mesh_config("{}", "m", "istio")[0].isthmus.defaults == "istio"  # type: ignore[union-attr]
    assert parse_mesh_config("isthmus: {defaults: istio}", "m")[0].isthmus.defaults == "istio"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("trustDomian: x", "trustDomian", "is no field"),
        ("isthmus: 3", "isthmus", "3 is no mapping"),
        ("- 1", "", "is no mapping"),
        ("a: 1\n---\nb: 1\n", "", "has several documents"),
        ("a: [", "", "line 2 is no YAML: did not find expected node content"),
    ],
)
def test_broken_mesh_config(text: str, path: str, message: str) -> None:
    mesh, findings = parse_mesh_config(text, "m")
    assert mesh is None
    assert [(one.path, one.message) for one in findings] == [(path, message)]


def test_mesh_networks() -> None:
    networks, findings = parse_mesh_networks(
        "networks:\n  n1: {endpoints: [{fromCidr: 10.0.0.0/8}], gateways: [{address: 1.1.1.1, port: 15443}]}\n", "n"
    )
    assert networks is not None
    assert findings == ()
    wrong, findings = parse_mesh_networks(
        "networks: {n1: {endpoints: [{fromCidr: x}, {}], gateways: [{port: 1}]}}", "n"
    )
    assert wrong is None
    assert [one.path for one in findings] == [
        "networks.n1.endpoints[0].fromCidr", "networks.n1.endpoints[1]", "networks.n1.gateways[0]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("1.5s", 1.5), ("100ms", 0.1), ("1h30m", 5400), ("0s", 0), ("2m0.5s", 120.5)]
)
def test_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1", "-1s", "1 s", "1d", 5, None, "1s x"])
def test_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="a duration like 10s"):
        parse_duration(text)


@pytest.mark.parametrize(
    "pattern", [".*", "a{1,3}", r"\pL+\z", "(?i)a", "x(?i:y)", r"[*+]+", r"\++", "(?P<a>b)", "(?<a>b)", r"\\1"]
)
def test_re2_takes(pattern: str) -> None:
    assert regex_problem(pattern) == ""


@pytest.mark.parametrize(
    "pattern", ["a(?=b)", "(?<!a)b", r"(a)\1", "a++", "(?>a)", "(?#x)", "a{1001}", "(", "a**", "[z-a]", "(?P=a)"]
)
def test_re2_refuses(pattern: str) -> None:
    assert regex_problem(pattern)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1s", "*", "a.com", "http"])
)
names = st.sampled_from(
    [
        "spec",
        "metadata",
        "name",
        "namespace",
        "labels",
        "hosts",
        "http",
        "tls",
        "tcp",
        "route",
        "match",
        "uri",
        "regex",
        "destination",
        "host",
        "subset",
        "weight",
        "port",
        "number",
        "trafficPolicy",
        "loadBalancer",
        "simple",
        "ports",
        "endpoints",
        "address",
        "selector",
        "matchLabels",
        "mtls",
        "mode",
        "servers",
        "egress",
        "addresses",
        "localityLbSetting",
        "distribute",
        "to",
        "workloadSelector",
        "portLevelMtls",
        "outlierDetection",
        "subsets",
        "protocol",
        "headers",
    ]
)
garbage = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=5),
    max_leaves=25,
)


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(names, garbage, max_size=6), garbage)
@settings(max_examples=400, deadline=None)
def test_garbage_never_raises(kind: str, spec: object, metadata: object) -> None:
    group = next(iter(KINDS[kind].groups))
    for meta in ({"name": "x"}, metadata):
        document = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind, "metadata": meta, "spec": spec}
        item, findings = parse_object(document, "f")
        assert item is not None or findings
