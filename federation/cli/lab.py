"""`isthmus lab …`: whole clusters on this machine, to try things on, break them, and see what happens.

Owns flags and how results look; everything else is in `federation.lab`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from federation.cli.output import DEGRADED, OK, Format, Output, Timeout, console, errors, fail, run_async, say, show
from federation.lab.applying import Applied
from federation.lab.capture import APP_UID, PROXY_UID
from federation.lab.client import Exchange
from federation.lab.config import default_config, load_config
from federation.lab.examples import example_config, example_names, write_example
from federation.lab.faults import Delay, How
from federation.lab.lab import Lab, LabStatus, existing
from federation.lab.load import parse_headers
from federation.lab.report import LoadReport
from federation.model.errors import InvalidInput, IsthmusError
from federation.model.findings import Finding, Severity

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="Whole clusters on this machine: start, call, load, break, heal.")
Name = Annotated[
    str, typer.Option("--name", envvar="ISTHMUS_LAB", help="Name of the lab; several can run side by side.")
]
From = Annotated[str, typer.Argument(metavar="FROM", help="The pod that calls, e.g. east/client.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="http://host[:port]/path, as the pod would write it.")]
Method = Annotated[str, typer.Option("-X", "--method", help="HTTP method.")]
Header = Annotated[list[str] | None, typer.Option("-H", "--header", help="Request header, `name: value`; repeatable.")]
What = Annotated[
    str, typer.Argument(metavar="WHAT", help="Pod, pod:sidecar, pod:app, gateway, istiod, etcd, cluster, link:a-b.")
]
RequestTimeout = Annotated[float, typer.Option("--request-timeout", help="Seconds after which a request has failed.")]
USERS = {"app": APP_UID, "proxy": PROXY_UID, "root": 0}


@app.command("up")
def up(
    clusters: Annotated[
        int, typer.Option("--clusters", min=1, max=50, help="How many clusters of the default kind.")
    ] = 2,
    config: Annotated[Path | None, typer.Option("--config", help="lab.yaml: clusters, workloads, services.")] = None,
    example: Annotated[
        str, typer.Option("--example", help=f"A lab with files to try: {', '.join(example_names())}.")
    ] = "",
    name: Name = "lab",
    join: Annotated[
        bool, typer.Option(help="Let the clusters join one mesh; without it they know nothing of each other.")
    ] = True,
    output: Output = Format.TABLE,
    timeout: Timeout = 60.0,
) -> None:
    """Start clusters, join them, and wait until they answer each other.

    isthmus lab up
    isthmus lab up --clusters 3 --name trio
    isthmus lab up --config lab.yaml
    isthmus lab up --example articles

    A lab.yaml says what differs from the default:

      clusters: [{name: east, region: eu-east}, {name: west, region: eu-west, gateways: 2}]
      workloads: [{name: client, port: 0}, {name: echo, replicas: 2, delayMs: 20}]
      services: [{name: echo, workload: echo}]
    """
    lab = Lab(name)
    try:
        wanted = example_config(example) if example else load_config(config) if config else default_config(clusters)
    except IsthmusError as error:
        fail(error)
        return
    with _progress(f"lab {name}") as step:
        try:
            run_async(lab.up(wanted, step, join, timeout), timeout + 5)
        except typer.Exit:
            if lab.files.journal.exists():
                say(f"logs are in {lab.files.directory / 'logs'}")
                say(f"`isthmus lab down --name {name}` removes what was made")
            raise
    files = write_example(example, lab.files.example) if example else []
    status = lab.status()
    say(f"lab {name} is up after {status.up_seconds:g} s, {len(status.processes)} processes; its files:")
    say(status.directory)
    _show_status(status, output)
    if output is Format.TABLE:
        console.print(f'\nexport ISTHMUS_ISTIOD="{" ".join(status.istiods)}"', soft_wrap=True, markup=False)
        console.print("isthmus status", markup=False)
        for file in files:
            console.print(f"isthmus lab apply {file.stem}", markup=False)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[str], None]]:
    """Tell what is being done: a moving line on a terminal, a line each elsewhere."""
    start = time.monotonic()
    if not errors.is_terminal:
        yield lambda text: say(f"{time.monotonic() - start:5.1f} s  {text}")
        return
    with errors.status(f"{title} …") as status:
        yield lambda text: status.update(f"{title}: {text} …")


@app.command("down")
def down(
    name: Name = "lab",
    everything: Annotated[bool, typer.Option("--all", help="All labs of this user.")] = False,
    timeout: Timeout = 60.0,
) -> None:
    """Remove everything that `up` made, also after a crash. May be repeated.

    isthmus lab down
    isthmus lab down --all
    """
    for one in existing() if everything else [name]:
        with _progress(f"removing lab {one}"):
            ended = _threaded(Lab(one).down, timeout)
        say(f"lab {one} is gone, {ended} processes ended")


@app.command("status")
def status(name: Name = "lab", output: Output = Format.TABLE, timeout: Timeout = 10.0) -> None:
    """Show processes, services and faults of a lab. Exit code 1 if something is broken.

    isthmus lab status -o json
    """
    found = _threaded(Lab(name).status, timeout)
    _show_status(found, output)
    broken = not found.ready or found.faults or any(p.state != "running" for p in found.processes)
    raise typer.Exit(DEGRADED if broken else OK)


def _show_status(status: LabStatus, output: Format) -> None:
    rows = [(p.key, _coloured(p.state), p.address, p.pid or "") for p in status.processes]
    show(status, output, ("PROCESS", "STATE", "ADDRESS", "PID"), rows)
    if output is Format.TABLE:
        for host, addresses in status.services.items():
            console.print(f"http://{host}/  in {', '.join(f'{c} ({a})' for c, a in addresses.items())}", soft_wrap=True)
        for fault in status.faults:
            console.print(f"[red]broken[/] {fault.what}: {fault.how}, since {time.time() - fault.at:.0f} s")


def _coloured(state: str) -> str:
    return state if state == "running" else f"[red]{state}[/]"


Files = Annotated[
    list[str], typer.Argument(metavar="FILE…", help="YAML files with objects, or names of the example's files.")
]
Clusters = Annotated[list[str] | None, typer.Option("--cluster", help="Only in this cluster; repeatable.")]


@app.command("apply")
def apply(
    files: Files, cluster: Clusters = None, name: Name = "lab", output: Output = Format.TABLE, timeout: Timeout = 30.0
) -> None:
    """Put objects into the clusters, and wait until every proxy has what follows. Exit code 1 if something is wrong.

    isthmus lab apply canary
    isthmus lab apply my-rules.yaml --cluster west
    """
    lab = Lab(name)
    applied = run_async(lab.apply(_sources(lab, files), cluster or (), timeout), timeout + 5)
    _show_applied(applied, output)


@app.command("delete")
def delete(
    files: Files, cluster: Clusters = None, name: Name = "lab", output: Output = Format.TABLE, timeout: Timeout = 30.0
) -> None:
    """Take objects away that were applied, by the same names, and wait until every proxy has what follows.

    isthmus lab delete canary
    """
    lab = Lab(name)
    applied = run_async(lab.delete(_sources(lab, files), cluster or (), timeout), timeout + 5)
    _show_applied(applied, output)


def _sources(lab: Lab, names: Sequence[str]) -> list[Path]:
    """The files that are meant: paths, else those of the example."""
    return [path if (path := lab.files.example / f"{name}.yaml").exists() else Path(name) for name in names]


def _show_applied(applied: Sequence[Applied], output: Format) -> None:
    show(applied, output, ("CLUSTER", "FILES", "PROXIES"), [
        (item.cluster, ", ".join(item.files), "have what follows" if item.changed else "nothing changed")
        for item in applied
    ])  # fmt: skip
    found = {finding: None for item in applied for finding in item.findings}
    for finding in found if output is Format.TABLE else ():
        said = f"{finding.severity}: {finding.object} {finding.path}: {finding.message}; {finding.fix}"
        console.print(said, markup=False, soft_wrap=True)
    raise typer.Exit(DEGRADED if any(finding.severity == "error" for finding in found) else OK)


@app.command("call")
def call(
    source: From,
    url: Url,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="How many times.")] = 1,
    method: Method = "GET",
    header: Header = None,
    request_timeout: RequestTimeout = 15.0,
    body: Annotated[bool, typer.Option("--body", help="Show what was answered.")] = False,
    name: Name = "lab",
    output: Output = Format.TABLE,
    timeout: Timeout = 60.0,
) -> None:
    """Call a URL from a pod, as the program in it would. Exit code 1 if a call failed.

    isthmus lab call east/client http://echo.demo:8080/
    isthmus lab call east/client http://only-west.demo:8080/ -n 5
    isthmus lab call east/client http://echo.demo:8080/ -H 'x-want-status: 503'
    """
    headers = _valid(lambda: parse_headers(header or []))
    exchanges = run_async(Lab(name).call(source, url, count, method, headers, request_timeout), timeout)
    show(exchanges, output, ("STATUS", "CLUSTER", "POD", "ZONE", "MS", "CAUSE"), [_row(e) for e in exchanges])
    if body and output is Format.TABLE:
        for exchange in exchanges:
            console.print(exchange.body.rstrip(), markup=False, soft_wrap=True)
    raise typer.Exit(OK if all(e.ok for e in exchanges) else DEGRADED)


def _row(exchange: Exchange) -> Sequence[object]:
    status = exchange.status or "none"
    return status, exchange.cluster, exchange.pod, exchange.zone, f"{exchange.latency * 1000:.1f}", exchange.cause


def _valid(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None


@app.command("load")
def load(
    source: From,
    url: Url,
    rps: Annotated[
        float, typer.Option("--rps", min=0.1, max=20_000, help="Requests a second, whatever the answers.")
    ] = 100.0,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=86_400, help="How long.")] = 10.0,
    method: Method = "GET",
    header: Header = None,
    request_timeout: RequestTimeout = 15.0,
    records: Annotated[Path | None, typer.Option("--records", help="File for one JSON line per request.")] = None,
    name: Name = "lab",
    output: Output = Format.TABLE,
) -> None:
    """Send open-loop load from a pod and report every failure with its cause. Exit code 1 if a request failed.

    isthmus lab load east/client http://echo.demo:8080/ --rps 200 --seconds 10
    isthmus lab load east/client http://echo.demo:8080/ --method POST --records run.jsonl -o json
    """
    headers = _valid(lambda: parse_headers(header or []))
    lab, file = Lab(name), records.absolute() if records else None
    with _progress(f"{rps:g} requests a second for {seconds:g} s"):
        work = lab.load(source, url, rps, seconds, method, headers, request_timeout, file)
        report = run_async(work, seconds + request_timeout + 60)
    _show_report(report, output)
    raise typer.Exit(OK if not report.failed else DEGRADED)


def _show_report(report: LoadReport, output: Format) -> None:
    rows: list[tuple[str, object]] = [
        ("requests", report.requests),
        ("ok", report.ok),
        ("failed", f"[red]{report.failed}[/]" if report.failed else 0),
        *((f"  {f.count} x {f.first:.1f}-{f.last:.1f} s", f.cause) for f in report.failures),
        ("rate", f"{report.rps:g} rps over {report.seconds:g} s"),
        ("latency ms", "  ".join(f"{name} {value:g}" for name, value in report.latency_ms.items())),
        *(
            (f"served by {pod}", f"{count} ({100 * count / max(1, report.ok):.0f} %)")
            for pod, count in report.pods.items()
        ),
        ("machine busy", f"{100 * report.busy:.0f} %, generator late by {report.lateness_ms:g} ms (p99)"),
    ]
    show(report, output, ("WHAT", "VALUE"), rows)


@app.command("break")
def break_(
    what: What,
    how: Annotated[How | None, typer.Option("--how", help="Default: kill; a link is partitioned.")] = None,
    delay_ms: Annotated[
        float, typer.Option("--delay-ms", min=0, max=60_000, help="With delay: how long packets are held.")
    ] = 50.0,
    jitter_ms: Annotated[
        float, typer.Option("--jitter-ms", min=0, max=60_000, help="With delay: more or less by so much.")
    ] = 0.0,
    loss: Annotated[
        float, typer.Option("--loss", min=0, max=1, help="With delay: share of packets that are lost.")
    ] = 0.0,
    name: Name = "lab",
    output: Output = Format.TABLE,
    timeout: Timeout = 30.0,
) -> None:
    """Break something until `heal`.

    isthmus lab break west                                     (the whole cluster is killed)
    isthmus lab break east/echo-1:sidecar --how hang
    isthmus lab break west/gateway --how drop
    isthmus lab break link:east-west --how delay --delay-ms 20 (each way)
    isthmus lab break link:west-etcd                           (partition)
    """
    fault = run_async(Lab(name).break_(what, how, Delay(delay_ms, jitter_ms, loss)), timeout)
    touched = ", ".join((*fault.killed, *fault.frozen)) or f"{len(fault.rules)} rules"
    show(fault, output, ("BROKEN", "HOW", "TOUCHED"), [(fault.what, fault.how, touched)])


@app.command("heal")
def heal(
    what: Annotated[str, typer.Argument(metavar="[WHAT]", help="As given to break; everything if left out.")] = "",
    name: Name = "lab",
    output: Output = Format.TABLE,
    timeout: Timeout = 60.0,
) -> None:
    """Revert what `break` did: start, thaw, reconnect; wait until it is ready again.

    isthmus lab heal
    isthmus lab heal west/gateway
    """
    with _progress("healing"):
        healed = run_async(Lab(name).heal(what), timeout)
    show(healed, output, ("HEALED", "WAS"), [(fault.what, fault.how) for fault in healed])


@app.command("logs")
def logs(
    what: What,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="So many of the last lines of each.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new lines.")] = False,
    name: Name = "lab",
) -> None:
    """Show logs of processes.

    isthmus lab logs west/istiod -f
    isthmus lab logs east/echo-1:sidecar -n 20
    """
    found = _threaded(lambda: Lab(name).logs(what), 10.0)
    if not found:
        fail(_wrong(what, "has no process with a log", "see `isthmus lab status`"))
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, found.values())])


@app.command("shell", context_settings={"allow_interspersed_args": False})
def shell(
    pod: Annotated[str, typer.Argument(metavar="POD", help="Pod, gateway, istiod or etcd.")],
    command: Annotated[list[str] | None, typer.Argument(help="What to run; a shell if left out.")] = None,
    user: Annotated[str, typer.Option("--user", help="app (captured), proxy (not captured) or root.")] = "app",
    name: Name = "lab",
) -> None:
    """Run a shell or a command inside a pod's network.

    isthmus lab shell east/client
    isthmus lab shell --user root west/istiod ss -tn
    """
    if user not in USERS:
        raise typer.BadParameter(f"--user is one of {', '.join(USERS)}")
    argv = [part for n, part in enumerate(command or []) if n or part != "--"] or [os.environ.get("SHELL", "/bin/sh")]
    line = _threaded(lambda: Lab(name).command_in(pod, argv, USERS[user]), 10.0)
    os.execvp(line[0], line)


def _threaded(work: Callable[[], T], timeout: float) -> T:
    """Run blocking work with the errors and exit codes of every command."""
    return run_async(asyncio.to_thread(work), timeout)


def _wrong(what: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput([Finding(Severity.ERROR, "InvalidTarget", f"Target {what}", "", message, fix)])
