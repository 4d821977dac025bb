"""Something dies while 200 requests a second are under way: none of them may fail."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from federation.lab.faults import How

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]
LOCAL, REMOTE = "http://echo.demo:8080/", "http://only-west.demo:8080/"
FAULTS: dict[str, tuple[str, str, How | None]] = {
    "remote workload": (REMOTE, "west/echo-1", None),
    "remote workload cut off": (REMOTE, "west/echo-1", How.DROP),
    "remote application": (REMOTE, "west/echo-1:app", None),
    "one of two remote gateways": (REMOTE, "west/gateway-1", None),
    "whole remote cluster": (LOCAL, "west", None),
    "all local pods": (LOCAL, "east/echo", None),
    "all local applications": (LOCAL, "east/echo:app", None),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_death_loses_no_request(mesh: Any, fault: str) -> None:
    url, what, how = FAULTS[fault]
    report = await mesh.load_through(url, 7.0, (2.0, partial(mesh.lab.break_, what, how)))
    assert report.failed == 0, report
    assert report.requests == 1400


async def test_local_pods_are_replaced_by_remote_ones(mesh: Any) -> None:
    report = await mesh.load_through(LOCAL, 5.0, (1.5, partial(mesh.lab.break_, "east/echo")))
    assert report.failed == 0, report
    assert report.clusters["west"] > 500, report.clusters
    await mesh.lab.heal()

    async def is_back() -> bool:
        return {e.cluster for e in await mesh.call(LOCAL, count=5)} == {"east"}

    await mesh.until(is_back, "local pods serve again")


async def test_a_frozen_gateway_costs_only_what_was_under_way(mesh: Any) -> None:
    """A hang cannot be told from slow work: what is in flight waits, the rest goes elsewhere."""
    report = await mesh.load_through(REMOTE, 5.0, (1.5, partial(mesh.lab.break_, "west/gateway-1", How.HANG)))
    assert report.failed <= 10, report
