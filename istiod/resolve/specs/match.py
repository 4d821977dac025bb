"""String, header, query and claim matches: the leaves of every other spec."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MatchKind(StrEnum):
    """How `value` is compared. `PRESENT` ignores it."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    CONTAINS = "contains"
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class StringMatch:
    """One comparison of a text. Regular expressions are RE2 and match the whole text."""

    kind: MatchKind
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A request header by name (pseudo headers too). `missing_is_empty` treats an absent header as an empty one."""

    name: str
    match: StringMatch
    invert: bool = False
    missing_is_empty: bool = False


@dataclass(frozen=True, slots=True)
class ClaimMatch:
    """A claim of the request's verified token, by its path: the claim, or a member of it if it is a list."""

    claim: tuple[str, ...]
    match: StringMatch
    invert: bool = False


@dataclass(frozen=True, slots=True)
class QueryMatch:
    """A query parameter by name."""

    name: str
    match: StringMatch
