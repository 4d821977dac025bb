"""Objects in short, and what the analyzers say of them. A small mesh stands behind every case: namespaces `a` and `b`,
service `s` of `a` with one pod, service `t` of `b`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import yaml

from federation.model.findings import Severity
from federation.model.names import NamespacedName
from federation.table import Peer
from istiod.analyze.analysis import analyze
from istiod.api.kinds import KINDS, Kind
from istiod.api.parse import parse_documents, parse_mesh_config, parse_mesh_networks
from istiod.events import MESH_KEY, Event, Upsert
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store

Objects = Iterable[str]
Found = set[tuple[str, str]]  # code and path


def obj(kind: str, name: str, spec: str = "{}", namespace: str = "a", **meta: Any) -> str:
    """A document: `spec` in YAML; fields beside metadata for kinds that have no spec."""
    info = KINDS[kind]
    group = next(iter(info.groups))
    fields = yaml.safe_load(spec)
    document = {
        "apiVersion": f"{group}/v1".lstrip("/"),
        "kind": info.called or kind,
        "metadata": {"name": name, **({} if info.cluster_scoped else {"namespace": namespace}), **meta},
    }
    return yaml.safe_dump({**document, **(fields if info.whole else {"spec": fields})})


def pod(name: str, labels: str, ip: str, namespace: str = "a", ports: str = "[]", account: str = "default") -> str:
    spec = f"{{serviceAccountName: {account}, containers: [{{name: c, ports: {ports}}}]}}"
    status = f"{{phase: Running, podIP: {ip}}}"
    return obj("Pod", name, f"{{spec: {spec}, status: {status}}}", namespace, labels=yaml.safe_load(labels))


def slices(service: str, *ips: str, namespace: str = "a", ports: str = "[{name: http, port: 8080}]") -> str:
    endpoints = "[" + ", ".join(f"{{addresses: [{ip}]}}" for ip in ips) + "]"
    fields = f"{{addressType: IPv4, ports: {ports}, endpoints: {endpoints}}}"
    return obj("EndpointSlice", f"{service}-1", fields, namespace, labels={"kubernetes.io/service-name": service})


SIDECAR = "security.istio.io/tlsMode: istio"
BASE = (
    obj("Namespace", "a"),
    obj("Namespace", "b"),
    obj("Service", "s", "{clusterIP: 10.1.0.1, selector: {app: s}, ports: [{name: http, port: 80, targetPort: 8080}]}"),
    obj("Service", "t", "{clusterIP: 10.1.0.2, ports: [{name: http, port: 80}, {name: tcp, port: 90}]}", "b"),
    pod("s-1", f"{{app: s, version: v1, {SIDECAR}}}", "10.0.0.1"),
    slices("s", "10.0.0.1"),
)


def snapshot_of(
    objects: Objects = (), mesh: str = "{}", networks: str = "", peers: Iterable[Peer] = (), base: Objects = BASE
) -> Snapshot:
    """The snapshot of some objects; every one must be valid."""
    parsed = parse_documents("\n---\n".join((*base, *objects)), "test.yaml")
    wrong = [finding for finding in parsed.findings if finding.severity is Severity.ERROR]
    assert not wrong, wrong
    events: list[Event] = [Upsert(Kind(item.kind), item.meta.key, item) for item in parsed.objects]
    settings, _ = parse_mesh_config(mesh, "mesh.yaml")
    assert settings is not None
    events.append(Upsert(Kind.MESH_CONFIG, MESH_KEY, settings))
    if networks:
        events.append(Upsert(Kind.MESH_NETWORKS, MESH_KEY, parse_mesh_networks(networks, "networks.yaml")[0]))
    events += [Upsert(Kind.PEER, NamespacedName("", peer.cluster), peer) for peer in peers]
    store = Store()
    store.apply(events)
    return SnapshotBuilder(Place("east", "net-east")).build(store.tables())


@pytest.fixture
def said() -> Callable[..., Found]:
    """Codes and paths of all findings about some objects beside the small mesh."""

    def ask(*objects: str, **rest: Any) -> Found:
        return {(finding.code, finding.path) for finding in analyze(snapshot_of(objects, **rest))}

    return ask
