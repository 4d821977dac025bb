from collections.abc import Callable
from typing import Any

import pytest
import yaml

from federation.model.labels import Labels
from federation.model.locality import NO_LOCALITY
from federation.model.names import ServiceKey
from istiod.api.sidecar import IstioEgressListener
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.view.visibility import (
    destination_policy,
    egress_services,
    egress_virtual_services,
    exported,
    sidecar_of,
    visible_services,
)

Build = Callable[..., Snapshot]


def view(namespace: str = "ns", kind: ProxyType = ProxyType.SIDECAR, **labels: str) -> ProxyView:
    return ProxyView(kind, namespace, f"{namespace}.svc.cluster.local", "east", "", NO_LOCALITY, Labels(labels))


def document(kind: str, name: str, namespace: str, spec: str, created: str = "2024") -> str:
    return (
        f"apiVersion: networking.istio.io/v1\nkind: {kind}\n"
        f'metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}-01-01T00:00:00Z"}}\n'
        f"spec: {spec}\n---\n"
    )


def entry(host: str, namespace: str, export_to: str = "['*']", created: str = "2024") -> str:
    spec = (
        f"{{hosts: [{host}], exportTo: {export_to}, location: MESH_INTERNAL, resolution: STATIC, "
        "addresses: [10.255.0.1], ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.0.1}]}"
    )
    return document("ServiceEntry", host.replace(".", "-"), namespace, spec, created)


def rule(name: str, namespace: str, host: str = "a.test", extra: str = "", created: str = "2024") -> str:
    return document("DestinationRule", name, namespace, f"{{host: '{host}', {extra}}}", created)


@pytest.mark.parametrize(
    ("export_to", "namespace", "expected"),
    [
        (("*",), "b", True),
        ((".",), "a", True),
        ((".",), "b", False),
        (("b",), "b", True),
        (("~",), "a", False),
        ((), "a", False),
    ],
)
def test_exported(export_to: tuple[str, ...], namespace: str, expected: bool) -> None:
    assert exported(export_to, "a", namespace) is expected


def test_visible_services(build: Build) -> None:
    snapshot = build(entry("all.test", "x") + entry("own.test", "x", "['.']") + entry("for-ns.test", "x", "[ns]"))
    assert [s.host for s in visible_services(snapshot, "ns")] == ["all.test", "for-ns.test"]
    assert [s.host for s in visible_services(snapshot, "x")] == ["all.test", "own.test"]


def test_one_service_per_host_prefers_the_own_namespace_then_the_oldest(build: Build) -> None:
    snapshot = build(entry("a.test", "old", created="2023") + entry("a.test", "ns") + entry("a.test", "x"))
    assert [s.namespace for s in egress_services(snapshot, view("ns"), None)] == ["ns"]
    assert [s.namespace for s in egress_services(snapshot, view("nobody"), None)] == ["old"]


def sidecar(name: str, namespace: str, selector: str = "", created: str = "2024", hosts: str = "['./*']") -> str:
    chosen = f"workloadSelector: {{labels: {selector}}}, " if selector else ""
    return document("Sidecar", name, namespace, f"{{{chosen}egress: [{{hosts: {hosts}}}]}}", created)


def test_choice_of_the_sidecar(build: Build) -> None:
    snapshot = build(
        sidecar("root", "istio-system")
        + sidecar("young", "ns", created="2025")
        + sidecar("old", "ns", created="2023")
        + sidecar("chosen", "ns", "{app: a}", created="2026")
    )

    def name(item: ProxyView) -> str:
        found = sidecar_of(snapshot, item)
        return found.meta.name if found is not None else ""

    assert name(view(app="a")) == "chosen"
    assert name(view(app="b")) == "old"
    assert name(view("elsewhere")) == "root"
    assert name(view(kind=ProxyType.ROUTER)) == ""


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("['./*']", ["a.test"]),
        ("['*/*']", ["a.test", "b.test", "c.test"]),
        ("['x/b.test', 'y/*.test']", ["b.test", "c.test"]),
        ("['~/*']", []),
        ("['*/*', '~x/*']", ["a.test", "c.test"]),
        ("['~/c.test', '*/*']", ["a.test", "b.test"]),
        ("['*/*', '~./a.test', '~x/c.test']", ["b.test", "c.test"]),
        ("['*/*', '~*/*.test']", []),
    ],
)
def test_egress_hosts(build: Build, hosts: str, expected: list[str]) -> None:
    services = entry("a.test", "ns") + entry("b.test", "x") + entry("c.test", "y")
    snapshot = build(services + sidecar("s", "ns", hosts=hosts))
    found = sidecar_of(snapshot, view())
    assert found is not None
    assert [s.host for s in egress_services(snapshot, view(), found.spec.egress[0])] == expected


def test_a_wildcard_service_comes_only_with_all_of_its_names(build: Build) -> None:
    snapshot = build(entry("'*.x.test'", "ns").replace("name: '*-x-test'", "name: wild"))
    for hosts, expected in (("['./one.x.test']", []), ("['./*.test']", ["*.x.test"]), ("['./*.x.test']", ["*.x.test"])):
        listener = IstioEgressListener(hosts=tuple(yaml.safe_load(hosts)))
        assert [s.host for s in egress_services(snapshot, view(), listener)] == expected


def test_a_selector_without_labels_selects_every_workload(build: Build) -> None:
    every = document("Sidecar", "every", "ns", "{workloadSelector: {}, egress: [{hosts: ['./*']}]}", "2025")
    found = sidecar_of(build(sidecar("old", "ns", created="2023") + every), view(app="b"))
    assert found is not None
    assert found.meta.name == "every"


def test_egress_virtual_services(build: Build) -> None:
    routes = "http: [{route: [{destination: {host: a.test}}]}]"
    texts = [
        document("VirtualService", "young", "x", f"{{hosts: [b.test], {routes}}}", "2025"),
        document("VirtualService", "old", "x", f"{{hosts: [b.test, c.test], {routes}}}", "2023"),
        document("VirtualService", "hidden", "x", f"{{hosts: [b.test], exportTo: ['.'], {routes}}}"),
    ]
    snapshot = build("".join(texts) + sidecar("s", "ns", hosts="['x/c.test']"))
    assert [v.meta.name for v in egress_virtual_services(snapshot, view(), None)] == ["old", "young"]
    found = sidecar_of(snapshot, view())
    assert found is not None
    assert [v.meta.name for v in egress_virtual_services(snapshot, view(), found.spec.egress[0])] == ["old"]
    without = IstioEgressListener(hosts=("x/*", "~x/b.test"))
    assert [v.meta.name for v in egress_virtual_services(snapshot, view(), without)] == ["old"]


def chosen(snapshot: Snapshot, item: ProxyView) -> str:
    found = destination_policy(snapshot, item, snapshot.services[ServiceKey("a.test", "x")])
    return found.rule.meta.name if found is not None else ""


def test_destination_rule_of_client_then_service_then_root(build: Build) -> None:
    service, root = entry("a.test", "x"), rule("root", "istio-system")
    owner, client = rule("owner", "x"), rule("client", "ns")
    assert chosen(build(service + root + owner + client), view()) == "client"
    assert chosen(build(service + root + owner), view()) == "owner"
    assert chosen(build(service + root), view()) == "root"
    assert chosen(build(service + client), view("elsewhere")) == ""


def test_destination_rule_most_specific_host_and_export(build: Build) -> None:
    service = entry("a.test", "x")
    assert chosen(build(service + rule("wild", "x", "*.test") + rule("exact", "x")), view()) == "exact"
    assert chosen(build(service + rule("wild", "x", "*.test")), view()) == "wild"
    assert chosen(build(service + rule("own", "x", extra="exportTo: ['.']")), view()) == ""
    assert chosen(build(service + rule("own", "x"), defaultDestinationRuleExportTo=["."]), view()) == ""


def test_rules_of_one_host_are_one_rule(build: Build) -> None:
    one = rule("one", "x", extra="subsets: [{name: v1, labels: {v: '1'}}]", created="2023")
    two = rule(
        "two",
        "x",
        extra="subsets: [{name: v1, labels: {v: '9'}}, {name: v2, labels: {v: '2'}}], "
        "trafficPolicy: {tls: {mode: DISABLE}}",
    )
    snapshot = build(entry("a.test", "x") + two + one)
    found = destination_policy(snapshot, view(), snapshot.services[ServiceKey("a.test", "x")])
    assert found is not None
    assert {name: dict(subset.labels) for name, subset in found.subsets.items()} == {"v1": {"v": "1"}, "v2": {"v": "2"}}
    assert found.policy is not None
    assert found.config.endswith("/namespaces/x/destination-rule/one")


def test_rule_with_selector_is_for_its_own_workloads(build: Build) -> None:
    selecting = rule("chosen", "ns", extra="workloadSelector: {matchLabels: {app: a}}", created="2026")
    snapshot = build(entry("a.test", "x") + selecting + rule("plain", "ns"))
    found: Any = [chosen(snapshot, view(app="a")), chosen(snapshot, view(app="b"))]
    assert found == ["chosen", "plain"]


def test_rules_of_one_selector_are_one_rule(build: Build) -> None:
    both = "workloadSelector: {matchLabels: {app: a}}, subsets: [{name: %s, labels: {v: '1'}}]"
    snapshot = build(entry("a.test", "x") + rule("one", "ns", extra=both % "v1") + rule("two", "ns", extra=both % "v2"))
    found = destination_policy(snapshot, view(app="a"), snapshot.services[ServiceKey("a.test", "x")])
    assert found is not None
    assert list(found.subsets) == ["v1", "v2"]


def test_a_rule_that_selects_others_hides_the_next_level_too(build: Build) -> None:
    selecting = rule("chosen", "ns", extra="workloadSelector: {matchLabels: {app: a}}")
    snapshot = build(entry("a.test", "x") + selecting + rule("owner", "x"))
    assert [chosen(snapshot, view(app="a")), chosen(snapshot, view(app="b"))] == ["chosen", ""]
    assert chosen(snapshot, view("elsewhere")) == "owner"


def test_an_exact_rule_hides_wildcards_from_those_that_do_not_see_it(build: Build) -> None:
    wild, root = rule("wild", "x", "*.test"), rule("root", "istio-system")
    partial = rule("partial", "x", extra="exportTo: [elsewhere]")
    assert chosen(build(entry("a.test", "x") + wild + partial + root), view()) == "root"
    own = rule("own", "x", extra="exportTo: ['.']")
    assert chosen(build(entry("a.test", "x") + wild + own + root), view()) == "wild"


def test_rules_of_one_host_with_different_reach_stay_apart(build: Build) -> None:
    everyone = rule("everyone", "x", extra="subsets: [{name: v1, labels: {v: '1'}}]", created="2023")
    own = rule("own", "x", extra="exportTo: ['.'], subsets: [{name: v2, labels: {v: '2'}}]")
    snapshot = build(entry("a.test", "x") + everyone + own)
    assert [chosen(snapshot, view()), chosen(snapshot, view("x"))] == ["everyone", "own"]


def test_proxies_of_the_root_namespace_follow_its_private_rules_first(build: Build) -> None:
    private, owner = rule("private", "istio-system", extra="exportTo: ['.']"), rule("owner", "x")
    everyone = rule("everyone", "istio-system", "*")
    service = entry("a.test", "x")
    gateway = view("istio-system", ProxyType.ROUTER)
    assert chosen(build(service + private + owner + everyone), gateway) == "private"
    assert chosen(build(service + owner + everyone), gateway) == "owner"
    assert chosen(build(service + everyone), gateway) == "everyone"
