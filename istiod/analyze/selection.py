"""Which findings somebody wants to see: by severity, namespace, and what was suppressed. Pure.

A finding is suppressed by a rule of the command line (`CODE=Kind namespace/name`, with wildcards), or by the annotation
`galley.istio.io/analyze-suppress` of its object (codes with commas, or `*`). Codes may be ours or Istio's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from federation.model.findings import Finding, Severity
from istiod.analyze.codes import Code
from istiod.analyze.metadata import SUPPRESS
from istiod.api.meta import Object
from istiod.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Suppression:
    """Findings with a code, about some objects; both are patterns with `*` and `?`."""

    code: str
    object: str = "*"

    def covers(self, finding: Finding, codes: Mapping[str, Code]) -> bool:
        """Whether a finding is not to be shown."""
        return fnmatchcase(finding.object, self.object) and any(
            fnmatchcase(name, self.code) for name in _names(finding.code, codes)
        )


def parse_suppression(text: str) -> Suppression:
    """Read `CODE`, or `CODE=Kind namespace/name`; raises ValueError that says the form."""
    code, equals, subject = text.partition("=")
    if not code.strip() or (equals and not subject.strip()):
        raise ValueError(f"{text!r} is not CODE=Kind namespace/name")
    return Suppression(code.strip(), subject.strip() or "*")


def _names(word: str, codes: Mapping[str, Code]) -> list[str]:
    """A code, and what Istio calls it."""
    known = codes.get(word)
    return [word, *(name.strip() for name in known.istio.split(",") if known is not None)] if known else [word]


def annotated(snapshot: Snapshot) -> tuple[Suppression, ...]:
    """What the objects of a snapshot suppress about themselves."""
    return tuple(
        Suppression(code.strip(), f"{item.kind} {item.meta.key}")
        for table in snapshot.tables.values()
        for item in table.values()
        if isinstance(item, Object) and SUPPRESS in item.meta.annotations
        for code in item.meta.annotations[SUPPRESS].split(",")
        if code.strip()
    )


def select(
    findings: Iterable[Finding],
    codes: Mapping[str, Code],
    suppressions: Sequence[Suppression] = (),
    namespace: str = "",
    least: Severity = Severity.INFO,
) -> tuple[Finding, ...]:
    """The findings to show, in their order. Those about no object of a namespace are of every namespace."""
    return tuple(
        finding
        for finding in findings
        if finding.severity >= least
        and (not namespace or namespace_of(finding) in ("", namespace))
        and not any(rule.covers(finding, codes) for rule in suppressions)
    )


def namespace_of(finding: Finding) -> str:
    """The namespace of the object of a finding; "" for files, settings and what is in no namespace."""
    kind, _, key = finding.object.partition(" ")
    namespace, slash, _ = key.partition("/")
    if kind == "Namespace":
        return key
    return namespace if slash and kind not in ("File", "Directory", "MeshConfig", "MeshNetworks") else ""


def counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings there are of each severity."""
    found = dict.fromkeys(sorted(Severity, reverse=True), 0)
    for finding in findings:
        found[finding.severity] += 1
    return found
