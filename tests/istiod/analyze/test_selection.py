"""What is shown and what is suppressed."""

from __future__ import annotations

import pytest

from federation.model.findings import Finding, Severity
from istiod.analyze.codes_of_parts import CODES
from istiod.analyze.selection import Suppression, annotated, counts, namespace_of, parse_suppression, select
from tests.istiod.analyze.conftest import obj, snapshot_of

ONE = Finding(Severity.ERROR, "HostNotFound", "VirtualService a/v", "spec", "m")
TWO = Finding(Severity.INFO, "PortNameUnknown", "Service b/s", "spec", "m")
FILE = Finding(Severity.ERROR, "NotYaml", "File d/x.yaml", "", "m")
ALL = (ONE, TWO, FILE)


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("HostNotFound=VirtualService a/v", (TWO, FILE)),
        ("HostNotFound", (TWO, FILE)),
        ("HostNotFound=VirtualService a/w", ALL),
        ("*=VirtualService a/*", (TWO, FILE)),
        ("IST0101=VirtualService */v", (TWO, FILE)),
        ("IST0118", (ONE, FILE)),
        ("Port*=*", (ONE, FILE)),
        ("portnameunknown", ALL),
    ],
)
def test_suppressions(rule: str, left: tuple[Finding, ...]) -> None:
    assert select(ALL, CODES, [parse_suppression(rule)]) == left


@pytest.mark.parametrize("text", ["", "=x", "Code=", " "])
def test_a_suppression_has_a_form(text: str) -> None:
    with pytest.raises(ValueError, match="is not CODE=Kind namespace/name"):
        parse_suppression(text)


def test_severity_and_namespace() -> None:
    assert select(ALL, CODES, least=Severity.ERROR) == (ONE, FILE)
    assert select(ALL, CODES, namespace="b") == (TWO, FILE)
    assert counts(ALL) == {Severity.ERROR: 2, Severity.WARNING: 0, Severity.INFO: 1}


@pytest.mark.parametrize(
    ("subject", "namespace"),
    [("Service a/b", "a"), ("Namespace a", "a"), ("File a/b.yaml", ""), ("MeshConfig mesh.yaml", ""), ("Node n", "")],
)
def test_namespace_of(subject: str, namespace: str) -> None:
    assert namespace_of(Finding(Severity.INFO, "X", subject, "", "")) == namespace


def test_an_object_suppresses_findings_about_itself() -> None:
    rule = obj("DestinationRule", "d", "{host: s}", annotations={"galley.istio.io/analyze-suppress": "IST0128, X"})
    found = annotated(snapshot_of([rule]))
    assert found == (Suppression("IST0128", "DestinationRule a/d"), Suppression("X", "DestinationRule a/d"))
