"""Open-loop load, and single calls, from inside a pod: `python -m federation.lab.load`.

Requests start at their times whether earlier ones were answered or not, as those of many users do; each leaves a
record. Prints a LoadReport as JSON, or with `--calls` the records themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from federation.lab.client import Client, Exchange, Target
from federation.lab.report import LoadReport, summarize

MAX_RPS = 20_000.0


async def call(target: Target, count: int) -> list[Exchange]:
    """So many requests, one after the other, each on a connection of its own."""
    client = Client(target, keep=False)
    return [await client.exchange() for _ in range(count)]


async def generate(target: Target, rps: float, seconds: float, records: Path | None = None) -> LoadReport:
    """`rps` requests a second for so many seconds, then wait for the last answers. `records` gets a JSON line for
    each.
    """
    client = Client(target)
    exchanges: list[Exchange] = []
    lateness: list[float] = []

    async def one() -> None:
        exchanges.append(msgspec.structs.replace(await client.exchange(), body=""))

    busy_before, start = _cpu(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(round(rps * seconds)):
            due = start + number / rps
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            lateness.append(max(0.0, time.perf_counter() - due))
            group.create_task(one())
        sent = time.perf_counter() - start
    busy = _busy(busy_before, _cpu())
    await client.close()
    if records is not None:
        await asyncio.to_thread(_write, records, exchanges)
    return summarize(target.url, exchanges, lateness, max(sent, seconds), busy)


def _write(file: Path, exchanges: list[Exchange]) -> None:
    ordered = sorted(exchanges, key=lambda exchange: exchange.started)
    file.write_bytes(b"".join(msgspec.json.encode(exchange) + b"\n" for exchange in ordered))


def _cpu() -> list[int]:
    """The machine's CPU time by kind, in ticks; see proc(5)."""
    first = Path("/proc/stat").read_text().partition("\n")[0]
    return [int(part) for part in first.split()[1:9]]


def _busy(before: list[int], after: list[int]) -> float:
    """The share of CPU time between two readings that was neither idle nor waiting for a disk."""
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))


def parse_headers(pairs: list[str]) -> Mapping[str, str]:
    """`name: value` each; raises ValueError."""
    parts = [pair.partition(":") for pair in pairs]
    if wrong := next((name for name, colon, _ in parts if not colon or not name.strip()), None):
        raise ValueError(f"{wrong!r} is no header: write name: value")
    return {name.strip(): value.strip() for name, _, value in parts}


def main() -> None:
    """Entry of `python -m federation.lab.load`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=15.0)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--rps", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--records", type=Path)
    said = parser.parse_args()
    target = Target(said.url, said.method, parse_headers(said.header), b"", said.timeout)
    if said.calls:
        result: object = asyncio.run(call(target, said.calls))
    elif not 0 < said.rps <= MAX_RPS:
        parser.error(f"--rps is between 0 and {MAX_RPS:g}")
    else:
        import uvloop

        result = uvloop.run(generate(target, said.rps, said.seconds, said.records))
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


if __name__ == "__main__":
    main()
