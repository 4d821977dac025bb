"""A small cluster for translations: namespaces with labels, services `a` and `b` of `apps`, objects as YAML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from istiod.gatewayapi.status import Condition, ObjectStatus
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.sources.contents import Contents
from istiod.store import Store

CLUSTER = """
apiVersion: v1
kind: Namespace
metadata: {name: apps, labels: {team: one}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {team: two}}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: apps}
spec: {clusterIP: 10.0.0.1, selector: {app: a}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: apps}
spec: {clusterIP: 10.0.0.2, selector: {app: b}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: c, namespace: other}
spec: {clusterIP: 10.0.0.3, selector: {app: c}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""


@dataclass
class World:
    """Files of one cluster and the snapshots made of them, one after the other."""

    contents: Contents = field(default_factory=Contents)
    store: Store = field(default_factory=Store)
    builder: SnapshotBuilder = field(default_factory=lambda: SnapshotBuilder(Place("east", "net")))

    def put(self, text: str, name: str = "test.yaml") -> Snapshot:
        """Write a file; every object in it must be valid."""
        self.contents.put(name, text)
        self.store.apply(self.contents.events())
        made = self.builder.build(self.store.tables())
        assert [str(f) for f in made.findings if f.code in ("UnknownField", "InvalidValue", "MissingField")] == []
        return made


@pytest.fixture
def world() -> World:
    made = World()
    made.put(CLUSTER, "cluster.yaml")
    return made


@pytest.fixture
def translated(world: World) -> Callable[[str], Snapshot]:
    """The snapshot of the cluster with these objects."""
    return world.put


def status_of(snapshot: Snapshot, name: str) -> ObjectStatus:
    (found,) = (item for item in snapshot.gateway_api.statuses if item.object == name)
    return found


def short(conditions: tuple[Condition, ...]) -> dict[str, str]:
    """Type -> reason, with a `!` before the reason where the condition is false."""
    return {c.type: c.reason if c.status else f"!{c.reason}" for c in conditions}


def gateway(
    listeners: str = "{name: web, port: 80, protocol: HTTP}", more: str = "", name: str = "front", cls: str = "istio"
) -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: apps}}
spec: {{gatewayClassName: {cls}, listeners: [{listeners}]{", " + more if more else ""}}}
"""


def route(
    name: str = "r",
    rules: str = "{backendRefs: [{name: a, port: 80}]}",
    parents: str = "{name: front}",
    hosts: str = "",
    namespace: str = "apps",
    kind: str = "HTTPRoute",
    created: str = "",
) -> str:
    hostnames = f"hostnames: [{hosts}], " if hosts else ""
    stamp = f", creationTimestamp: '{created}'" if created else ""
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}{stamp}}}
spec: {{parentRefs: [{parents}], {hostnames}rules: [{rules}]}}
"""


def grant(source: str = "HTTPRoute", namespace: str = "other", to: str = "Service", name: str = "") -> str:
    target = f"{{group: '', kind: {to}{f', name: {name}' if name else ''}}}"
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: g, namespace: {namespace}}}
spec: {{from: [{{group: gateway.networking.k8s.io, kind: {source}, namespace: apps}}], to: [{target}]}}
"""
