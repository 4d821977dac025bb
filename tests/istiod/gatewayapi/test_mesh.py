"""Routes of Services, connections, and TLS towards backends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from textwrap import indent

import pytest

from federation.model.labels import Labels
from federation.model.locality import NO_LOCALITY
from federation.pki.issue import make_root, pem_of
from istiod.api.kinds import Kind
from istiod.resolve.config import resolve_view
from istiod.resolve.specs.listener import TcpProxy
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from tests.istiod.gatewayapi.conftest import gateway, route, short, status_of

Translated = Callable[[str], Snapshot]
SERVICE = "{group: '', kind: Service, name: a%s}"


def view(
    namespace: str = "apps", kind: ProxyType = ProxyType.SIDECAR, labels: dict[str, str] | None = None
) -> ProxyView:
    domain = f"{namespace}.svc.cluster.local"
    return ProxyView(kind, namespace, domain, "east", "net", NO_LOCALITY, Labels(labels or {}), agentless=True)


def routed(snapshot: Snapshot, namespace: str) -> set[str]:
    """The names of the routes that a sidecar of a namespace has for service a."""
    (config,) = (item for item in resolve_view(snapshot, view(namespace)).routes if item.name == "80")
    (host,) = (item for item in config.virtual_hosts if item.name.startswith("a.apps."))
    return {item.name for item in host.routes}


def test_a_consumers_route_stands_before_the_producers(translated: Translated) -> None:
    snapshot = translated(
        route("p", parents=SERVICE % "", created="2020-01-01T00:00:00Z")
        + route("c", parents=SERVICE % ", namespace: apps", namespace="other", created="2025-01-01T00:00:00Z")
    )
    assert routed(snapshot, "apps") == {"apps.p.0"}
    assert routed(snapshot, "other") == {"other.c.0"}
    assert routed(translated(route("p", parents=SERVICE % "")), "other") == {"apps.p.0"}


def test_a_route_for_another_port_leaves_this_one_alone(translated: Translated) -> None:
    two = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: apps}
spec: {clusterIP: 10.0.0.1, selector: {app: a}, ports: [{name: http, port: 80}, {name: http-two, port: 81}]}
"""
    snapshot = translated(two + route("p", parents=SERVICE % ", port: 81"))
    assert routed(snapshot, "apps") == {"default"}
    assert routed(translated(two + route("p", parents=SERVICE % ", port: 80")), "apps") == {"apps.p.0"}


def chains(snapshot: Snapshot, namespace: str = "apps") -> dict[tuple[int, tuple[str, ...]], tuple[str, ...]]:
    """Port and server names -> upstreams, of a gateway."""
    labels = {"gateway.networking.k8s.io/gateway-name": "front"}
    listeners = resolve_view(snapshot, view(namespace, ProxyType.ROUTER, labels)).listeners
    return {
        (listener.port, chain.match.server_names): tuple(name for name, _ in chain.handler.clusters)
        for listener in listeners
        for chain in listener.chains
        if isinstance(chain.handler, TcpProxy)
    }


def test_connections_go_by_server_name_or_port(translated: Translated) -> None:
    listeners = (
        "{name: tls, port: 443, protocol: TLS, hostname: '*.test', tls: {mode: Passthrough}}, "
        "{name: tcp, port: 9000, protocol: TCP}"
    )
    snapshot = translated(
        gateway(listeners)
        + route("one", kind="TLSRoute", parents="{name: front, sectionName: tls}", hosts="a.test, b.other")
        + route(
            "two", kind="TLSRoute", rules="{backendRefs: [{name: b, port: 80}]}", parents="{name: front, port: 443}"
        )
        + route("three", kind="TCPRoute", rules="{backendRefs: [{name: b, port: 80, weight: 0}, {name: a, port: 80}]}")
    )
    a, b = (f"outbound|80||{name}.apps.svc.cluster.local" for name in "ab")
    assert chains(snapshot) == {(443, ("a.test",)): (a,), (443, ("*.test",)): (b,), (9000, ()): (a,)}
    assert chains(snapshot, "other") == {}  # pods of another namespace are no gateways of this one


def test_connections_without_a_backend_go_nowhere(translated: Translated) -> None:
    listeners = "{name: tcp, port: 9000, protocol: TCP}"
    for backend in ("{name: x, port: 80}", "{name: a, port: 80, weight: 0}"):
        snapshot = translated(gateway(listeners) + route(kind="TCPRoute", rules=f"{{backendRefs: [{backend}]}}"))
        ((_, clusters),) = chains(snapshot).items()
        assert clusters[0].endswith("|unresolved.gateway-api.invalid")


def test_what_can_have_no_effect_is_said(translated: Translated) -> None:
    rules = "{backendRefs: [{name: a, port: 80}]}, {backendRefs: [{name: b, port: 80}]}"
    listeners = "{name: tcp, port: 9000, protocol: TCP}"
    snapshot = translated(gateway(listeners) + route(kind="TCPRoute", rules=rules) + route(parents=""))
    found = [(f.object, f.code, f.path) for f in snapshot.findings]
    assert ("TCPRoute apps/r", "UnreachableRule", "spec.rules[1]") in found
    assert ("HTTPRoute apps/r", "NoParents", "spec.parentRefs") in found


@pytest.fixture(scope="module")
def roots() -> str:
    """A ConfigMap with a CA certificate."""
    pem = pem_of(make_root("m", datetime(2026, 1, 1, tzinfo=UTC)).certificate).decode()
    return f"""
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: roots, namespace: apps}}
data:
  ca.crt: |
{indent(pem, "    ")}"""


def policy(name: str, target: str, more: str = "", created: str = "") -> str:
    ca = more or "caCertificateRefs: [{group: '', kind: ConfigMap, name: roots}]"
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: apps, creationTimestamp: '{created}'}}
spec: {{targetRefs: [{{group: '', kind: Service, name: {target}}}], validation: {{hostname: {name}.test, {ca}}}}}
"""


def upstream(snapshot: Snapshot, name: str = "a") -> object:
    found = resolve_view(snapshot, view()).clusters
    (cluster,) = (item for item in found if item.name == f"outbound|80||{name}.apps.svc.cluster.local")
    return cluster.tls


def test_tls_towards_a_backend(translated: Translated, roots: str) -> None:
    tls = upstream(translated(roots + policy("p", "a")))
    assert tls is not None
    assert (tls.sni, [m.value for m in tls.san_matches]) == ("p.test", ["p.test"])  # type: ignore[attr-defined]
    assert tls.roots.name.startswith("-----BEGIN CERTIFICATE-----")  # type: ignore[attr-defined]


def test_of_two_policies_the_older_counts(translated: Translated, roots: str) -> None:
    snapshot = translated(
        roots + policy("new", "a", created="2025-01-01T00:00:00Z") + policy("old", "a", created="2024-01-01T00:00:00Z")
    )
    assert upstream(snapshot).sni == "old.test"  # type: ignore[attr-defined]
    (parent,) = status_of(snapshot, "BackendTLSPolicy apps/new").parents
    assert short(parent.conditions)["Accepted"] == "!Conflicted"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (policy("p", "x"), "!TargetNotFound"),
        (policy("p", "a, sectionName: nope"), "!TargetNotFound"),
        (policy("p", "a", "caCertificateRefs: [{group: '', kind: ConfigMap, name: x}]"), "!NoValidCACertificate"),
        (policy("p", "a", "caCertificateRefs: [{group: g, kind: Nope, name: roots}]"), "!NoValidCACertificate"),
    ],
)
def test_what_is_wrong_with_a_policy(translated: Translated, roots: str, text: str, reason: str) -> None:
    snapshot = translated(roots + text)
    (parent,) = status_of(snapshot, "BackendTLSPolicy apps/p").parents
    assert short(parent.conditions)["Accepted"] == reason
    assert reason[1:] in {f.code for f in snapshot.findings}


def test_a_policy_without_certificates_lets_nothing_through(translated: Translated) -> None:
    tls = upstream(translated(policy("p", "a", "caCertificateRefs: [{group: '', kind: ConfigMap, name: x}]")))
    assert tls.roots.name == "file-root:/nowhere"  # type: ignore[attr-defined]


def test_what_a_user_said_of_the_service_stays(translated: Translated, roots: str) -> None:
    rule = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: apps}
spec:
  host: a
  trafficPolicy: {tls: {mode: DISABLE}, connectionPool: {tcp: {connectTimeout: 3s}}}
  subsets: [{name: v1, labels: {version: v1}}]
"""
    snapshot = translated(roots + rule + policy("p", "a"))
    clusters = {item.name: item for item in resolve_view(snapshot, view()).clusters}
    for subset in ("", "v1"):
        cluster = clusters[f"outbound|80|{subset}|a.apps.svc.cluster.local"]
        assert cluster.tls is not None
        assert (cluster.tls.sni, cluster.connect_timeout) == ("p.test", 3.0)
    (item,) = snapshot.tables[Kind.DESTINATION_RULE].values()
    assert [subset.name for subset in item.spec.subsets] == ["v1"]


@pytest.mark.parametrize(
    ("namespace", "more", "hidden"),
    [
        ("other", "", True),
        ("istio-system", "", False),
        ("apps", "", False),
        ("apps", ", workloadSelector: {matchLabels: {app: b}}", True),
    ],
)
def test_a_rule_of_clients_that_hides_a_policy_is_named(
    translated: Translated, roots: str, namespace: str, more: str, hidden: bool
) -> None:
    rule = f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: theirs, namespace: {namespace}}}
spec: {{host: a.apps.svc.cluster.local{more}}}
"""
    found = [f.object for f in translated(roots + rule + policy("p", "a")).findings if f.code == "PolicyHidden"]
    assert found == (["BackendTLSPolicy apps/p"] if hidden else [])
