"""How long a new proxy waits for its whole configuration, the peer's endpoints included, after a control plane was
started again while the store and the peer are away. Run as root:

    .venv/bin/python tests/bench/restart.py [times]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

import aiohttp

from federation.lab import probe, process
from federation.lab.config import default_config
from federation.lab.lab import Lab

REMOTE = "outbound|8080||only-west.demo.svc.cluster.local::198.18.2.4:15443"


async def main(times: int) -> None:
    """Kill store, peer, control plane and sidecar; start the latter two; wait for the peer's endpoint."""
    lab = Lab("restart")
    lab.down()
    taken = []
    try:
        await lab.up(default_config(2))
        await asyncio.sleep(2)  # at rest: what was last heard of the peer is on disk
        await lab.break_("etcd")
        await lab.break_("west/istiod")
        socket = lab.files.admin_socket(lab.plan().node("east/client"))
        for _ in range(times):
            await lab.break_("east/client:sidecar")
            await lab.break_("east/istiod")
            processes = lab.state().processes
            start = time.perf_counter()
            for key in ("east/istiod", "east/client:sidecar"):
                lab.journal.append(process.start(processes[key]))
            await probe.until(lambda: _has(socket), "the new proxy", time.monotonic() + 30, lambda: "")
            taken.append(time.perf_counter() - start)
        sys.stdout.write(
            f"{times} restarts without store and peer, process start to the peer's endpoint in a new Envoy:"
            f" median {statistics.median(taken):.2f} s, worst {max(taken):.2f} s\n"
        )
    finally:
        lab.down()


async def _has(socket: Path) -> bool:
    try:
        code, body = await probe.admin(socket, "/clusters")
        ready = (await probe.admin(socket, "/ready"))[0] == 200
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False
    return ready and code == 200 and REMOTE in body.decode()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
