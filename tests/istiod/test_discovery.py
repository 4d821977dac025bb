"""Which namespaces are looked at."""

from __future__ import annotations

import pytest

from federation.model.names import NamespacedName
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.api.parse import parse_documents
from istiod.discovery import discovered
from istiod.events import MESH_KEY
from istiod.store import Tables

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: in, labels: {mesh: "yes", team: a}}
---
apiVersion: v1
kind: Namespace
metadata: {name: out, labels: {team: b}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: in}
spec: {hosts: [a.test], http: [{directResponse: {status: 200}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: out}
spec: {hosts: [b.test], http: [{directResponse: {status: 200}}]}
"""


def tables(*selectors: dict) -> Tables:
    by_kind: dict[str, dict] = {}
    for item in parse_documents(WORLD, "w.yaml").objects:
        by_kind.setdefault(item.kind, {})[item.meta.key] = item
    by_kind[Kind.MESH_CONFIG] = {MESH_KEY: MeshConfig.model_validate({"discoverySelectors": list(selectors)})}
    return Tables(by_kind)


@pytest.mark.parametrize(
    ("selectors", "seen"),
    [
        ([], {"in", "out"}),
        ([{"matchLabels": {"mesh": "yes"}}], {"in"}),
        ([{"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}], {"in", "out"}),
        ([{"matchExpressions": [{"key": "mesh", "operator": "DoesNotExist"}]}], {"out"}),
        ([{"matchLabels": {"mesh": "yes"}}, {"matchLabels": {"team": "b"}}], {"in", "out"}),
        ([{"matchLabels": {"mesh": "yes", "team": "b"}}], set()),
        ([{}], {"in", "out"}),
    ],
)
def test_selected_namespaces_alone_are_seen(selectors, seen):
    found = discovered(tables(*selectors))
    assert {key.namespace for key in found.of(Kind.VIRTUAL_SERVICE)} == seen
    assert len(found.of(Kind.NAMESPACE)) == 2
    assert [finding.code for finding in found.findings] == ([] if seen else ["NothingDiscovered"])


def test_unchanged_tables_stay_the_same():
    said = tables({"matchLabels": {"mesh": "yes"}})
    once, again = discovered(said), discovered(said)
    assert once.of(Kind.VIRTUAL_SERVICE) is again.of(Kind.VIRTUAL_SERVICE)
    assert NamespacedName("in", "v") in once.of(Kind.VIRTUAL_SERVICE)


def test_selectors_select_nothing_where_no_namespace_is_known() -> None:
    found = tables({"matchLabels": {"mesh": "yes"}})
    without = Tables({kind: table for kind, table in found.by_kind.items() if kind != Kind.NAMESPACE})
    assert discovered(without) is without
