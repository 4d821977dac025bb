"""Prometheus' relabelling, as far as the rules of deploy/ go: the action `replace`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def relabelled(labels: Mapping[str, str], rules: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """A sample's labels, `__name__` among them, after the rules. A label that becomes empty is no label."""
    found = dict(labels)
    for rule in rules:
        value = ";".join(found.get(name, "") for name in rule["source_labels"])
        match = re.fullmatch(rule["regex"], value)
        if match is not None:
            found[rule["target_label"]] = match.expand(re.sub(r"\$(\d)", r"\\\1", rule["replacement"]))
    return {name: value for name, value in found.items() if value}
