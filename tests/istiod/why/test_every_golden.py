"""Whatever is configured, a request has an answer: every golden's mesh is asked the same questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from federation.bootstrap import ProxyBootstrap, render_bootstrap
from federation.model.locality import Locality
from istiod.api.kinds import Kind
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.sources.contents import Contents, MeshFile
from istiod.store import Store
from istiod.view.classes import view_of
from istiod.view.node import proxy_from_node
from istiod.view.proxy import ProxyType, ProxyView
from istiod.why.answer import Answer, Outcome
from istiod.why.explain import explain
from istiod.why.request import parse_request

GOLDENS = Path(__file__).parents[2] / "golden"
HEADERS = ["authorization: Bearer e30.eyJpc3MiOiJtZSJ9.e30", "x-forwarded-for: 1.2.3.4"]


def world(name: str) -> tuple[Snapshot, ProxyView]:
    head, rest = (GOLDENS / name / "input.yaml").read_text().split("\n---\n", 1)
    said: dict[str, Any] = yaml.safe_load(head)
    store, contents = Store(), Contents()
    contents.put("input.yaml", rest)
    store.apply(contents.events())
    store.apply(MeshFile(Kind.MESH_CONFIG, "mesh.yaml").put(yaml.safe_dump(said.get("mesh", {}))))
    networks = yaml.safe_dump({"networks": said.get("networks", {})})
    store.apply(MeshFile(Kind.MESH_NETWORKS, "networks.yaml").put(networks))
    snapshot = SnapshotBuilder(Place("east", "net-east")).build(store.tables())
    fields: dict[str, Any] = {
        "type": "sidecar", "name": "web-1", "namespace": "shop", "service_account": "web", "address": "10.0.0.1",
        "cluster": "east", "network": "net-east", "mesh": "m1", "xds_host": "x", "xds_port": 1, "server_name": "x",
        "root_file": Path("x"), "token_file": Path("x"), "directory": Path(), "admin_socket": Path("x"),
        **said["proxy"],
    }  # fmt: skip
    fields["locality"] = Locality.parse(said["proxy"].get("locality", ""))
    node = render_bootstrap(ProxyBootstrap(**fields))["node"]
    metadata = {**node["metadata"], **said.get("metadata", {})}
    return snapshot, view_of(proxy_from_node(node["id"], metadata, fields["locality"], (1, 40)), snapshot)


def questions(snapshot: Snapshot, view: ProxyView) -> list[tuple[str, bool, str]]:
    """URL, whether inbound, principal: each port of each service, and of what no service has."""
    ports = sorted({(s.host.replace("*", "x"), p.number) for s in snapshot.services.values() for p in s.ports})
    hosts = [*ports, ("nobody.example.com", 80), ("nobody.example.com", 443), ("10.9.9.9", 8080)]
    found = [(f"{scheme}://{host}:{port}/x", False, "") for host, port in hosts for scheme in ("http", "https", "tcp")]
    if view.type is not ProxyType.SIDECAR:
        return [*found, ("tls://outbound_.80_._.a.shop.svc.cluster.local:15443", False, "")]
    own = sorted({target.target_port for target in view.targets} | {1234})
    called = [("", False), ("cluster.local/ns/shop/sa/web", True)]
    return [*found, *((f"http://me:{port}/x", True, principal) for port in own for principal, _ in called)]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in GOLDENS.glob("*/input.yaml")))
def test_every_question_has_an_answer(name: str) -> None:
    snapshot, view = world(name)
    for url, inbound, principal in questions(snapshot, view):
        request = parse_request("GET", url, HEADERS, inbound, principal)
        answer = explain(snapshot, view, "me", request, 0.0, "10.0.0.1")
        assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer
        assert answer.reason
        assert answer.steps
        if answer.outcome is Outcome.ROUTED:
            assert answer.upstreams
            assert answer.status is None
        for cause in (cause for step in answer.steps for cause in step.causes):
            kind, _, rest = cause.object.partition(" ")
            assert kind == "MeshConfig" or "/" in rest, cause
            assert "~" not in rest, cause  # nobody wrote what was derived
