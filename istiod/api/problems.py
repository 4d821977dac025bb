"""What a rule of a kind has to say about one field; becomes a Finding once the object is known."""

from __future__ import annotations

from dataclasses import dataclass

from federation.model.findings import Severity


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` as Istio spells it (`spec.http[0].route[1].weight`); an ERROR makes the object absent."""

    path: str
    message: str
    fix: str = ""
    code: str = "InvalidValue"
    severity: Severity = Severity.ERROR
