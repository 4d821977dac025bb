# ruff: noqa: E501 -- YAML in one line reads better
"""Delegates: which matches go together, who may name them, what they inherit."""

from __future__ import annotations

import pytest

from istiod.api.virtualservice import HTTPRoute
from istiod.resolve.config import resolve_view
from istiod.resolve.delegates import expand

CHILD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: child, namespace: other}
spec: {exportTo: %s, http: [{directResponse: {status: 230}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root, namespace: apps}
spec: {hosts: [b.apps.svc.cluster.local], http: [{delegate: {name: child, namespace: other}}, {directResponse: {status: 231}}]}
"""


def expanded(root: dict, *children: dict) -> list[HTTPRoute]:
    routes = [HTTPRoute.model_validate(child) for child in children]
    said = {"delegate": {"name": "child"}, **root}
    return list(expand([HTTPRoute.model_validate(said)], "apps", "cluster.local", lambda _key, _from: routes))


def answer(**fields) -> dict:
    return {"directResponse": {"status": 230}, **fields}


@pytest.mark.parametrize(
    ("root", "child", "merged"),
    [
        ([{"uri": {"prefix": "/a"}}], [{"uri": {"prefix": "/a/b"}}], 1),
        ([{"uri": {"prefix": "/a"}}], [{"uri": {"exact": "/a/b"}}, {"uri": {"prefix": "/z"}}], None),  # whole route
        ([{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/z"}}], [{"uri": {"exact": "/z"}}], 1),
        ([{"uri": {"prefix": "/a"}}, {"headers": {"x": {"exact": "1"}}}], [{"uri": {"exact": "/a"}}], 2),
        ([{"headers": {"x": {"prefix": "gold"}}}], [{"headers": {"x": {"exact": "golden"}}}], 1),
        ([{"headers": {"x": {"exact": "1"}}}], [{"headers": {"x": {"exact": "2"}}}], None),
        ([{"headers": {"x": {}}}], [{"headers": {"x": {"exact": "2"}}}], 1),
        ([{"queryParams": {"v": {"regex": ".*"}}}], [{"queryParams": {"v": {"regex": ".*"}}}], None),
        ([{"port": 80}], [{"port": 81}], None),
        ([{"uri": {"prefix": "/a"}, "ignoreUriCase": True}], [{"uri": {"prefix": "/a"}}], None),
        ([{"uri": {"prefix": "/a"}, "ignoreUriCase": True}], [{"headers": {"x": {"exact": "1"}}}], None),
        ([{"sourceNamespace": "apps"}], [{"uri": {"prefix": "/a"}}], None),
        ([{"sourceNamespace": "apps"}], [{"uri": {"prefix": "/a"}, "sourceNamespace": "apps"}], 1),
        ([{"gateways": ["gw", "mesh"]}], [{"gateways": ["mesh"]}], 1),
        ([{"gateways": ["mesh"]}], [{"gateways": ["gw"]}], None),
        ([], [{"uri": {"prefix": "/a"}}], 1),
        ([{"uri": {"prefix": "/a"}}], [], 1),
    ],
)
def test_every_match_must_lie_in_one_of_the_roots(root, child, merged):
    found = expanded({"match": root}, answer(match=child))
    assert [len(route.match) for route in found] == ([merged] if merged is not None else [])


def test_what_a_delegate_says_itself_stands():
    root = {"timeout": "5s", "retries": {"attempts": 1}, "headers": {"request": {"set": {"a": "1"}}}}
    silent, loud = expanded(root, answer(), answer(timeout="0s", headers={}))
    assert (silent.timeout, silent.retries.attempts, dict(silent.headers.request.set)) == (5.0, 1, {"a": "1"})
    assert (loud.timeout, loud.headers.request) == (0.0, None)


@pytest.mark.parametrize(("exported", "status"), [('["."]', 231), ("[apps]", 230), ('["*"]', 230), ("[]", 230)])
def test_a_delegate_must_be_exported_to_its_root(snapshot, view, exported, status):
    routes = next(r for r in resolve_view(snapshot(CHILD % exported), view()).routes if r.name == "80")
    host = next(found for found in routes.virtual_hosts if found.name.startswith("b.apps"))
    assert host.routes[0].action.status == status


def test_the_meshs_default_export_holds_for_delegates(snapshot, view):
    world = snapshot(CHILD % "[]", defaultVirtualServiceExportTo=["."])
    routes = next(r for r in resolve_view(world, view()).routes if r.name == "80")
    host = next(found for found in routes.virtual_hosts if found.name.startswith("b.apps"))
    assert host.routes[0].action.status == 231
