"""Clusters that leave, and certificates that end, while requests are under way."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.lab import netns

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]
LOCAL, REMOTE = "http://echo.demo:8080/", "http://only-west.demo:8080/"
SPREAD = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo, namespace: demo}
spec:
  host: echo.demo.svc.cluster.local
  trafficPolicy:
    loadBalancer:
      localityLbSetting:
        distribute:
        - from: region-east/*
          to: {region-east/*: 50, region-west/*: 50}
"""


def isthmus(mesh: Any, *arguments: str) -> str:
    """The command itself, where the store can be reached."""
    plan = mesh.lab.plan()
    program = str(Path(sys.executable).parent / "isthmus")
    command = [*netns.enter(plan.netns(plan.node("etcd"))), program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_a_cluster_that_leaves_takes_no_request_with_it(start_lab: Callable[..., Any]) -> None:
    async with start_lab() as mesh:
        authority = str(mesh.lab.files.authority.directory)
        mesh.put("east", "spread.yaml", SPREAD)

        async def is_spread() -> bool:
            return {e.cluster for e in await mesh.call(LOCAL, count=8)} == {"east", "west"}

        await mesh.until(is_spread, "both clusters serve")
        proofs: list[dict[str, Any]] = []

        async def leave() -> None:
            arguments = ("cluster", "leave", "west", "--dir", authority, "-o", "json")
            proofs.append(json.loads(await asyncio.to_thread(isthmus, mesh, *arguments)))

        foreseen = json.loads(
            await asyncio.to_thread(
                isthmus, mesh, "cluster", "leave", "west", "--dir", authority, "--dry-run", "-o", "json"
            )
        )
        report = await mesh.load_through(LOCAL, 9.0, (2.0, leave))
        assert report.failed == 0, report
        assert report.clusters["west"] > 50, report.clusters
        assert proofs[0]["foreign"] == []
        changed = {key for _, key in proofs[0]["changes"]}
        assert all("/c/west/" in key or key.endswith("/clusters/west") for key in changed), changed
        assert {key for change, key in foreseen["changes"] if change == "delete" and "/gateways/" not in key} <= changed
        assert (await mesh.status("east")).federation.peers == ()
        assert {e.cluster for e in await mesh.call(LOCAL, count=8)} == {"east"}
        west = await mesh.status("west")
        assert not west.federation.published.connected, "its credential still opens the store"


async def test_certificates_are_renewed_without_a_failed_request(start_lab: Callable[..., Any]) -> None:
    """Certificates of one minute, renewed after half of it: two generations under one run."""
    async with start_lab(workload_ttl_seconds=60.0) as mesh:

        async def serials() -> set[str]:
            found = json.loads(await mesh.admin("east/client", "/certs"))
            return {item["serial_number"] for c in found["certificates"] for item in c["cert_chain"]}

        seen: list[set[str]] = []

        async def look() -> None:
            seen.append(await serials())

        report = await mesh.load_through(REMOTE, 68.0, *((float(at), look) for at in (1, 34, 66)))
        assert report.failed == 0, report
        assert seen[0] != seen[1] != seen[2]
        lefts = [proxy.certificate_seconds_left for proxy in (await mesh.status("east")).proxies]
        assert all(left is not None and left > 20 for left in lefts), lefts
