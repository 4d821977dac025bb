"""What a rule of a kind has to say about one field (a Finding once the object is known), and rules of several kinds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from federation.model.findings import Severity


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` as Istio spells it (`spec.http[0].route[1].weight`); an ERROR makes the object absent."""

    path: str
    message: str
    fix: str = ""
    code: str = "InvalidValue"
    severity: Severity = Severity.ERROR


_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_network(text: str) -> bool:
    """Whether a text is an IP address or a CIDR."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def check_export_to(export_to: tuple[str, ...], nobody: bool = True) -> Iterator[Problem]:
    """`exportTo` is made of "." and names of namespaces, or is "*" alone, or (with `nobody`: services) "~" alone."""
    for index, name in enumerate(export_to):
        path = f"spec.exportTo[{index}]"
        if name not in (".", "*", "~") and not _NAMESPACE.fullmatch(name):
            yield Problem(path, f"{name[:80]!r} is no namespace", "use '.', '*' or a namespace")
        elif name == "~" and not nobody:
            yield Problem(path, "'~' is for services alone", "use '.' to keep it to its namespace")
        elif name in ("*", "~") and len(export_to) > 1:
            yield Problem(path, f"{name!r} stands beside others", "keep one of them")
        elif name in export_to[:index]:
            yield Problem(path, f"{name!r} is listed twice", "list each namespace once")


def check_distinct(values: Iterable[tuple[str, object]], what: str) -> Iterator[Problem]:
    """No value stands at two paths; `what` names the value (`port number`). Empty values are not compared."""
    seen: dict[object, str] = {}
    for path, value in values:
        if value in ("", 0, None):
            continue
        if value in seen:
            message = f"{value!r} is also the {what} at {seen[value]}"
            yield Problem(path, message, f"use each {what} once", "DuplicatePort" if "port" in what else "InvalidValue")
        seen.setdefault(value, path)
