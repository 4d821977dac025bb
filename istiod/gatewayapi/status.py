"""Status conditions of the Gateway API as values, and the findings that they make where something is wrong.

Owns the words of the standard. Who writes them into Kubernetes is no concern of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from federation.model.findings import Finding, Severity
from istiod.api.kinds import KINDS
from istiod.api.meta import Object

ACCEPTED, RESOLVED_REFS, PROGRAMMED = "Accepted", "ResolvedRefs", "Programmed"
CONFLICTED, PARTIALLY_INVALID = "Conflicted", "PartiallyInvalid"
_GOOD = {ACCEPTED: "Accepted", RESOLVED_REFS: "ResolvedRefs", PROGRAMMED: "Programmed", CONFLICTED: "NoConflicts"}
_BAD_WHEN_TRUE = frozenset({CONFLICTED, PARTIALLY_INVALID})
_ERRORS = frozenset({ACCEPTED, CONFLICTED})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a condition is not as it should be: the standard's reason, and the field that is to blame."""

    condition: str
    reason: str
    path: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, as it stands in a status."""

    type: str
    status: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """A listener of a Gateway: how many routes hang on it, and of which kinds they may be."""

    name: str
    attached_routes: int
    supported_kinds: tuple[str, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class ParentStatus:
    """What became of one parent reference of a route, or of one target of a policy."""

    parent: str
    section: str
    port: int
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """The status of one object. Only Gateways have listeners, only routes and policies have parents."""

    object: str
    conditions: tuple[Condition, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    parents: tuple[ParentStatus, ...] = ()


def conditions(types: Sequence[str], faults: Iterable[Fault]) -> tuple[Condition, ...]:
    """Conditions of these types; of several faults of one the first gives the reason, all the message."""
    by_type: dict[str, list[Fault]] = {}
    for fault in faults:
        by_type.setdefault(fault.condition, []).append(fault)
    found = []
    for name in (*types, *(extra for extra in by_type if extra not in types)):
        wrong = by_type.get(name, ())
        status = (name in _BAD_WHEN_TRUE) == bool(wrong)
        message = "; ".join(dict.fromkeys(f"{fault.path} {fault.message}".strip() for fault in wrong))
        found.append(Condition(name, status, wrong[0].reason if wrong else _GOOD[name], message))
    return tuple(found)


def findings_of(name: str, faults: Iterable[Fault]) -> tuple[Finding, ...]:
    """The faults of an object as findings: an error where it is not served, a warning where a part of it is not."""
    return tuple(
        Finding(
            Severity.ERROR if fault.condition in _ERRORS else Severity.WARNING,
            fault.reason,
            name,
            fault.path,
            fault.message,
            fault.fix,
        )
        for fault in dict.fromkeys(faults)
    )


def shown(item: Object[Any]) -> str:
    """An object as findings name it: by the kind that its API gives it, without a namespace if it has none."""
    info = KINDS[item.kind]
    place = f"{item.meta.namespace}/{item.meta.name}" if item.meta.namespace else item.meta.name
    return f"{info.called or item.kind} {place}"
