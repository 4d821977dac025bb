"""Findings: what is wrong with something that a user wrote or can change, as a value.

A finding is shown (status, `isthmus analyze`, logs); it is never raised. Raising is for `model.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How bad it is; ordered, so that `max` picks the worst."""

    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to know about one object.

    `code` is a stable CamelCase word, `object` is `Kind namespace/name` (or a file, a proxy, a peer), `path` the field
    (`spec.http[0].route[1].weight`, empty for the whole object), `message` names the value, `fix` says what to do now.
    """

    severity: Severity
    code: str
    object: str
    path: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.object} {self.path}" if self.path else self.object
        return f"{self.severity.name.lower()} {self.code}: {place}: {self.message}" + (
            f"; {self.fix}" if self.fix else ""
        )
