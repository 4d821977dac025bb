"""The errors that may cross a package border. Each edge maps its library's errors to one of these once."""

from __future__ import annotations

from collections.abc import Sequence

from federation.model.findings import Finding


class IsthmusError(Exception):
    """Base of all errors that a command reports without a traceback."""


class InvalidInput(IsthmusError):
    """Something given to us is wrong; carries every finding at once."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = tuple(findings)


class Unavailable(IsthmusError):
    """A peer or store cannot be reached now; trying again later may help."""


class Conflict(IsthmusError):
    """What was to be changed was changed by someone else."""


class Denied(IsthmusError):
    """The other side knows us and says no."""


class Bug(IsthmusError):
    """Our own assumption failed; the message goes into a report to the authors."""
