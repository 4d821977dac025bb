# ruff: noqa: E501
"""Wrong PeerAuthentication specs, and what is said of them."""

from __future__ import annotations

import pytest

from tests.istiod.api.wrong.conftest import E, Row, W, check

ROWS: list[Row] = [
    (E, 'spec.mtls.mode', "'STRIKT' is none of UNSET, DISABLE, PERMISSIVE, STRICT", 'mtls: {mode: STRIKT}'),
    (E, 'spec.mtls', "'STRICT' is no mapping", 'mtls: STRICT'),
    (E, 'spec.mtls.mod', 'is no field', 'mtls: {mod: STRICT}'),
    (E, 'spec.mtls.mode', 'True is none of UNSET, DISABLE, PERMISSIVE, STRICT', 'mtls: {mode: true}'),
    (E, 'spec.mtl', 'is no field', 'mtl: {mode: STRICT}'),
    (E, 'spec.portLevelMtls', 'is given without a selector', 'portLevelMtls: {80: {mode: STRICT}}'),
    (E, 'spec.portLevelMtls', 'is empty', 'selector: {matchLabels: {a: b}}\nportLevelMtls: {}'),
    (E, 'spec.portLevelMtls[0]', 'is no port', 'selector: {matchLabels: {a: b}}\nportLevelMtls: {0: {mode: STRICT}}'),
    (E, 'spec.portLevelMtls[70000]', 'is no port', 'selector: {matchLabels: {a: b}}\nportLevelMtls: {70000: {mode: STRICT}}'),
    (E, 'spec.portLevelMtls.http', "'http': input should be a valid integer, unable to parse string as an integer", 'selector: {matchLabels: {a: b}}\nportLevelMtls: {http: {mode: STRICT}}'),
    (E, 'spec.portLevelMtls.80', "'STRICT' is no mapping", 'selector: {matchLabels: {a: b}}\nportLevelMtls: {80: STRICT}'),
    (E, 'spec.portLevelMtls.80.mode', 'True is none of UNSET, DISABLE, PERMISSIVE, STRICT', 'selector: {matchLabels: {a: b}}\nportLevelMtls: {80: {mode: ON}}'),
    (E, 'spec.selector.labels', 'is no field', 'selector: {labels: {a: b}}'),
    (E, 'spec.selector.matchLabels.a', '1 is no text', 'selector: {matchLabels: {a: 1}}'),
    (E, 'spec.selector.matchLabels', 'a list is no mapping', 'selector: {matchLabels: [a]}'),
    (E, 'spec.selector.matchLabels.a', 'has a wildcard or no key, which labels do not know', "selector: {matchLabels: {a: 'b*'}}"),
    (E, 'spec.selector.matchLabels.*', 'has a wildcard or no key, which labels do not know', "selector: {matchLabels: {'*': b}}"),
    (W, 'spec.selector', 'has no labels, so the policy is for the whole namespace', 'selector: {}\nmtls: {mode: STRICT}'),
    (E, 'spec.selector', 'a list is no mapping', 'selector: [a]'),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_wrong(row: Row) -> None:
    check("PeerAuthentication", row)
