"""`isthmus diff`: which proxies an edit would change, before it is applied. Options and output; judges nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from federation.cli.output import DEGRADED, ERROR, OK, Format, Output, Timeout, console, fail, run_async, show
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from istiod.cli.client import DEFAULT, Istiods, ask
from istiod.cli.inputs import PLACE, read_files, tables_of
from istiod.cli.offline import ConfigDir, MeshConfigFile, MeshNetworksFile, proxies_of
from istiod.debug.report import ClassChange, DiffQuestion, DiffReport, FieldChange
from istiod.debug.trial import Group, diff_report, read_edit
from istiod.snapshot import SnapshotBuilder
from istiod.view.classes import view_of
from istiod.view.proxy import Proxy, ProxyView

MARKS = {"added": "+", "removed": "-", "changed": "~"}
MAX_NAMES, MAX_VALUE = 5, 200


def diff(
    file: Annotated[
        list[str] | None, typer.Option("-f", "--file", help="File or directory of new objects; - is standard input.")
    ] = None,
    delete: Annotated[
        list[str] | None, typer.Option(help="Kind/namespace/name of an object to delete; may be repeated.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Read what is below directories too.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is different inside resources.")] = False,
    istiod: Istiods = [DEFAULT],  # noqa: B006
    config_dir: ConfigDir = None,
    mesh_config: MeshConfigFile = None,
    mesh_networks: MeshNetworksFile = None,
    output: Output = Format.TABLE,
    timeout: Timeout = 120.0,
) -> None:
    """Show what new, changed or deleted objects would change at which proxies. Nothing is applied.

    Against a running control plane: its connected proxies. With --config-dir: the Pods in the files. Exit code 0 if
    nothing would change, 1 if something would, 2 if an object is not valid or the question is wrong.

    isthmus diff -f new.yaml
    isthmus diff -f new.yaml --verbose --istiod unix:/run/east/istiod.sock
    isthmus diff --delete VirtualService/shop/reviews -o json
    isthmus diff -f new.yaml --config-dir east/config
    """
    try:
        if not file and not delete:
            message, fix = "has nothing to compare", "give -f or --delete"
            raise InvalidInput([Finding(Severity.ERROR, "InvalidFlag", "isthmus diff", "", message, fix)])
        texts = read_files(file or (), recursive)
        broken = [text for text in texts.values() if isinstance(text, Finding)]
        if broken:
            raise InvalidInput(broken)
        files = {name: text for name, text in texts.items() if isinstance(text, str)}
        question = DiffQuestion(files, tuple(delete or ()), verbose or output is not Format.TABLE)
    except InvalidInput as wrong:
        fail(wrong)
    if config_dir is not None:
        work = _offline(config_dir, mesh_config, mesh_networks, question)
    else:
        work = _online(istiod, question, timeout)
    reports = run_async(work, timeout + 5)
    if output is Format.TABLE:
        for report in reports:
            for line in lines(report, named=len(reports) > 1):
                console.print(line, markup=False, soft_wrap=True)
    else:
        show(reports[0] if len(reports) == 1 else reports, output)
    if any(report.refused for report in reports):
        raise typer.Exit(ERROR)
    raise typer.Exit(DEGRADED if any(report.classes for report in reports) else OK)


async def _online(addresses: Sequence[str], question: DiffQuestion, timeout: float) -> list[DiffReport]:
    body = msgspec.json.encode(question)
    asked = (ask(address, "diff", {}, DiffReport, timeout, body) for address in addresses)
    return list(await asyncio.gather(*asked))


async def _offline(
    directory: Path, mesh_config: Path | None, mesh_networks: Path | None, question: DiffQuestion
) -> list[DiffReport]:
    tables = tables_of(read_files([str(directory)], recursive=True), mesh_config, mesh_networks)
    builder = SnapshotBuilder(PLACE)
    before = builder.build(tables)
    proxies = proxies_of(before)
    if not proxies:
        message = f"{directory} has no Pod with an address, so there is no proxy to compare"
        fix = "add the Pods, or ask a control plane with --istiod"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidQuery", "--config-dir", "", message, fix)])
    by_view: dict[ProxyView, list[Proxy]] = {}
    for proxy in proxies:
        by_view.setdefault(view_of(proxy, before), []).append(proxy)
    groups = [Group(view, tuple(found)) for view, found in by_view.items()]
    edit = read_edit(question.files, question.delete)
    return [await diff_report("", before, tables, PLACE, builder.ledger, groups, edit, question.fields)]


def lines(report: DiffReport, named: bool = False) -> Iterator[str]:
    """A report for people: findings, objects, then each group of proxies with what changes there."""
    if named:
        yield f"# {report.observer}"
    for word, findings in (("", report.findings), ("no more ", report.gone)):
        for finding in findings:
            place = f"{finding.object} {finding.path}".strip()
            yield f"{word}{finding.severity} {finding.code} {place}: {finding.message}"
    for change in report.objects:
        yield f"{change.change}: {change.object}"
    yield from report.notes
    if report.refused:
        yield "not valid, so nothing was compared"
        return
    for item in report.classes:
        yield ""
        yield from _class_lines(item)
    changed = sum(len(item.proxies) for item in report.classes)
    yield ""
    yield f"{changed} proxies change, {report.unchanged} stay as they are"


def _class_lines(item: ClassChange) -> Iterator[str]:
    shown = ", ".join(name.split("~")[2] if name.count("~") == 3 else name for name in item.proxies[:MAX_NAMES])
    more = f" and {len(item.proxies) - MAX_NAMES} more" if len(item.proxies) > MAX_NAMES else ""
    yield f"{shown}{more}:"
    for resource in item.resources:
        yield f"  {MARKS[resource.change]} {resource.type} {resource.name}"
        for field in resource.fields:
            yield from _field_lines(field)
        if resource.more:
            yield f"      and {resource.more} more fields"


def _field_lines(field: FieldChange) -> Iterator[str]:
    if field.before is not None:
        yield f"      - {field.path}: {_value(field.before)}"
    if field.after is not None:
        yield f"      + {field.path}: {_value(field.after)}"


def _value(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"
