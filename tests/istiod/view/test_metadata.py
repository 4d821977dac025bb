"""Node metadata in the class of a proxy: only what some patch of the mesh asks for."""

from __future__ import annotations

from typing import Any

from federation.model.labels import Labels
from federation.model.locality import NO_LOCALITY
from istiod.api.kinds import Kind
from istiod.api.parse import parse_documents
from istiod.events import Upsert
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store
from istiod.view.classes import looked_at, view_of
from istiod.view.node import proxy_from_node
from istiod.view.proxy import Proxy

NODE = {"INSTANCE_IPS": "10.0.0.1", "ISTIO_VERSION": "1.32.0", "TEAM": "blue", "DEEP": {"a": "b"}, "TRUE": True}


def proxy(**more: Any) -> Proxy:
    return proxy_from_node("sidecar~10.0.0.1~a.apps~apps.svc.cluster.local", {**NODE, **more}, NO_LOCALITY)


def snapshot(match: str) -> Snapshot:
    text = f"""
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: f, namespace: apps}}
spec:
  configPatches:
  - {{applyTo: CLUSTER, match: {match}, patch: {{operation: REMOVE}}}}
"""
    (item,) = parse_documents(text, "f").objects
    store = Store()
    store.apply([Upsert(Kind(item.kind), item.meta.key, item)])
    return SnapshotBuilder(Place("c", "n")).build(store.tables())


def test_texts_of_the_node_are_kept() -> None:
    assert proxy().metadata == Labels({"INSTANCE_IPS": "10.0.0.1", "ISTIO_VERSION": "1.32.0", "TEAM": "blue"})
    assert "LONG" not in proxy(LONG="x" * 2000).metadata


def test_only_what_is_asked_for_tells_classes_apart() -> None:
    nothing, team = snapshot("{}"), snapshot("{proxy: {metadata: {TEAM: blue}}}")
    assert view_of(proxy(), nothing).metadata == Labels({})
    assert view_of(proxy(), team).metadata == Labels({"TEAM": "blue"})
    assert view_of(proxy(), team) != view_of(proxy(TEAM="red"), team)
    assert view_of(proxy(OTHER="x"), team) == view_of(proxy(OTHER="y"), team)
    version = snapshot("{proxy: {proxyVersion: '1.*'}}")
    assert view_of(proxy(), version).metadata == Labels({"ISTIO_VERSION": "1.32.0"})
    assert looked_at(nothing) != looked_at(team) != looked_at(version)
