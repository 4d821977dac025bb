"""The store, the control planes, or both are away: requests go on, status says since when, and everything comes
back.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]
LOCAL, REMOTE = "http://echo.demo:8080/", "http://only-west.demo:8080/"
AWAY = 60.0


async def test_store_away_for_a_minute(mesh: Any) -> None:
    ages: list[float] = []

    async def look() -> None:
        report = await mesh.status("east")
        assert not report.federation.store.connected
        ages.append(report.federation.store.age_seconds)

    away = (2.0, partial(mesh.lab.break_, "etcd"))
    report = await mesh.load_through(REMOTE, AWAY + 6.0, away, (AWAY, look), (2.0 + AWAY, mesh.lab.heal))
    assert report.failed == 0, report
    assert AWAY - 12 < ages[0] < AWAY + 5
    await mesh.until_whole()


async def test_both_control_planes_away_for_a_minute(mesh: Any) -> None:
    async def kill() -> None:
        await mesh.lab.break_("east/istiod")
        await mesh.lab.break_("west/istiod")

    report = await mesh.load_through(REMOTE, AWAY + 6.0, (2.0, kill), (2.0 + AWAY, mesh.lab.heal))
    assert report.failed == 0, report
    await mesh.until_whole()


async def test_control_plane_starts_from_disk_while_store_and_peer_are_away(mesh: Any) -> None:
    await mesh.lab.break_("etcd")
    await mesh.lab.break_("west/istiod")

    async def restart() -> None:
        await mesh.lab.break_("east/istiod")
        await mesh.lab.heal("east/istiod")

    report = await mesh.load_through(REMOTE, 10.0, (2.0, restart))
    assert report.failed == 0, report
    status = await mesh.status("east")
    assert status.federation.store.source == "disk"
    assert not status.federation.store.connected
    assert status.federation.store.age_seconds > 5
    assert [peer.cluster for peer in status.federation.peers] == ["west"]

    # A proxy that starts now knows nothing, and yet gets the peer's endpoints.
    await mesh.lab.break_("east/client:sidecar")
    started = time.monotonic()
    await mesh.lab.heal("east/client:sidecar")

    async def answered() -> bool:
        return not (await mesh.call(REMOTE))[0].cause

    await mesh.until(answered, "a new proxy reaches the peer")
    assert time.monotonic() - started < 10
