"""Wrong specs and what is said of them: every row has one finding, and the whole finding is compared."""

from __future__ import annotations

import yaml

from federation.model.findings import Finding, Severity
from istiod.api.kinds import KINDS
from istiod.api.meta import Invalid, Object
from istiod.api.parse import Parsed, parse_documents

Row = tuple[Severity, str, str, str]  # severity, path, message, spec
E, W, I = Severity.ERROR, Severity.WARNING, Severity.INFO  # noqa: E741


def parse_spec(kind: str, spec: str) -> Parsed:
    """An object of the kind with this spec, as from a file."""
    group = next(iter(KINDS[kind].groups))
    document = {"apiVersion": f"{group}/v1".lstrip("/"), "kind": kind, "metadata": {"name": "x", "namespace": "ns"}}
    return parse_documents(yaml.safe_dump({**document, "spec": yaml.safe_load(spec)}), "f.yaml")


def check(kind: str, row: Row) -> None:
    """One finding as the row says, with a fix; the object counts unless it has an error (security: fails closed)."""
    severity, path, message, spec = row
    parsed = parse_spec(kind, spec)
    check_findings(f"{kind} ns/x", parsed.findings, severity, path, message)
    if severity is not E:
        assert isinstance(parsed.objects[0], Object)
    elif KINDS[kind].security:
        assert isinstance(parsed.objects[0], Invalid)
    else:
        assert parsed.objects == ()


def check_findings(subject: str, findings: tuple[Finding, ...], severity: Severity, path: str, message: str) -> None:
    """One finding as expected, with a fix."""
    assert [(one.severity, one.object, one.path, one.message) for one in findings] == [
        (severity, subject, path, message)
    ]
    assert findings[0].fix
