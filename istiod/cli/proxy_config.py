"""`isthmus proxy config`: what a proxy has, as a control plane made it, or as Envoy itself says. Options and output."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from federation.cli.output import Format, Output, Timeout, console, fail, run_async, show
from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from istiod.cli.client import DEFAULT, Istiods, ask_admin, ask_config
from istiod.cli.envoy_dump import Item, Resources, field, fields, read_dump, read_host_statuses
from istiod.cli.resource_tables import COLUMNS, Filters, check_filters, select, with_inline
from istiod.debug.report import ConfigReport, TypeReport

MAX_DUMP_BYTES = 256 << 20
# What else has to be asked for to have all of a type: some stands inside other resources.
NEEDS_ALL = ("routes", "endpoints")


_NODE = ("id", "cluster", "locality", "metadata", "user_agent_name")  # of Envoy's node; the rest is long


class ConfigKind(StrEnum):
    """Which resources of a proxy to show."""

    ALL = "all"
    CLUSTERS = "clusters"
    ENDPOINTS = "endpoints"
    LISTENERS = "listeners"
    ROUTES = "routes"
    EXTENSIONS = "extensions"
    SECRETS = "secrets"
    BOOTSTRAP = "bootstrap"


def config(
    proxy: Annotated[str, typer.Argument(help="Node id, pod name, or pod.namespace; not with --file or --admin.")],
    kind: Annotated[ConfigKind, typer.Argument(help="Which resources.")] = ConfigKind.ALL,
    fqdn: Annotated[str, typer.Option(help="clusters: part of the service's host.")] = "",
    port: Annotated[int, typer.Option(help="clusters, listeners, endpoints: the port.")] = 0,
    direction: Annotated[str, typer.Option(help="clusters: inbound or outbound.")] = "",
    subset: Annotated[str, typer.Option(help="clusters: the subset.")] = "",
    address: Annotated[str, typer.Option(help="listeners, endpoints: the address.")] = "",
    type_: Annotated[str, typer.Option("--type", help="listeners: HTTP or TCP chains.")] = "",
    name: Annotated[str, typer.Option(help="routes: the route configuration.")] = "",
    cluster: Annotated[str, typer.Option(help="endpoints: the cluster.")] = "",
    status: Annotated[str, typer.Option(help="endpoints: e.g. healthy.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="Read a dump of Envoy's (/config_dump?include_eds) instead.")
    ] = None,
    admin: Annotated[
        str, typer.Option(help="Ask Envoy's admin interface instead, unix:/path or http://host:port.")
    ] = "",
    istiod: Istiods = [DEFAULT],  # noqa: B006
    output: Output = Format.TABLE,
    timeout: Timeout = 30.0,
) -> None:
    """Show what a proxy has: tables for people, whole resources with -o json or -o yaml. Keys of secrets never appear.

    Without --file and --admin it is what the control plane gives the proxy, each type with how far it is acknowledged.

    isthmus proxy config web-1.shop
    isthmus proxy config web-1.shop clusters --fqdn reviews --direction outbound
    isthmus proxy config web-1.shop listeners --port 9080 --type HTTP
    isthmus proxy config web-1.shop routes --name 9080 -o yaml
    isthmus proxy config web-1.shop endpoints --cluster "outbound|9080||reviews.shop.svc.cluster.local"
    isthmus proxy config endpoints --status unhealthy --admin unix:/tmp/envoy-admin.sock
    isthmus proxy config secrets --file config_dump.json
    """
    offline = bool(file or admin)
    if offline and kind is ConfigKind.ALL and proxy in list(ConfigKind):
        kind = ConfigKind(proxy)
    filters = Filters(fqdn, port, direction, subset, address, type_, name, cluster, status)
    try:
        check_filters(kind.value, filters)
        if file is not None:
            _show(_read(file), kind, filters, output)
            return
    except InvalidInput as wrong:
        fail(wrong)
    if admin:
        _show(run_async(_live(admin, kind, timeout), 2 * timeout + 5), kind, filters, output)
        return
    wanted = "" if kind is ConfigKind.ALL or kind.value in NEEDS_ALL else kind.value
    report = run_async(_config(istiod, proxy, wanted, timeout), timeout + 5)
    _show(_resources(report), kind, filters, output, report)


def _read(path: Path) -> Resources:
    try:
        if path.stat().st_size > MAX_DUMP_BYTES:
            raise _not_read(path, f"is longer than {MAX_DUMP_BYTES} bytes")
        return read_dump(msgspec.json.decode(path.read_bytes()), str(path))
    except OSError as error:
        raise _not_read(path, error.strerror or str(error)) from error
    except msgspec.DecodeError as error:
        raise _not_read(path, f"is no JSON: {error}") from error


def _not_read(path: Path, message: str) -> InvalidInput:
    return InvalidInput([Finding(Severity.ERROR, "NoFile", str(path), "", message, "")])


async def _live(address: str, kind: ConfigKind, timeout: float) -> Resources:
    dump = await ask_admin(address, "/config_dump?include_eds", timeout)
    resources = read_dump(dump, address)
    if kind in (ConfigKind.ENDPOINTS, ConfigKind.ALL):
        resources["endpoints"] = read_host_statuses(await ask_admin(address, "/clusters?format=json", timeout))
    return resources


async def _config(addresses: list[str], proxy: str, kind: str, timeout: float) -> ConfigReport:
    """The answer of the first control plane that knows the proxy; what all of them said if none does."""
    findings: list[Finding] = []
    for address in addresses:
        try:
            return await ask_config(address, proxy, kind, timeout)
        except InvalidInput as wrong:
            findings += wrong.findings
        except Unavailable as error:
            findings.append(Finding(Severity.ERROR, "Unavailable", address, "", str(error), ""))
    raise InvalidInput(findings)


def _resources(report: ConfigReport) -> Resources:
    states = {item.type: item.state for item in report.proxy.types}
    found = {
        kind: [
            Item(r.name, r.content, r.version, "active" if states.get(kind) == "synced" else states.get(kind, ""))
            for r in resources
        ]
        for kind, resources in report.resources.items()
    }
    return {**found, "bootstrap": [Item(report.proxy.id, report.node)]} if report.node is not None else found


def _show(
    resources: Resources, kind: ConfigKind, filters: Filters, output: Format, report: ConfigReport | None = None
) -> None:
    now = datetime.now(UTC).isoformat()
    whole = with_inline(resources)
    kinds = list(whole) if kind is ConfigKind.ALL else [kind.value]
    shown: dict[str, list[Item]] = {}
    for name in kinds:
        items = whole.get(name, [])
        if name == ConfigKind.BOOTSTRAP.value:
            shown[name] = items
            if output is Format.TABLE:
                _bootstrap(items, live=report is None)
            continue
        shown[name], rows = select(name, items, filters, now)
        if output is Format.TABLE:
            show(None, output, COLUMNS[name], rows, _title(name, report) if kind is ConfigKind.ALL else "")
            if kind is ConfigKind.ALL:
                console.print()
    if output is not Format.TABLE:
        show(_data(shown, resources, report), output)


def _data(shown: dict[str, list[Item]], made: Resources, report: ConfigReport | None) -> Any:
    """What programs get: the resources themselves, and of a control plane who was asked and how far the proxy is."""
    node = [item.content for item in shown.pop("bootstrap", ())]
    own = {kind: {id(item.content) for item in items} for kind, items in made.items()}
    plain = {
        kind: [
            {"name": item.name, "version": item.version, "state": item.state, "content": item.content}
            for item in items
            if kind == "secrets" or id(item.content) in own.get(kind, ())
        ]
        for kind, items in shown.items()
    }
    head = {"observer": report.observer, "proxy": report.proxy} if report is not None else {}
    bootstrap = {"node" if report is not None else "bootstrap": node[0]} if node else {}
    return {**head, "resources": plain, **bootstrap}


def _title(name: str, report: ConfigReport | None) -> str:
    found = next((item for item in report.proxy.types if item.type == name), None) if report is not None else None
    return f"{name} ({state_text(found)})" if found is not None else name


def state_text(item: TypeReport) -> str:
    """How far a type of a proxy is, in one line."""
    revision = f"{item.acked_revision}"
    if item.sent_revision != item.acked_revision:
        revision += f" (sent {item.sent_revision})"
    return f"{item.state} {revision}" + (f", {item.nacks} nacks" if item.nacks else "")


def _bootstrap(items: list[Item], live: bool) -> None:
    for item in items:
        rows: list[tuple[str, str]]
        if live:
            node, static = field(item.content, "node"), field(item.content, "static_resources")
            rows = [(key, _text(value)) for key, value in (node or {}).items() if key in _NODE]
            rows += [("static clusters", ", ".join(str(field(c, "name")) for c in fields(static, "clusters")))]
        else:
            rows = [(key, _text(value)) for key, value in item.content.items()]
        show(None, Format.TABLE, ("FIELD", "VALUE"), rows)
    if not live:
        console.print("This is what the node said; Envoy's own bootstrap is shown with --admin or --file.")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
