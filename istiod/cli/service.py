"""`isthmus service …` and `isthmus entry …`: let other clusters use a service, stop it, and see what is shared.

For clusters whose objects are files: the commands write and remove files, istiod follows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from federation.cli.output import DEGRADED, OK, Format, Output, Timeout, console, fail, run_async, say, show
from federation.model.errors import InvalidInput, Unavailable
from federation.model.names import NamespacedName
from federation.runtime.atomic import write_atomic
from istiod.api.kinds import Kind
from istiod.cli.client import DEFAULT, Istiods, ask_all
from istiod.cli.exports import ExportChange, plan_export, plan_unexport, read_directory
from istiod.cli.status import format_endpoints, format_exported, format_imported
from istiod.debug.report import IstiodReport, ServiceReport

service_app = typer.Typer(no_args_is_help=True, help="Services that clusters let each other use.")
entry_app = typer.Typer(no_args_is_help=True, help="ServiceEntries that clusters let each other use.")
REFUSALS = frozenset({"BadRecord", "RecordFromTheFuture", "BadKey", "PortConflict"})

Name = Annotated[str, typer.Argument(help="Its name.")]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Its namespace.")]
ConfigDir = Annotated[
    Path, typer.Option("--config-dir", envvar="ISTHMUS_CONFIG_DIR", help="Directory of this cluster's objects.")
]
To = Annotated[str, typer.Option("--to", help="The clusters that may use it, c1,c2; all unless given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, change nothing.")]


@service_app.command("export")
def export_service(
    name: Name, config_dir: ConfigDir, namespace: Namespace = "default", to: To = "", dry_run: DryRun = False
) -> None:
    """Let other clusters use a service.

    isthmus service export reviews -n shop --config-dir east/config
    isthmus service export reviews -n shop --to west,north --config-dir east/config --dry-run
    """
    _export(Kind.SERVICE, NamespacedName(namespace, name), config_dir, to, dry_run)


@service_app.command("unexport")
def unexport_service(
    name: Name, config_dir: ConfigDir, namespace: Namespace = "default", dry_run: DryRun = False
) -> None:
    """Stop letting other clusters use a service.

    isthmus service unexport reviews -n shop --config-dir east/config
    """
    _unexport(Kind.SERVICE, NamespacedName(namespace, name), config_dir, dry_run)


@service_app.command("list")
def list_services(
    istiod: Istiods = [DEFAULT],  # noqa: B006
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """List shared services: exported to whom, imported from whom, endpoints by cluster, and what was refused.

    isthmus service list --istiod http://127.0.0.1:8080
    """
    _list(istiod, False, output, timeout)


@entry_app.command("export")
def export_entry(
    name: Name, config_dir: ConfigDir, namespace: Namespace = "default", to: To = "", dry_run: DryRun = False
) -> None:
    """Let other clusters use what a ServiceEntry describes.

    isthmus entry export payments -n shop --to west --config-dir east/config
    """
    _export(Kind.SERVICE_ENTRY, NamespacedName(namespace, name), config_dir, to, dry_run)


@entry_app.command("unexport")
def unexport_entry(
    name: Name, config_dir: ConfigDir, namespace: Namespace = "default", dry_run: DryRun = False
) -> None:
    """Stop letting other clusters use what a ServiceEntry describes.

    isthmus entry unexport payments -n shop --config-dir east/config
    """
    _unexport(Kind.SERVICE_ENTRY, NamespacedName(namespace, name), config_dir, dry_run)


@entry_app.command("list")
def list_entries(
    istiod: Istiods = [DEFAULT],  # noqa: B006
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """List shared ServiceEntries: exported to whom, imported from whom, endpoints by cluster, and what was refused.

    isthmus entry list --istiod unix:/run/east/istiod.sock -o json
    """
    _list(istiod, True, output, timeout)


def _export(kind: Kind, key: NamespacedName, directory: Path, to: str, dry_run: bool) -> None:
    consumers = [part.strip() for part in to.split(",") if part.strip()]
    try:
        change = plan_export(directory, read_directory(directory), kind, key, consumers)
    except InvalidInput as wrong:
        fail(wrong)
        return
    _apply(change, dry_run)
    verb = "would be" if dry_run else "is"
    say(f"{kind} {key} {verb} exported to {', '.join(sorted(set(consumers))) or 'all clusters'}: {change.path}")


def _unexport(kind: Kind, key: NamespacedName, directory: Path, dry_run: bool) -> None:
    try:
        change = plan_unexport(directory, read_directory(directory), kind, key)
    except InvalidInput as wrong:
        fail(wrong)
        return
    _apply(change, dry_run)
    say(f"{kind} {key} {'would no longer be' if dry_run else 'is no longer'} exported: {change.path}")


def _apply(change: ExportChange, dry_run: bool) -> None:
    for finding in change.findings:
        say(str(finding))
    if dry_run:
        typer.echo(change.text or f"remove {change.path}", nl=not change.text)
    elif change.text is None:
        change.path.unlink()
    else:
        write_atomic(change.path, change.text.encode(), 0o644)


def _list(addresses: Sequence[str], entries: bool, output: Format, timeout: float) -> None:
    answers = run_async(ask_all(addresses, timeout), timeout + 5)
    reports = [answer for answer in answers.values() if isinstance(answer, IstiodReport)]
    silent = [answer for answer in answers.values() if isinstance(answer, Unavailable)]
    if not reports:
        fail(silent[0])
    shared = [(s, r.cluster) for r in reports for s in r.services if s.entry is entries and _is_shared(s)]
    refused = [(f, r.cluster) for r in reports for f in r.findings if f.code in REFUSALS]
    data = {
        "services": [{"seenBy": cluster, "service": service} for service, cluster in shared],
        "refused": [{"seenBy": cluster, "finding": finding} for finding, cluster in refused],
        "unreachable": [str(error) for error in silent],
    }
    columns = ("SERVICE", "NAMESPACE", "EXPORTED TO", "IMPORTED FROM", "ENDPOINTS", "SEEN BY")
    show(data, output, columns, [_row(service, cluster) for service, cluster in shared])
    if output is Format.TABLE:
        for finding, cluster in refused:
            text = f"refused by {cluster}: {finding.object} {finding.path} {finding.message}; {finding.fix}"
            console.print(text, markup=False, soft_wrap=True)
    for error in silent:
        say(str(error))
    raise typer.Exit(DEGRADED if silent or refused else OK)


def _is_shared(service: ServiceReport) -> bool:
    return bool(service.exported_to is not None or service.imported_from or service.withheld_by)


def _row(service: ServiceReport, observer: str) -> tuple[str, ...]:
    return (service.host, service.namespace, format_exported(service), format_imported(service),
            format_endpoints(service), observer)  # fmt: skip
