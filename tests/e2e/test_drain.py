"""Planned moves under load: a pod, a gateway. Nobody may notice."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import Any

import pytest
import yaml

from federation.lab import probe, process

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]
LOCAL, REMOTE = "http://echo.demo:8080/", "http://only-west.demo:8080/"


def terminate(mesh: Any, key: str) -> None:
    """Ask a process to end, as a kubelet does."""
    assert process.send(mesh.lab.state().started[key], signal.SIGTERM)


async def drain_pod(mesh: Any, pod: str) -> None:
    """What Kubernetes and a sidecar do with a pod that is deleted: out of the endpoints, then listeners, then the
    end.
    """
    node = mesh.lab.plan().node(pod)
    path = mesh.lab.files.config_dir(node.cluster) / "services.yaml"
    documents = list(yaml.safe_load_all(path.read_text()))
    for item in documents:
        for endpoint in item.get("endpoints", ()):
            if endpoint["targetRef"]["name"] == node.short:
                endpoint["conditions"] = {"ready": False, "serving": True, "terminating": True}
    fresh = path.with_name(".services.yaml.new")
    fresh.write_text(yaml.safe_dump_all(documents))
    fresh.replace(path)

    async def is_out() -> bool:
        found = await mesh.admin("east/client", "/clusters")
        wanted = f"outbound|8080||echo.demo.svc.cluster.local::{node.address}:8080::cx_active"
        return wanted not in found

    await mesh.until(is_out, f"{pod} is in nobody's endpoints")
    socket = mesh.lab.files.admin_socket(node)
    await probe.admin(socket, "/drain_listeners?graceful&skip_exit&inboundonly", "POST")
    await asyncio.sleep(5.0)  # the sidecar's drain time
    terminate(mesh, f"{pod}:app")
    terminate(mesh, f"{pod}:sidecar")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_drained_pod_loses_no_request(mesh: Any, method: str) -> None:
    services = mesh.lab.files.config_dir("east") / "services.yaml"
    before = services.read_text()
    try:
        drained = (1.5, partial(drain_pod, mesh, "east/echo-1"))
        report = await mesh.load_through(LOCAL, 9.5, drained, method=method)
        assert report.failed == 0, report
        assert report.pods["east/echo-2"] > 500, report.pods
    finally:
        services.write_text(before)
        await mesh.lab.break_("east/echo-1")  # for the books: what has ended is started again when healed


async def test_a_request_under_way_lives_through_the_drain_of_its_gateway(mesh: Any) -> None:
    """Five seconds of work that no retry may repeat, through a gateway that goes after one."""
    slow = [
        asyncio.create_task(mesh.lab.call("east/client", REMOTE, 1, "POST", {"x-delay-ms": "5000"})) for _ in range(4)
    ]
    await asyncio.sleep(1.0)
    for gateway in ("west/gateway-1", "west/gateway-2"):
        terminate(mesh, gateway)
    answers = [exchange.cause for answer in await asyncio.gather(*slow) for exchange in answer]
    await mesh.lab.break_("west/gateway")  # for the books, as below
    assert answers == ["", "", "", ""]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_gateway_that_is_asked_to_end_loses_no_request(mesh: Any, method: str) -> None:
    async def drain() -> None:
        terminate(mesh, "west/gateway-1")

    report = await mesh.load_through(REMOTE, 12.0, (2.0, drain), method=method)
    await mesh.lab.break_("west/gateway-1")
    assert report.failed == 0, report

    async def is_withdrawn() -> bool:
        status = await mesh.status("east")
        return [g.id for peer in status.federation.peers for g in peer.gateways] == ["gateway-2"]

    await mesh.until(is_withdrawn, "the gateway's announcement is gone")
