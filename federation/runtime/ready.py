"""Readiness: what a process still waits for, by name."""

from __future__ import annotations


class Readiness:
    """A set of named conditions; ready when all hold. A condition once met may be lost again only by `wait_for`."""

    def __init__(self, *conditions: str) -> None:
        self._waiting: dict[str, str] = dict.fromkeys(conditions, "not yet")

    def wait_for(self, condition: str, why: str = "not yet") -> None:
        """Say that `condition` does not hold, and why."""
        self._waiting[condition] = why

    def met(self, condition: str) -> None:
        """Say that `condition` holds."""
        self._waiting.pop(condition, None)

    @property
    def ready(self) -> bool:
        """Whether nothing is waited for."""
        return not self._waiting

    def waiting(self) -> dict[str, str]:
        """What is waited for, with the reason of each."""
        return dict(self._waiting)
