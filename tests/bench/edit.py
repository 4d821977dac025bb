"""What an edit of one VirtualService costs with 1,000 services, 200 VirtualServices and rules, and many proxies.

Half of the edits are of a rule that every proxy sees, half of one that is exported to another namespace. Wants xdsload
(scripts/bench builds it), which plays the proxies. Run by scripts/bench, or:

    .venv/bin/python tests/bench/edit.py .cache/xdsload [proxies] [edits]
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

SERVICES, RULES = 1000, 200
XDS, METRICS = "127.0.0.1:15910", "127.0.0.1:15914"
APART = 4.0  # seconds between edits
Counts = dict[str, float]


def rule(number: int, timeout: str, export_to: str = "*") -> str:
    """A VirtualService and its DestinationRule."""
    host, meta = f"svc-{number}.bench.mesh", {"name": f"rule-{number}", "namespace": "bench"}
    route = [{"destination": {"host": host, "subset": version}, "weight": 50} for version in ("v1", "v2")]
    subsets = [{"name": version, "labels": {"version": version}} for version in ("v1", "v2")]
    spec = {"hosts": [host], "exportTo": [export_to], "http": [{"timeout": timeout, "route": route}]}
    head = {"apiVersion": "networking.istio.io/v1", "metadata": meta}
    return yaml.safe_dump_all(
        [{**head, "kind": "VirtualService", "spec": spec},
         {**head, "kind": "DestinationRule", "spec": {"host": host, "subsets": subsets, "exportTo": [export_to]}}]
    )  # fmt: skip


def put(directory: Path, number: int, text: str) -> None:
    """Replace one rule, as an editor does."""
    fresh = directory / f".rule-{number}"
    fresh.write_text(text)
    fresh.replace(directory / f"rule-{number}.yaml")


async def counts(session: aiohttp.ClientSession) -> Counts:
    """What istiod counts, as far as it matters here."""
    async with session.get(f"http://{METRICS}/metrics") as answer:
        text = await answer.text()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {f"{s.name}{s.labels.get('type', '')}": s.value for s in samples}


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(xdsload: Path, proxies: int, edits: int) -> None:
    """Start istiod and the proxies, edit rules, and say what it took."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for number in range(RULES):
            put(directory, number, rule(number, "1s", "*" if number % 2 else "elsewhere"))
        istiod = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "istiod"), "run", f"--config-dir={name}", "--cluster=Kubernetes",
            "--network=", f"--xds-address={XDS}", "--http-address=off", f"--metrics-address={METRICS}",
            "--log-level=warning",
        )  # fmt: skip
        load = await asyncio.create_subprocess_exec(
            str(xdsload), f"-addr={XDS}", f"-n={proxies}", f"-services={SERVICES}", f"-dir={name}",
            f"-pid={istiod.pid}", "-control=false", "-reconnect=false", "-changes=1", "-burst=0",
            f"-interval={int(edits * APART) + 30}s", "-timeout=10m",
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with aiohttp.ClientSession() as session:
                await _connected(session, proxies)
                for seen in (True, False):
                    await _edit(session, directory, istiod.pid, proxies, edits // 2, seen)
        finally:
            for process in (load, istiod):
                process.terminate()
                await process.wait()


async def _connected(session: aiohttp.ClientSession, proxies: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            now = await counts(session)
            if now.get("pilot_xds", 0) >= proxies and now.get("pilot_xds_pushes_totalrds", 0) >= proxies:
                await asyncio.sleep(8)  # what xdsload does after connecting
                return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.5)
    sys.exit("the proxies did not connect")


async def _edit(
    session: aiohttp.ClientSession, directory: Path, pid: int, proxies: int, edits: int, seen: bool
) -> None:
    taken, used, resolved, encoded = [], [], [], []
    for number in range(edits):
        before, busy, start = await counts(session), cpu(pid), time.perf_counter()
        which = 2 * number + (1 if seen else 0)
        put(directory, which, rule(which, f"{2 + number}s", "*" if seen else "elsewhere"))
        wanted = before["pilot_xds_pushes_totalrds"] + proxies
        while seen and (await counts(session))["pilot_xds_pushes_totalrds"] < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        taken.append((time.perf_counter() - start) * 1000)
        await asyncio.sleep(APART)
        after = await counts(session)
        used.append((cpu(pid) - busy) * 1000)
        resolved.append(after["isthmus_views_resolved_total"] - before["isthmus_views_resolved_total"])
        encoded.append(after["isthmus_resources_encoded_totalrds"] - before["isthmus_resources_encoded_totalrds"])
    what = f"{edits} edits that all {proxies} proxies see" if seen else f"{edits} edits that no proxy sees"
    pushed = f", written to all of them after {statistics.median(taken):.0f} ms (median)" if seen else ""
    sys.stdout.write(
        f"{what}: {statistics.median(used):.0f} ms of CPU each, {max(resolved):.0f} views resolved and"
        f" {max(encoded):.0f} routes encoded at most{pushed}\n"
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int((sys.argv[2:] or ["1000"])[0]), int((sys.argv[3:] or ["10"])[0])))
