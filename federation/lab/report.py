"""What a load run comes to: counts, percentiles, causes, who served, how busy the machine was. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from federation.lab.client import Exchange

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Failure(msgspec.Struct, frozen=True):
    """Requests that failed for one cause; `first` and `last` are seconds since the start of the run."""

    cause: str
    count: int
    first: float
    last: float


class LoadReport(msgspec.Struct, frozen=True):
    """The result of one load run. Latencies are milliseconds of all requests, failed ones included.

    `lateness_ms` is how late the generator itself started requests (p99): beyond a few ms, latencies say little.
    `busy` is the share of the machine's CPU time that was used, 0 to 1, by whatever ran on it.
    """

    url: str
    requests: int
    ok: int
    failed: int
    rps: float
    seconds: float
    latency_ms: dict[str, float]
    failures: tuple[Failure, ...]
    clusters: dict[str, int]
    pods: dict[str, int]
    statuses: dict[str, int]
    busy: float
    lateness_ms: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of ordered values; 0 of none."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def summarize(
    url: str, exchanges: Sequence[Exchange], lateness: Sequence[float], seconds: float, busy: float
) -> LoadReport:
    """One report of all records; `lateness` and `seconds` in seconds."""
    start = min((e.started for e in exchanges), default=0.0)
    ordered = sorted(e.latency * 1000 for e in exchanges)
    latency = {f"p{p:g}": round(percentile(ordered, p), 2) for p in PERCENTILES}
    failed = [e for e in exchanges if not e.ok]
    return LoadReport(
        url=url,
        requests=len(exchanges),
        ok=len(exchanges) - len(failed),
        failed=len(failed),
        rps=round(len(exchanges) / seconds, 1) if seconds else 0.0,
        seconds=round(seconds, 2),
        latency_ms={**latency, "max": round(ordered[-1], 2) if ordered else 0.0},
        failures=_failures(failed, start),
        clusters=_counts(e.cluster for e in exchanges if e.ok),
        pods=_counts(f"{e.cluster}/{e.pod}" for e in exchanges if e.ok),
        statuses=_counts(str(e.status or "none") for e in exchanges),
        busy=round(busy, 3),
        lateness_ms=round(percentile(sorted(lateness), 99) * 1000, 2),
    )


def _failures(failed: Sequence[Exchange], start: float) -> tuple[Failure, ...]:
    causes: dict[str, list[float]] = {}
    for exchange in failed:
        causes.setdefault(exchange.cause, []).append(exchange.started - start)
    found = [Failure(cause, len(at), round(min(at), 2), round(max(at), 2)) for cause, at in causes.items()]
    return tuple(sorted(found, key=lambda failure: -failure.count))


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
