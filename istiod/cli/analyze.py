"""`isthmus analyze`: what is wrong with objects in files, or in a running mesh. Options and output; judges nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from federation.cli.output import DEGRADED, OK, Format, Output, Timeout, console, fail, run_async, say, show
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from istiod.analyze.analysis import analyze_all, worst_first
from istiod.analyze.codes_of_parts import CODES
from istiod.analyze.fixes import object_patch, patch
from istiod.analyze.selection import Suppression, annotated, counts, parse_suppression, select
from istiod.api.kinds import Kind
from istiod.cli.client import Istiods, ask
from istiod.cli.inputs import read_files, skipped_directories, snapshot_of
from istiod.debug.report import AnalysisReport
from istiod.encode.patch_report import value_findings
from istiod.resolve.credentials import expired_credentials
from istiod.resolve.objects import table_of


class Level(StrEnum):
    """A severity as people write it."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def severity(self) -> Severity:
        """The severity."""
        return Severity[self.name]


def analyze(
    context: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files and directories of YAML objects; - is standard input.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Read what is below directories too.")] = False,
    mesh_config: Annotated[Path | None, typer.Option(help="File with a MeshConfig.")] = None,
    mesh_networks: Annotated[Path | None, typer.Option(help="File with MeshNetworks.")] = None,
    istiod: Istiods = [],  # noqa: B006
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only findings about this namespace.")] = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="The default.")] = False,
    severity: Annotated[Level, typer.Option(help="Show findings from this severity on.")] = Level.INFO,
    failure_threshold: Annotated[
        Level, typer.Option(help="Exit with 1 if something of this severity or worse is found.")
    ] = Level.ERROR,
    suppress: Annotated[
        list[str] | None,
        typer.Option("--suppress", "-S", help="CODE=Kind namespace/name, with wildcards; may be repeated."),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Print a patch with the corrections that are certain.")] = False,
    list_codes: Annotated[bool, typer.Option("--list-codes", help="What each code means.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 60.0,
) -> None:
    """Find what is wrong with objects, in files before istiod gets them, or in a running mesh.

    Exit code 1 if there is an error (see --failure-threshold), 2 if the question is wrong.

    isthmus analyze east/config -R
    isthmus analyze east/config --mesh-config mesh.yaml -o json
    isthmus analyze new.yaml --fix | patch -p1
    isthmus analyze --istiod http://127.0.0.1:8080 -n shop --suppress "PortNameUnknown=Service shop/*"
    """
    if list_codes:
        _list_codes(output)
        return
    if all_namespaces and namespace:
        fail(_wrong("--namespace", "is given together with --all-namespaces", "keep one of them"))
    rules = _suppressions(suppress or ())
    if paths and istiod and context.get_parameter_source("istiod") is not None and _was_typed(context, "istiod"):
        fail(_wrong("--istiod", "is given together with files", "analyze one of them"))
    if paths:
        found, patches = _of_files(paths, recursive, mesh_config, mesh_networks)
    elif istiod:
        found, patches = _of_mesh(istiod, timeout)
    else:
        fail(_wrong("isthmus analyze", "has nothing to read", "give files, directories, - or --istiod"))
    shown = {
        cluster: select(findings, CODES, rules, namespace, severity.severity) for cluster, findings in found.items()
    }
    if fix:
        sys.stdout.write("".join(patches))
    else:
        _show(shown, output)
    judged = [f for findings in found.values() for f in select(findings, CODES, rules, namespace)]
    raise typer.Exit(DEGRADED if any(f.severity >= failure_threshold.severity for f in judged) else OK)


def _was_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _suppressions(texts: Sequence[str]) -> tuple[Suppression, ...]:
    try:
        return tuple(parse_suppression(text) for text in texts)
    except ValueError as wrong:
        fail(_wrong("--suppress", str(wrong), 'e.g. --suppress "HostNotFound=VirtualService shop/*"'))
        raise AssertionError from wrong


Found = Mapping[str, Sequence[Finding]]  # by cluster; "" for files


def _of_files(
    paths: Sequence[str], recursive: bool, mesh_config: Path | None, mesh_networks: Path | None
) -> tuple[Found, list[str]]:
    """Findings about files, and the patch of each."""
    try:
        files = read_files(paths, recursive)
    except InvalidInput as wrong:
        fail(wrong)
    skipped = [] if recursive else skipped_directories(paths)
    if skipped:
        say(f"not read: {', '.join(skipped)} (give -R)")
    snapshot = snapshot_of(files, mesh_config, mesh_networks)
    expired = expired_credentials(table_of(snapshot, Kind.SECRET), datetime.now(UTC))
    everything = worst_first({*analyze_all(snapshot), *value_findings(snapshot), *expired})
    found = select(everything, CODES, annotated(snapshot))
    return {"": found}, [patch(text, name) for name, text in files.items() if isinstance(text, str)]


def _of_mesh(addresses: Sequence[str], timeout: float) -> tuple[Found, list[str]]:
    """Findings of control planes by cluster, and a command for each that can be corrected."""

    async def every() -> list[AnalysisReport]:
        return await asyncio.gather(*(ask(address, "analysis", {}, AnalysisReport, timeout) for address in addresses))

    found = {
        report.cluster: [
            Finding(Severity[f.severity.upper()], f.code, f.object, f.path, f.message, f.fix) for f in report.findings
        ]
        for report in run_async(every(), timeout + 1)
    }
    commands = (object_patch(finding) for findings in found.values() for finding in findings)
    return found, [f"{command}\n" for command in dict.fromkeys(commands) if command]


def _show(found: Found, output: Format) -> None:
    several = len(found) > 1
    columns = ("CLUSTER",) * several + ("SEVERITY", "CODE", "OBJECT", "MESSAGE", "FIX")
    rows = [(cluster,) * several + _row(f) for cluster, findings in found.items() for f in findings]
    data = [
        ({"cluster": cluster} if several else {}) | _plain(finding)
        for cluster, findings in found.items()
        for finding in findings
    ]
    if output is Format.TABLE and not rows:
        console.print("nothing found")
        return
    show(data, output, columns, rows)
    if output is Format.TABLE:
        number = counts(finding for findings in found.values() for finding in findings)
        words = {Severity.ERROR: "errors", Severity.WARNING: "warnings", Severity.INFO: "notes"}
        console.print(", ".join(f"{count} {words[severity]}" for severity, count in number.items()))


def _row(finding: Finding) -> tuple[str, ...]:
    place = f"{finding.object} {finding.path}".strip()
    return (finding.severity.name.lower(), finding.code, place, finding.message, finding.fix)


def _plain(finding: Finding) -> dict[str, str]:
    code = CODES.get(finding.code)
    return {
        "severity": finding.severity.name.lower(), "code": finding.code, "istio": code.istio if code else "",
        "object": finding.object, "path": finding.path, "message": finding.message, "fix": finding.fix,
    }  # fmt: skip


def _list_codes(output: Format) -> None:
    codes = list(CODES.values())
    data: Iterable[dict[str, str]] = [
        {
            "code": c.word,
            "severity": c.severity.name.lower(),
            "meaning": c.meaning,
            "action": c.action,
            "istio": c.istio,
        }
        for c in codes
    ]
    rows = [(c.word, c.severity.name.lower(), c.meaning, c.action, c.istio) for c in codes]
    show(data, output, ("CODE", "SEVERITY", "MEANING", "WHAT TO DO", "ISTIO"), rows)


def _wrong(place: str, message: str, fix: str) -> InvalidInput:
    return InvalidInput([Finding(Severity.ERROR, "InvalidFlag", place, "", message, fix)])
