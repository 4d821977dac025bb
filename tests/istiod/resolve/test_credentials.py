# ruff: noqa: E501 -- YAML in one line reads better
"""Who may have which Secret, what they get of it, and what is said where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from federation.model.findings import Severity
from federation.model.names import NamespacedName
from istiod.resolve.clusters import outbound_clusters
from istiod.resolve.credentials import (
    credential_findings,
    credentials_of,
    expired_credentials,
    may_have,
    parse_credential,
)
from istiod.resolve.reach import reaches
from istiod.resolve.scope import scope_of
from istiod.resolve.specs.secret import CertificateSpec, RootsSpec
from istiod.resolve.tls import credential as reference
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView

WEB = NamespacedName("edge", "web")
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: apps}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: one, protocol: HTTPS}, hosts: [one.test], tls: %s}
---
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: apps}
spec: {host: b, %strafficPolicy: {tls: %s}}
---
"""


@pytest.mark.parametrize(
    ("name", "secret", "roots", "granted"),
    [
        ("kubernetes://web", "edge/web", False, False),
        ("kubernetes://other/web", "other/web", False, False),
        ("kubernetes://web-cacert", "edge/web-cacert", True, False),
        ("kubernetes-gateway://other/web", "other/web", False, True),
        ("kubernetes-gateway://other/web-cacert", "other/web-cacert", True, True),
    ],
)
def test_names(name: str, secret: str, roots: bool, granted: bool) -> None:
    found = parse_credential(name, "edge")
    assert found is not None
    assert (str(found.secret), found.roots, found.granted) == (secret, roots, granted)


@pytest.mark.parametrize(
    "name",
    ["default", "ROOTCA", "file-cert:a~b", "kubernetes://", "kubernetes://a/b/c", "kubernetes:///web", "kubernetes://a/",
     "kubernetes-gateway://web", "configmap://a/b", "invalid://"],
)  # fmt: skip
def test_names_of_other_things(name: str) -> None:
    assert parse_credential(name, "edge") is None


def test_a_field_may_hold_a_name_with_its_scheme() -> None:
    assert reference("web").name == "kubernetes://web"
    assert reference("kubernetes-gateway://a/web").name == "kubernetes-gateway://a/web"


@pytest.mark.parametrize(
    ("name", "grants", "allowed"),
    [
        ("kubernetes://web", (), True),
        ("kubernetes://edge/web", (), True),
        ("kubernetes://other/web", (), False),
        ("kubernetes://other/web", ("other/web",), False),
        ("kubernetes-gateway://edge/web", (), False),
        ("kubernetes-gateway://other/web", ("other/web",), True),
        ("kubernetes-gateway://other/web-cacert", ("other/web",), True),
        ("kubernetes-gateway://other/web", ("other/more",), False),
    ],
)
def test_who_may_have_it(name: str, grants: tuple[str, ...], allowed: bool) -> None:
    found = parse_credential(name, "edge")
    assert found is not None
    granted = frozenset(NamespacedName(*text.split("/")) for text in grants)
    assert may_have(found, "edge", granted) is allowed


def served(snapshot: Snapshot, *names: str, namespace: str = "edge", grants: tuple[NamespacedName, ...] = ()) -> Any:
    table = snapshot.tables.get("Secret", {})
    return {spec.name: spec for spec in credentials_of(table, names, namespace, frozenset(grants))}


def test_what_a_proxy_gets(snapshot: Callable[..., Snapshot], credential: Any) -> None:
    made = credential("web.test")
    found = served(snapshot(made.secret("web", "edge")), "kubernetes://web", "kubernetes://web-cacert", "default")
    assert found == {
        "kubernetes://web": CertificateSpec("kubernetes://web", made.chain.encode(), made.key.encode()),
        "kubernetes://web-cacert": RootsSpec("kubernetes://web-cacert", made.roots.encode()),
    }
    assert "PRIVATE" not in repr(found)


def test_a_secret_of_its_own_for_the_ca_counts_first(snapshot: Callable[..., Snapshot], credential: Any) -> None:
    made, ca = credential("web.test"), credential("clients.test")
    text = made.secret("web", "edge") + "\n---\n" + ca.secret("web-cacert", "edge", "cacert", kind="Opaque")
    found = served(snapshot(text), "kubernetes://web-cacert")
    assert found["kubernetes://web-cacert"].roots == ca.roots.encode()


def test_other_namespaces_get_nothing_without_a_grant(snapshot: Callable[..., Snapshot], credential: Any) -> None:
    world = snapshot(credential("web.test").secret("web", "edge"))
    names = ("kubernetes://edge/web", "kubernetes-gateway://edge/web", "kubernetes://web")
    assert served(world, *names, namespace="other") == {}
    granted = served(world, *names, namespace="other", grants=(WEB,))
    assert set(granted) == {"kubernetes-gateway://edge/web"}


def router(view: Callable[..., ProxyView], **fields: Any) -> ProxyView:
    return view(type=ProxyType.ROUTER, namespace="edge", labels={"istio": "ingressgateway"}, **fields)


def findings(snapshot: Snapshot, view: ProxyView, **more: Any) -> list[tuple[str, str, str]]:
    return [(f.object, f.path, f.message) for f in credential_findings(snapshot, view, **more)]


def test_a_gateway_with_all_it_needs_has_no_findings(
    snapshot: Callable[..., Snapshot], view: Callable[..., ProxyView], credential: Any
) -> None:
    text = GATEWAY % "{mode: MUTUAL, credentialName: web}" + credential("web.test").secret("web", "edge")
    assert findings(snapshot(text), router(view)) == []


@pytest.mark.parametrize(
    ("tls", "field", "message"),
    [
        ("{mode: SIMPLE, credentialName: absent}", "credentialName", "there is no usable Secret edge/absent"),
        ("{mode: SIMPLE, credentialName: kubernetes://apps/web}", "credentialName",
         "Secret apps/web is not for proxies of namespace edge"),
        ("{mode: SIMPLE, credentialName: kubernetes-gateway://apps/web}", "credentialName",
         "Secret apps/web is not for proxies of namespace edge"),
        ("{mode: SIMPLE, credentialName: 'invalid://'}", "credentialName", "'invalid://' is no name of a Secret"),
        ("{mode: SIMPLE, credentialNames: [pair, absent]}", "credentialNames[1]", "there is no usable Secret edge/absent"),
        ("{mode: SIMPLE, credentialName: roots}", "credentialName",
         "Secret edge/roots has no cert and key or tls.crt and tls.key; it has ca.crt"),
        ("{mode: MUTUAL, credentialName: pair}", "credentialName",
         "Secret edge/pair has no cacert or ca.crt; it has tls.crt, tls.key"),
        ("{mode: OPTIONAL_MUTUAL, credentialName: pair, caCertCredentialName: absent}", "caCertCredentialName",
         "there is no usable Secret edge/absent"),
    ],
)  # fmt: skip
def test_what_a_gateway_lacks(
    snapshot: Callable[..., Snapshot],
    view: Callable[..., ProxyView],
    credential: Any,
    tls: str,
    field: str,
    message: str,
) -> None:
    made = credential("web.test")
    parts = [
        made.secret("pair", "edge", "tls.crt", "tls.key"),
        made.secret("roots", "edge", "ca.crt", kind="Opaque"),
        made.secret("web", "apps"),
    ]
    world = snapshot(GATEWAY % tls + "\n---\n".join(parts))
    assert findings(world, router(view)) == [("Gateway apps/gw", f"spec.servers[0].tls.{field}", message)]
    assert all(
        finding.severity is Severity.ERROR and finding.fix for finding in credential_findings(world, router(view))
    )
    assert findings(world, view()) == []  # of no concern to a sidecar


def test_a_ca_of_its_own_may_lack_the_ending(
    snapshot: Callable[..., Snapshot], view: Callable[..., ProxyView], credential: Any
) -> None:
    made = credential("web.test")
    parts = [made.secret("pair", "edge", "tls.crt", "tls.key"), made.secret("roots", "edge", "ca.crt", kind="Opaque")]
    for name in ("roots", "roots-cacert"):
        tls = f"{{mode: MUTUAL, credentialName: pair, caCertCredentialName: {name}}}"
        assert findings(snapshot(GATEWAY % tls + "\n---\n".join(parts)), router(view)) == []


def test_a_grant_answers_the_question(
    snapshot: Callable[..., Snapshot], view: Callable[..., ProxyView], credential: Any
) -> None:
    text = GATEWAY % "{mode: SIMPLE, credentialName: kubernetes-gateway://apps/web}"
    world = snapshot(text + credential("web.test").secret("web", "apps"))
    assert findings(world, router(view), grants=frozenset({NamespacedName("apps", "web")})) == []


TLS = "{mode: MUTUAL, credentialName: web}"


def upstream(world: Snapshot, view: ProxyView) -> Any:
    found = outbound_clusters(world, view, scope_of(world, view).services)
    return next(spec for spec in found if spec.name == "outbound|80||b.apps.svc.cluster.local")


def test_a_rule_counts_at_sidecars_only_with_a_selector(
    snapshot: Callable[..., Snapshot], view: Callable[..., ProxyView], credential: Any
) -> None:
    secret = credential("web.test").secret("web", "apps")
    plain = snapshot(RULE % ("", TLS) + secret)
    assert upstream(plain, view()).tls is None
    assert [(f.code, f.path) for f in credential_findings(plain, view())] == [
        ("CredentialIgnored", "spec.trafficPolicy.tls.credentialName")
    ]
    chosen = snapshot(RULE % ("workloadSelector: {matchLabels: {app: a}}, ", TLS) + secret)
    assert upstream(chosen, view()).tls.certificate == reference("web")
    assert upstream(chosen, view()).tls.roots == reference("web-cacert")
    assert findings(chosen, view()) == []
    assert findings(chosen, view(labels={"app": "z"})) == []


def test_what_a_rule_lacks(snapshot: Callable[..., Snapshot], view: Callable[..., ProxyView], credential: Any) -> None:
    world = snapshot(RULE % ("", TLS) + credential("web.test").secret("web", "apps"))
    where = "spec.trafficPolicy.tls.credentialName"
    assert findings(world, router(view)) == [("DestinationRule apps/b", where, "there is no usable Secret edge/web")]


def test_certificates_out_of_date(snapshot: Callable[..., Snapshot], credential: Any) -> None:
    world = snapshot(credential("web.test", age=timedelta(days=3)).secret("web", "edge"))
    now = datetime.now(UTC)
    (finding,) = expired_credentials(world.tables["Secret"], now)
    assert (finding.code, finding.object, finding.path) == ("CredentialExpired", "Secret edge/web", "data.tls.crt")
    assert finding.message.startswith("the certificate's time expired at ")
    assert expired_credentials(world.tables["Secret"], now - timedelta(days=2, hours=12)) == ()
    assert "begins at" in expired_credentials(world.tables["Secret"], now - timedelta(days=4))[0].message


def test_a_secret_is_no_reason_to_resolve_anything_again(
    snapshot: Callable[..., Snapshot], view: Callable[..., ProxyView], credential: Any
) -> None:
    old, new = (snapshot(credential(name).secret("web", "edge")) for name in ("one.test", "two.test"))
    assert not reaches(old, new, router(view), {"Secret": [WEB]})
