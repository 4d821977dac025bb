"""What an edit would change, computed without applying it: for whom, which resource, which field."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.locality import NO_LOCALITY
from federation.runtime.ready import Readiness
from istiod.debug.difference import changed_fields
from istiod.debug.http import MAX_QUESTION_BYTES, debug_app
from istiod.debug.report import DiffReport
from istiod.debug.trial import Group, apply_edit, diff_report, read_edit, snapshot_after
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder, changes
from istiod.sources.contents import Contents
from istiod.store import Store, Tables
from istiod.view.classes import view_of
from istiod.view.node import proxy_from_node
from istiod.view.proxy import Proxy

PLACE = Place("c", "n")
SERVICES = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: apps}
spec:
  hosts: [a.test, b.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 192.0.2.1}]
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: apps}
spec: {hosts: [a.test], exportTo: [apps], http: [{route: [{destination: {host: b.test}}]}]}
"""


def world(text: str) -> tuple[Tables, SnapshotBuilder, Snapshot]:
    contents, store = Contents(), Store()
    contents.put("x", text)
    store.apply(contents.events())
    tables, builder = store.tables(), SnapshotBuilder(PLACE)
    return tables, builder, builder.build(tables)


def proxy(name: str, namespace: str) -> Proxy:
    domain = f"{namespace}.svc.cluster.local"
    return proxy_from_node(
        f"sidecar~10.0.0.1~{name}.{namespace}~{domain}", {"CLUSTER_ID": "c", "NETWORK": "n"}, NO_LOCALITY
    )


async def diff(text: str, edit: str, *deleted: str, fields: bool = False) -> DiffReport:
    tables, builder, before = world(text)
    groups = [
        Group(view_of(one, before), (one,)) for one in (proxy("p1", "apps"), proxy("p2", "other"), proxy("p3", "apps"))
    ]
    read = read_edit({"edit.yaml": edit}, deleted)
    return await diff_report("c", before, tables, PLACE, builder.ledger, groups, read, fields)


async def test_only_those_that_see_an_object_change() -> None:
    report = await diff(SERVICES, RULE)
    assert [(item.object, item.change) for item in report.objects] == [("VirtualService apps/a", "added")]
    (item,) = report.classes
    assert [name.split("~")[2] for name in item.proxies] == ["p1.apps", "p3.apps"]
    assert [(r.type, r.name, r.change, r.fields) for r in item.resources] == [("routes", "80", "changed", ())]
    assert report.unchanged == 1


async def test_fields_that_change() -> None:
    report = await diff(SERVICES + "---" + RULE, RULE.replace("host: b.test", "host: a.test"), fields=True)
    (resource,) = report.classes[0].resources
    found = {(f.path.rpartition("].")[2], f.before, f.after) for f in resource.fields}
    assert ("route.cluster", "outbound|80||b.test", "outbound|80||a.test") in found


async def test_what_is_already_so_changes_nothing() -> None:
    report = await diff(SERVICES + "---" + RULE, RULE, "VirtualService/apps/nobody")
    assert [item.change for item in report.objects] == ["same", "not there"]
    assert (report.classes, report.unchanged) == ((), 3)


async def test_deletion_and_its_findings() -> None:
    rule = RULE.replace("exportTo: [apps], ", "")
    other = SERVICES.replace("name: a,", "name: c,").replace("[a.test, b.test]", "[c.test]")
    report = await diff("---".join((SERVICES, rule, other)), "", "ServiceEntry/apps/a")
    assert {r.change for item in report.classes for r in item.resources} >= {"removed"}
    assert "HostNotFound" in {finding.code for finding in report.findings}


async def test_wrong_objects_are_said_and_not_compared() -> None:
    report = await diff(SERVICES, RULE.replace("hosts", "hots"))
    assert (report.refused, report.classes) == (True, ())
    assert "UnknownField" in {finding.code for finding in report.findings}


@pytest.mark.parametrize("text", ["VirtualService", "Nothing/apps/a", "VirtualService/apps/"])
def test_deletions_that_are_no_names(text: str) -> None:
    with pytest.raises(InvalidInput, match="no object"):
        read_edit({}, [text])


def test_unchanged_parts_of_the_world_are_the_same_objects() -> None:
    tables, builder, before = world(SERVICES)
    edited, _ = apply_edit(tables, read_edit({"e": RULE}, ()))
    after = snapshot_after(before, edited, PLACE, builder.ledger)
    changed = changes(before, after)
    assert (changed.config, changed.endpoints, set(changed.objects)) == (False, frozenset(), {"VirtualService"})
    assert tables.by_kind.get("VirtualService", {}) == {}


def test_lists_are_compared_by_name() -> None:
    before = {"hosts": [{"name": "a", "x": 1}, {"name": "b"}], "plain": [1, 2], "gone": True}
    after = {"hosts": [{"name": "b"}, {"name": "a", "x": 2}, {"name": "c"}], "plain": [1, 3]}
    found = {field.path: (field.before, field.after) for field in changed_fields(before, after)}
    assert found == {
        "hosts[a].x": (1, 2),
        "hosts[c]": (None, {"name": "c"}),
        "hosts (order)": (["a", "b"], ["b", "a", "c"]),
        "plain[1]": (2, 3),
        "gone": (True, None),
    }


async def test_questions_by_http_are_bounded() -> None:
    asked: list[bytes] = []

    async def answer(body: bytes) -> Any:
        asked.append(body)
        if body == b"wrong":
            raise InvalidInput([Finding(Severity.ERROR, "X", "x", "", "no sense", "")])
        return {"ok": True}

    app = debug_app(Readiness(), {}, {}, {"diff": answer})
    json = {"content-type": "application/json"}
    async with TestClient(TestServer(app)) as client:

        async def status(body: bytes, name: str = "diff", **headers: str) -> int:
            async with client.post(f"/debug/{name}", data=body, headers={**json, **headers}) as response:
                return response.status

        assert await status(b"{}") == 200
        assert await status(b"wrong") == 400
        assert await status(b"{}", "other") == 404
        assert await status(b"{}", **{"content-type": "text/plain"}) == 415
        assert await status(b"x" * (MAX_QUESTION_BYTES + 1)) == 413
        assert asked == [b"{}", b"wrong"]
        async with client.get("/debug") as response:
            assert (await response.json())["views"] == ["/debug/diff"]
