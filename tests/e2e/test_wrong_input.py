"""Everything that can be wrong in files is put into a running cluster: each is named in status, and the rest works
on.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from federation.lab import process

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]
LOCAL, REMOTE = "http://echo.demo:8080/", "http://only-west.demo:8080/"

BROKEN_YAML = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: [}\n"
UNKNOWN_FIELD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: typo, namespace: demo}
spec:
  hosts: [typo.demo]
  http:
  - rout: [{destination: {host: echo.demo.svc.cluster.local}}]
"""
SAME_VIP = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one, namespace: demo}
spec:
  {hosts: [one.example], addresses: [10.9.9.9], ports: [{number: 9999, name: tcp, protocol: TCP}], resolution: STATIC,
   endpoints: [{address: 192.0.2.1}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two, namespace: demo}
spec:
  {hosts: [two.example], addresses: [10.9.9.9], ports: [{number: 9999, name: tcp, protocol: TCP}], resolution: STATIC,
   endpoints: [{address: 192.0.2.2}]}
"""
SAME_PORT = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ports, namespace: demo}
spec:
  {hosts: [ports.example], ports: [{number: 80, name: http, protocol: HTTP}, {number: 80, name: tcp, protocol: TCP}],
   resolution: STATIC, endpoints: [{address: 192.0.2.3}]}
"""
WORDS = ("broken.yaml", "spec.http[0].rout", "10.9.9.9:9999 is also", "80 is also the port number")
FILES = {"broken.yaml": BROKEN_YAML, "typo.yaml": UNKNOWN_FIELD, "vip.yaml": SAME_VIP, "ports.yaml": SAME_PORT}


async def test_wrong_files_are_named_and_the_rest_works(mesh: Any) -> None:
    for name, text in FILES.items():
        mesh.put("east", name, text)

    async def named() -> bool:
        found = " ".join(f"{f.object} {f.path} {f.message}" for f in (await mesh.status("east")).findings)
        return all(word in found for word in WORDS)

    await mesh.until(named, "every file has its finding")
    for url in (LOCAL, REMOTE):
        assert not (await mesh.call(url))[0].cause
    assert {proxy.state for proxy in (await mesh.status("east")).proxies} == {"synced"}
    mesh.clean()

    async def forgotten() -> bool:
        return not (await mesh.status("east")).findings

    await mesh.until(forgotten, "findings go with their cause")


async def test_a_truncated_snapshot_is_set_aside(mesh: Any) -> None:
    state = mesh.lab.files.state(mesh.lab.plan().istiod("east"))
    snapshot = state / "federation.snapshot"

    async def saved() -> bool:
        return snapshot.exists()

    await mesh.until(saved, "a snapshot is on disk")
    await mesh.lab.break_("east/istiod")
    snapshot.write_bytes(snapshot.read_bytes()[:-20])
    report = await mesh.load_through(REMOTE, 5.0, (0.5, partial(mesh.lab.heal, "east/istiod")))
    assert report.failed == 0, report
    status = await mesh.status("east")
    assert [f.code for f in status.findings] == ["SnapshotUnreadable"]
    assert Path(f"{snapshot}.bad").exists()
    await mesh.until_whole()


async def test_a_full_disk_costs_the_snapshot_alone(mesh: Any, tmp_path: Path) -> None:
    """The state directory cannot be written: what is served of the peers stays as true as before."""
    state = mesh.lab.files.state(mesh.lab.plan().istiod("east"))
    aside = tmp_path / "state"
    shutil.move(state / "federation.snapshot", aside)
    (state / "federation.snapshot").mkdir()  # a rename onto a directory fails as one onto a full disk does
    try:
        await mesh.lab.break_("west/gateway-1")
        await mesh.lab.heal()
        await mesh.until_whole()
        assert process.state_of(mesh.lab.state().started["east/istiod"]) == "running"
        assert not (await mesh.call(REMOTE))[0].cause
    finally:
        (state / "federation.snapshot").rmdir()
