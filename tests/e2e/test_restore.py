"""The store comes back older than it was: nothing may be taken from any Envoy, and status says what happened."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from federation.lab import netns
from federation.lab.clusters import STORE_ENDPOINT

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]
REMOTE, LATER = "http://only-west.demo:8080/", "http://later.demo:8080/"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: later, namespace: demo, labels: {app: echo, isthmus.io/export: "true"}}
spec:
  clusterIP: 10.102.9.9
  selector: {app: echo}
  ports: [{name: http, port: 8080, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: later-1, namespace: demo, labels: {kubernetes.io/service-name: later}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [ADDRESS], conditions: {ready: true}, targetRef: {kind: Pod, name: echo-1, namespace: demo}}
"""


def backup(mesh: Any, file: Path) -> None:
    """What an operator does: `etcdctl snapshot save`, as the store's root user."""
    plan, authority = mesh.lab.plan(), mesh.lab.files.authority
    etcdctl = str(Path(sys.executable).parent / "etcdctl")
    subprocess.run(
        [*netns.enter(plan.netns(plan.node("etcd"))), etcdctl, f"--endpoints=https://{STORE_ENDPOINT}",
         f"--cacert={authority.store_root_cert}", f"--cert={authority.etcd_cert}", f"--key={authority.etcd_key}",
         "snapshot", "save", str(file)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip


def restore(mesh: Any, file: Path) -> None:
    """`etcdctl snapshot restore` in place of the data that the stopped store left."""
    data = mesh.lab.files.store
    shutil.rmtree(data)
    etcdctl = str(Path(sys.executable).parent / "etcdctl")
    subprocess.run(
        [etcdctl, "snapshot", "restore", str(file), f"--data-dir={data}", "--name=lab",
         "--initial-cluster=lab=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip


async def test_a_store_restored_from_an_older_backup_takes_nothing_away(mesh: Any, tmp_path: Path) -> None:
    plan = mesh.lab.plan()
    await asyncio.to_thread(backup, mesh, tmp_path / "backup.db")
    mesh.put("west", "later.yaml", SERVICE.replace("ADDRESS", plan.node("west/echo-1").address))

    async def later_answers() -> bool:
        return not (await mesh.call(LATER))[0].cause

    await mesh.until(later_answers, "the newer export works in east")

    async def restored() -> None:
        # West's control plane is away, so nobody repairs the store: what east serves is all there is.
        await mesh.lab.break_("west/istiod")
        await mesh.lab.break_("etcd")
        await asyncio.to_thread(restore, mesh, tmp_path / "backup.db")
        await mesh.lab.heal("etcd")

        async def says_so() -> bool:
            report = await mesh.status("east")
            return report.federation.store.connected and any(f.code == "StoreOlderThanSeen" for f in report.findings)

        await mesh.until(says_so, "status says that the store is older")

    report = await mesh.load_through(LATER, 12.0, (2.0, restored))
    assert report.failed == 0, report
    endpoints = await mesh.admin("east/client", "/clusters")
    assert "outbound|8080||later.demo.svc.cluster.local::198.18.2.4:15443" in endpoints
    await mesh.lab.heal("west/istiod")

    async def repaired() -> bool:
        codes = {finding.code for finding in (await mesh.status("east")).findings}
        return "StoreOlderThanSeen" not in codes and await later_answers()

    await mesh.until(repaired, "west has published again")
