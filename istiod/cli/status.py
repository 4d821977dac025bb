"""`isthmus status`: the whole federation, as the control planes that are asked see it at this moment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from federation.cli.output import DEGRADED, ERROR, OK, Format, Output, console, run_async, say, show
from federation.model.errors import Unavailable
from istiod.cli.client import DEFAULT, Istiods, ask_all
from istiod.cli.judge import Problem, format_age, format_left, is_stale, judge
from istiod.debug.report import IstiodReport, Peer, ProxyReport, ServiceReport

MAX_ROWS = 50
LOOK_AGAIN_SECONDS = 0.2
Row = Sequence[object]
CLUSTERS = ("CLUSTER", "NETWORK", "REGION", "STATE", "HEARTBEAT", "SERVICES", "ENDPOINTS", "ISTIOD", "SEEN BY")
DATA = ("CONTROL PLANE", "REVISION", "LAST CHANGE", "PEERS FROM", "DATA AGE", "PUBLISHED", "CA LEFT", "UP FOR")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was answered at one moment, and the verdict over it."""

    reports: tuple[IstiodReport, ...]
    unreachable: dict[str, str]
    problems: tuple[Problem, ...]

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 degraded, 2 if nobody answered."""
        if not self.reports:
            return ERROR
        return DEGRADED if self.problems else OK


def status(
    istiod: Istiods = [DEFAULT],  # noqa: B006
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything is healthy.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Give up after so many seconds.")] = 60.0,
    output: Output = Format.TABLE,
) -> None:
    """Show the federation: clusters, data and its age, gateways, services, proxies, certificates, findings.

    Ask one control plane, or several to see the mesh from each side. Exit code 0 if all is healthy, 1 if something is
    degraded (it says what), 2 if no control plane answers.

      isthmus status
      isthmus status --istiod http://127.0.0.1:8080 --istiod unix:/run/west/istiod.sock
      isthmus status --wait --timeout 30 && echo healthy
      isthmus status -o json | jq .problems
    """
    seen = run_async(_wait(istiod, timeout) if wait else _look(istiod, timeout), timeout + 5)
    if output is Format.TABLE:
        _print(seen)
    else:
        show({"healthy": seen.exit_code == OK, **_plain(seen)}, output)
    raise typer.Exit(seen.exit_code)


async def _look(addresses: Iterable[str], seconds: float) -> Seen:
    answers = await ask_all(addresses, seconds)
    reports = tuple(answer for answer in answers.values() if isinstance(answer, IstiodReport))
    unreachable = {address: str(answer) for address, answer in answers.items() if isinstance(answer, Unavailable)}
    return Seen(reports, unreachable, judge(reports, unreachable))


async def _wait(addresses: Sequence[str], timeout: float) -> Seen:
    """Look until it is healthy; the last look when time is over."""
    deadline = time.monotonic() + timeout
    while True:
        seen = await _look(addresses, max(0.5, deadline - time.monotonic()))
        if seen.exit_code == OK:
            return seen
        if time.monotonic() >= deadline:
            say(f"not healthy within {timeout:g} s")
            return seen
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _plain(seen: Seen) -> dict[str, Any]:
    return {"problems": seen.problems, "unreachable": seen.unreachable, "controlPlanes": seen.reports}


def _print(seen: Seen) -> None:
    _table("CLUSTERS", CLUSTERS, [row for report in seen.reports for row in _clusters(report)])
    _table("DATA", DATA, [_data(report) for report in seen.reports])
    _table("GATEWAYS", ("CLUSTER", "ID", "ADDRESS", "STATE", "WEIGHT", "SEEN BY"),
           [row for report in seen.reports for row in _gateways(report)])  # fmt: skip
    _table("SERVICES", ("SERVICE", "NAMESPACE", "ENDPOINTS", "EXPORTED TO", "IMPORTED FROM", "SEEN BY"),
           [_service(service, report.cluster) for report in seen.reports for service in report.services])  # fmt: skip
    _table("PROXIES", ("CONTROL PLANE", "SYNCED", "STALE", "NACK", "SHORTEST CERTIFICATE", "OF"),
           [_proxies(report) for report in seen.reports])  # fmt: skip
    _table("FINDINGS", ("SEVERITY", "CODE", "OBJECT", "MESSAGE", "SEEN BY"),
           [(f.severity, f.code, f"{f.object} {f.path}".strip(), f.message, report.cluster)
            for report in seen.reports for f in report.findings])  # fmt: skip
    if not seen.problems:
        console.print("[green]healthy[/]")
        return
    console.print(f"[red]{'degraded' if seen.reports else 'no control plane answers'}[/]")
    for problem in seen.problems:
        console.print(
            f"  {problem.object}: {problem.message}  (seen by {problem.observer})", markup=False, soft_wrap=True
        )


def _table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    if not rows:
        return
    console.print(f"[bold]{title}[/]")
    show(rows, Format.TABLE, columns, rows[:MAX_ROWS])
    if len(rows) > MAX_ROWS:
        console.print(f"… and {len(rows) - MAX_ROWS} more: -o json shows all")
    console.print()


def _clusters(report: IstiodReport) -> list[Row]:
    federation = report.federation
    published = f"{format_age(federation.published.heartbeat_age_seconds)} (written)" if federation else "-"
    local = [service for service in report.services if service.local]
    mine = sum(service.endpoints[report.cluster].total for service in local if report.cluster in service.endpoints)
    state = "member" if federation else "alone"
    own = (report.cluster, report.network, "", state, published, len(local), mine, report.version, "itself")
    return [own, *(_peer(peer, report.cluster) for peer in (federation.peers if federation else ()))]


def _peer(peer: Peer, observer: str) -> Row:
    return (peer.cluster, peer.network, peer.region, peer.state, format_age(peer.heartbeat_age_seconds),
            peer.services, peer.endpoints, peer.istiod_version, observer)  # fmt: skip


def _data(report: IstiodReport) -> Row:
    federation = report.federation
    changed = "never" if report.changed_seconds is None else f"{format_age(report.changed_seconds)} ago"
    where, age, published = "-", "-", "-"
    if federation is not None:
        store = federation.store
        where = store.source if store.connected else f"{store.source} (disconnected)"
        age = format_age(store.age_seconds)
        published = f"{federation.published.records} records" if federation.published.connected else "no"
    return (report.cluster, report.revision, changed, where, age, published, format_left(report.ca_seconds_left),
            format_age(report.uptime_seconds))  # fmt: skip


def _gateways(report: IstiodReport) -> list[Row]:
    rows: list[Row] = [("-", "-", g.address, g.state, g.weight, report.cluster) for g in report.gateways]
    for peer in report.federation.peers if report.federation else ():
        rows += [(peer.cluster, g.id, g.address, g.state, g.weight, report.cluster) for g in peer.gateways]
    routers = [proxy for proxy in report.proxies if proxy.kind == "router"]
    rows += [
        (report.cluster, proxy.name, "-", f"connected, {state_of(proxy)}", "-", report.cluster) for proxy in routers
    ]
    return rows


def _service(service: ServiceReport, observer: str) -> Row:
    return (service.host, service.namespace, format_endpoints(service), format_exported(service),
            format_imported(service), observer)  # fmt: skip


def format_endpoints(service: ServiceReport) -> str:
    """`east 2, west 1/3`: workloads by cluster, healthy ones of all where they differ."""
    counts = (
        (c, f"{e.healthy}" if e.healthy == e.total else f"{e.healthy}/{e.total}") for c, e in service.endpoints.items()
    )
    return ", ".join(f"{cluster} {count}" for cluster, count in counts) or "none"


def format_exported(service: ServiceReport) -> str:
    """Who may use it: `-` for nobody else."""
    if service.exported_to is None:
        return "-"
    return ", ".join(service.exported_to) or "all"


def format_imported(service: ServiceReport) -> str:
    """Who lets us use theirs, and who does not."""
    kept = [f"not from {peer}" for peer in service.withheld_by]
    return ", ".join([*service.imported_from, *kept]) or "-"


def _proxies(report: IstiodReport) -> Row:
    states = Counter(state_of(proxy) for proxy in report.proxies)
    certificates = [
        (p.certificate_seconds_left, p.name) for p in report.proxies if p.certificate_seconds_left is not None
    ]
    left, proxy = min(certificates, default=(None, "-"))
    return (report.cluster, states["synced"], states["stale"], states["nack"], format_left(left), proxy)


def state_of(proxy: ProxyReport) -> str:
    """`nack`, `stale` if it has lacked something for longer than a push takes, else `synced`."""
    if proxy.state == "nack":
        return "nack"
    return "stale" if is_stale(proxy) else "synced"
