"""How long an endpoint change in one cluster takes until an Envoy in the other has it, at rest. Run as root:

    .venv/bin/python tests/bench/propagation.py [changes]

A file of east's configuration is replaced by rename; the clock starts just before. West's client is asked for its
endpoints over its admin socket, as fast as it answers.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

import aiohttp
import yaml

from federation.lab.config import default_config
from federation.lab.lab import Lab

SERVICE, PAUSE = "outbound|8080||echo.demo.svc.cluster.local", 0.3


async def main(changes: int) -> None:
    """Bring a lab up, change one endpoint's presence again and again, print what it took."""
    lab = Lab("propagation")
    lab.down()
    try:
        await lab.up(default_config(2))
        plan = lab.plan()
        path = lab.files.config_dir("east") / "services.yaml"
        full = path.read_text()
        documents = list(yaml.safe_load_all(full))
        for item in documents:
            if item["kind"] == "EndpointSlice":
                item["endpoints"] = item["endpoints"][:1]
        fewer = yaml.safe_dump_all(documents, sort_keys=False)
        gateway = next(node for node in plan.gateways("east") if node.wan).wan
        assert gateway is not None
        connector = aiohttp.UnixConnector(str(lab.files.admin_socket(plan.node("west/client"))))
        taken = []
        async with aiohttp.ClientSession(connector=connector) as admin:
            before = await _view(admin, gateway.address)
            for number in range(changes):
                await asyncio.sleep(PAUSE)
                start = time.perf_counter()
                _replace(path, fewer if number % 2 == 0 else full)
                while (now := await _view(admin, gateway.address)) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)  # the machine has other work to do than to answer this
                taken.append((time.perf_counter() - start) * 1000)
                before = now
        taken.sort()
        rank = taken[min(len(taken) - 1, int(len(taken) * 0.99))]
        sys.stdout.write(
            f"{changes} changes, east's file to west's Envoy: p50 {statistics.median(taken):.1f} ms,"
            f" p99 {rank:.1f} ms, max {taken[-1]:.1f} ms\n"
        )
    finally:
        lab.down()


async def _view(admin: aiohttp.ClientSession, gateway: str) -> list[str]:
    """East's endpoints of the service as the Envoy weighs them: places, priorities and weights."""
    async with admin.get("http://envoy/clusters") as answer:
        lines = (await answer.text()).splitlines()
    return [line for line in lines if line.startswith(f"{SERVICE}::{gateway}") and "::weight::" in line]


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
