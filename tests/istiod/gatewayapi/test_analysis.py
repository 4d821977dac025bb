"""What `isthmus analyze` says of objects of the Gateway API, and never of those that are made of them."""

from __future__ import annotations

from collections.abc import Callable

from istiod.analyze.analysis import analyze_all
from istiod.gatewayapi.names import MARK
from istiod.snapshot import Snapshot
from tests.istiod.gatewayapi.conftest import gateway, route

POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: %s, labels: {gateway.networking.k8s.io/gateway-name: front}}
status: {podIP: 10.1.0.1, phase: Running}
"""


def said(snapshot: Snapshot, name: str) -> list[tuple[str, str]]:
    return [(item.code, item.path) for item in analyze_all(snapshot) if item.object == name]


def test_a_gateway_without_pods_is_named(translated: Callable[[str], Snapshot]) -> None:
    wanted = ("SelectorMatchesNothing", "spec")
    assert wanted not in said(translated(gateway() + route() + POD % "apps"), "Gateway apps/front")
    assert wanted in said(translated(gateway() + route() + POD % "other"), "Gateway apps/front")


def test_findings_name_what_users_wrote(translated: Callable[[str], Snapshot]) -> None:
    snapshot = translated(gateway() + route(rules="{backendRefs: [{name: x, port: 80}]}") + POD % "other")
    assert said(snapshot, "HTTPRoute apps/r") == [("BackendNotFound", "spec.rules[0].backendRefs[0].name")]
    assert [item for item in analyze_all(snapshot) if MARK in item.object] == []


def test_a_field_without_effect_is_named(translated: Callable[[str], Snapshot]) -> None:
    sticky = "{sessionPersistence: {sessionName: s}, backendRefs: [{name: a, port: 80}]}"
    snapshot = translated(gateway() + route(rules=sticky))
    assert ("FieldNotSupported", "spec.rules[0].sessionPersistence") in said(snapshot, "HTTPRoute apps/r")
