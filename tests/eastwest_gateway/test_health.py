from __future__ import annotations

import pytest

from eastwest_gateway.health import next_state
from federation.records import DRAINING, READY, UNREADY


@pytest.mark.parametrize(
    ("state", "failures", "after"),
    [
        ("", 1, ""),  # was never ready: nothing is announced yet
        ("", 50, ""),
        ("", 0, READY),
        (READY, 1, READY),  # once is no proof
        (READY, 2, READY),
        (READY, 3, UNREADY),
        (UNREADY, 9, UNREADY),
        (UNREADY, 0, READY),
        (DRAINING, 0, DRAINING),  # who drains does not come back
        (DRAINING, 9, DRAINING),
    ],
)
def test_states(state: str, failures: int, after: str) -> None:
    assert next_state(state, failures) == after
