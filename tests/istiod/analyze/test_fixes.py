"""Corrections of files, and of objects in a running cluster."""

from __future__ import annotations

import pytest

from federation.model.findings import Finding, Severity
from istiod.analyze.fixes import fixed, object_patch, patch

HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: a}\n"
RULE = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD + "spec:\n  hosts: [s]  # mine\n  http:\n  - rout:\n    - destination: {host: s}\n", ("rout:", "route:")),
        (HEAD + "spec: {hosts: [s], http: [{route: [{destination: {hst: s}}]}]}\n", ("hst:", "host:")),
        (RULE + "spec: {host: s, trafficPolicy: {loadBalancer: {simple: ROUND_ROBN}}}\n", ("_ROBN", "_ROBIN")),
        (RULE + "spec: {host: s, trafficPolicy: {loadBalancer: {simple: random}}}\n", ("random", "RANDOM")),
        (RULE + "spec: {host: s, subsets: [{name: v1, labels: {version: 1.10}}]}\n", ("1.10", '"1.10"')),
        (RULE + "spec: {host: s, subsets: [{name: v1, labels: {a.b/c: yes}}]}\n", ("yes", '"yes"')),
        (RULE.replace("a}", "a, labels: {v: 2}}") + "spec: {host: s}\n", ("v: 2", 'v: "2"')),
        (RULE.replace("a}", "a, labels: {b.c/d: true}}") + "spec: {host: s}\n", ("true", '"true"')),
        ('{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "d"}, '
         '"spec": {"hots": "s"}}', ("hots", "host")),
    ],
)  # fmt: skip
def test_certain(before: str, after: tuple[str, str]) -> None:
    assert fixed(before, "f.yaml") == before.replace(*after)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "spec: {hosts: [s], http: [{route: [{destination: {host: s}}], rout: []}]}\n",  # route is there already
        HEAD + "spec: {hosts: [s], http: [{route: [{destination: {host: s}}], fantasy: 1}]}\n",
        RULE + "spec: {host: s, trafficPolicy: {loadBalancer: {simple: FANTASY}}}\n",
        RULE + "spec: {host: s, exportTo: [A_b]}\n",
        RULE + "spec: {host: s, trafficPolicy: {loadBalancer: {simple: ROUND}}}\n",  # ROUND_ROBIN is only a guess
        RULE + "spec: {hst: [s]}\n",  # another error would follow
        "a: [",
    ],
)
def test_not_certain(text: str) -> None:
    assert fixed(text, "f.yaml") == text


def test_several_documents_and_errors() -> None:
    routes = f"{HEAD}spec: {{hsts: [s], http: [{{rute: [{{destination: {{hst: s}}}}]}}]}}"
    text = f"# top\n---\n{routes}\n---\n{RULE}spec: {{hst: s}}\n"
    after = fixed(text, "f.yaml")
    assert "hosts: [s], http: [{rute: [{destination: {hst:" in after  # with route, an error would come up inside
    assert "spec: {host: s}" in after
    assert after.startswith("# top\n---\n")


def test_patch_is_a_unified_diff() -> None:
    text = f"{RULE}spec: {{hst: s}}\n"
    assert patch(text, "d/f.yaml") == (
        "--- a/d/f.yaml\n+++ b/d/f.yaml\n@@ -1,4 +1,4 @@\n apiVersion: networking.istio.io/v1\n"
        " kind: DestinationRule\n metadata: {name: d, namespace: a}\n-spec: {hst: s}\n+spec: {host: s}\n"
    )
    assert patch(f"{RULE}spec: {{host: s}}\n", "f.yaml") == ""


@pytest.mark.parametrize(
    ("code", "subject", "path", "fix", "command"),
    [
        ("UnknownField", "VirtualService a/v", "spec.http[0].rout", "did you mean route?",
         'kubectl patch virtualservice.networking.istio.io v -n a --type=json '
         '-p \'[{"op": "move", "from": "/spec/http/0/rout", "path": "/spec/http/0/route"}]\''),
        ("InvalidValue", "PeerAuthentication a/p", "spec.mtls.mode", "did you mean STRICT?",
         'kubectl patch peerauthentication.security.istio.io p -n a --type=json '
         '-p \'[{"op": "replace", "path": "/spec/mtls/mode", "value": "STRICT"}]\''),
        ("UnknownField", "VirtualService a/v", "spec.http[0].rout", "remove it", ""),
        ("UnknownField", "VirtualService a/v", "spec.headers[x-y].foo", "did you mean bar?", ""),
        ("UnknownAnnotation", "Service a/s", "metadata.annotations", "did you mean networking.istio.io/exportTo?", ""),
        ("UnknownField", "File f.yaml", "spec", "did you mean bar?", ""),
    ],
)  # fmt: skip
def test_object_patch(code: str, subject: str, path: str, fix: str, command: str) -> None:
    message = "'STRIKT' is none of UNSET, DISABLE, PERMISSIVE, STRICT" if code == "InvalidValue" else "is no field"
    assert object_patch(Finding(Severity.ERROR, code, subject, path, message, fix)) == command
