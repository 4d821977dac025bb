"""Whatever path led to them: the same tables are translated to the same objects, statuses and findings."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from istiod.api.kinds import Kind
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.sources.contents import Contents
from istiod.store import Store
from tests.istiod.gatewayapi.conftest import CLUSTER, gateway, grant, route

PLACE = Place("east", "net")
LISTENERS = (
    "{name: web, port: 80, protocol: HTTP}",
    "{name: web, port: 80, protocol: HTTP, hostname: '*.test', allowedRoutes: {namespaces: {from: All}}}",
    "{name: web, port: 80, protocol: HTTP}, {name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}}",
    "{name: web, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s, namespace: other}]}}",
)
POLICY = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: p, namespace: apps}
spec:
  targetRefs: [{group: "", kind: Service, name: a}]
  validation: {hostname: a.test, wellKnownCACertificates: System}
"""
RULE = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: apps}
spec: {host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 3s}}}}
"""
# What each file may hold; "" is no file.
POOL: dict[str, tuple[str, ...]] = {
    "cluster": (CLUSTER, CLUSTER.replace("team: two", "team: one"), CLUSTER.partition("---")[0]),
    "gateway": ("", *map(gateway, LISTENERS), gateway(more="addresses: [{type: Hostname, value: a}]")),
    "one": ("", route("r1"), route("r1", hosts="x.test"), route("r1", created="2020-01-01T00:00:00Z")),
    "two": (
        "",
        route("r2", rules="{backendRefs: [{name: c, namespace: other, port: 80}]}"),
        route("r2", parents="{group: '', kind: Service, name: a}"),
        route("r2", namespace="other", parents="{name: front, namespace: apps}"),
    ),
    "bytes": ("", route("r3", kind="TLSRoute", hosts="y.test"), route("r3", kind="TCPRoute")),
    "grant": ("", grant(), grant("Gateway", to="Secret")),
    "policy": ("", POLICY),
    "rule": ("", RULE),
}
edits = st.sampled_from(sorted(POOL)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(POOL[name])))


def facts(snapshot: Snapshot) -> list[Any]:
    tables = [snapshot.tables.get(kind, {}) for kind in (Kind.GATEWAY, Kind.VIRTUAL_SERVICE, Kind.DESTINATION_RULE)]
    return [*map(dict, tables), snapshot.gateway_api.statuses, snapshot.findings, snapshot.gateway_api.secrets]


@settings(max_examples=60, deadline=None)
@given(st.lists(edits, min_size=3, max_size=12))
def test_step_by_step_equals_from_scratch(history: list[tuple[str, str]]) -> None:
    contents, store, builder = Contents(), Store(), SnapshotBuilder(PLACE)
    now: dict[str, str] = {}
    old: Snapshot | None = None
    for name, text in history:
        now[name] = text
        contents.put(f"{name}.yaml", text)
        store.apply(contents.events())
        new = builder.build(store.tables())
        fresh, other = Contents(), Store()
        for known in sorted(now, reverse=True):
            fresh.put(f"{known}.yaml", now[known])
        other.apply(fresh.events())
        assert facts(new) == facts(SnapshotBuilder(PLACE).build(other.tables()))
        if old is not None:
            for kind in (Kind.GATEWAY, Kind.VIRTUAL_SERVICE, Kind.DESTINATION_RULE):
                before, after = old.tables.get(kind, {}), new.tables.get(kind, {})
                assert all(before.get(key) is item or before.get(key) != item for key, item in after.items())
        old = new
