"""`isthmus analyze`: what istiod would say of a directory of objects, without an istiod."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from federation.cli.output import DEGRADED, OK, Format, Output, console, fail, run_async, show
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.labels import Labels
from istiod.api.kinds import Kind
from istiod.events import Event
from istiod.registry.contribution import Place
from istiod.resolve.config import resolve_view
from istiod.resolve.unsupported import unsupported_fields
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.sources.files import FilesSource
from istiod.store import Store
from istiod.view.classes import view_of
from istiod.view.proxy import Proxy, ProxyType


def analyze(
    directory: Annotated[Path, typer.Argument(help="Directory of YAML objects.")],
    mesh_config: Annotated[Path | None, typer.Option(help="File with a MeshConfig.")] = None,
    mesh_networks: Annotated[Path | None, typer.Option(help="File with MeshNetworks.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Find what is wrong with objects before istiod gets them. Exit code 1 if there is an error.

    isthmus analyze east/config
    isthmus analyze east/config --mesh-config mesh.yaml -o json
    """
    if not directory.is_dir():
        message = "is no directory"
        fail(InvalidInput([Finding(Severity.ERROR, "NoDirectory", str(directory), "", message, "give one with YAML")]))
    events = run_async(_read(FilesSource(directory, mesh_config, mesh_networks)))
    findings = analyze_events(events)
    rows = [(f.severity.name.lower(), f.code, f"{f.object} {f.path}".strip(), f.message, f.fix) for f in findings]
    data = [{**_plain(finding), "severity": finding.severity.name.lower()} for finding in findings]
    show(data, output, ("SEVERITY", "CODE", "OBJECT", "MESSAGE", "FIX"), rows)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    if output is Format.TABLE:
        console.print(f"{errors} errors, {len(findings) - errors} others")
    raise typer.Exit(DEGRADED if errors else OK)


def _plain(finding: Finding) -> dict[str, str]:
    return {"code": finding.code, "object": finding.object, "path": finding.path, "message": finding.message,
            "fix": finding.fix}  # fmt: skip


async def _read(files: FilesSource) -> Sequence[Event]:
    """What the source says first: all files."""
    said: asyncio.Future[Sequence[Event]] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(files.run(lambda events: None if said.done() else said.set_result(events)))
        events = await said
        running.cancel()
    return events


def analyze_events(events: Sequence[Event]) -> list[Finding]:
    """Findings of sources, of the registry, and of every kind of proxy that the objects speak of; worst first. Pure."""
    store = Store()
    store.apply(events)
    snapshot = SnapshotBuilder(Place("cluster", "network")).build(store.tables())
    found = {*snapshot.findings, *unsupported_fields(snapshot)}
    for proxy in _proxies(snapshot):
        found.update(resolve_view(snapshot, view_of(proxy, snapshot)).findings)
    return sorted(found, key=lambda finding: (-finding.severity, finding))


def _proxies(snapshot: Snapshot) -> Iterator[Proxy]:
    """A sidecar of every namespace, one of every workload's address, and a gateway of every Gateway's selector."""
    namespaces = {service.namespace for service in snapshot.services.values()}
    namespaces |= {key.namespace for kind in _POLICIES for key in snapshot.tables.get(kind, {})}
    for namespace in sorted(namespaces):
        yield _proxy(ProxyType.SIDECAR, namespace)
    for address, keys in snapshot.addresses.items():
        yield _proxy(ProxyType.SIDECAR, keys[0].namespace, address)
    for key, gateway in snapshot.tables.get(Kind.GATEWAY, {}).items():
        yield _proxy(ProxyType.ROUTER, key.namespace, labels=Labels(gateway.spec.selector))


_POLICIES = (Kind.SIDECAR, Kind.VIRTUAL_SERVICE, Kind.DESTINATION_RULE, Kind.PEER_AUTHENTICATION)


def _proxy(kind: ProxyType, namespace: str, address: str = "192.0.2.1", labels: Labels | None = None) -> Proxy:
    return Proxy(
        f"analyze.{namespace}", kind, "analyze", namespace, "default", f"{namespace}.svc.cluster.local", (address,),
        "cluster", "network", labels=labels or Labels({}),
    )  # fmt: skip
