"""`isthmus proxy …`: bootstraps, and what connected proxies have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from federation.bootstrap import (
    TOKEN_SDS_FILE,
    ProxyBootstrap,
    istiod_identity,
    render_bootstrap,
    render_token_sds,
)
from federation.cli.output import DEGRADED, OK, Format, Output, Timeout, console, fail, run_async, say, show
from federation.model.errors import Unavailable
from federation.model.locality import Locality
from federation.runtime.atomic import write_atomic
from istiod.cli.client import DEFAULT, Istiods, ask_all
from istiod.cli.judge import format_age, format_left
from istiod.cli.proxy_config import config, state_text
from istiod.cli.status import state_of
from istiod.cli.why import why
from istiod.debug.report import IstiodReport, ProxyReport

app = typer.Typer(no_args_is_help=True, help="Sidecars and gateways.")
app.command("config")(config)
app.command("why")(why)
KINDS = ("clusters", "endpoints", "listeners", "routes", "secrets")


def _labels(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    return {key: value for key, _, value in pairs}


@app.command("bootstrap")
def bootstrap(
    name: Annotated[str, typer.Option(help="Name of the pod.")],
    namespace: Annotated[str, typer.Option(help="Its namespace.")],
    ip: Annotated[str, typer.Option(help="Its address.")],
    cluster: Annotated[str, typer.Option(help="Its cluster.")],
    network: Annotated[str, typer.Option(help="Its network.")],
    output: Annotated[Path, typer.Option(help="Where to write the bootstrap; the token's SDS file goes beside it.")],
    root_cert: Annotated[Path, typer.Option(help="Root that istiod's certificate is verified against.")],
    token_file: Annotated[Path, typer.Option(help="File with the service account token.")],
    xds_address: Annotated[str, typer.Option(help="istiod's TLS address.")] = "istiod.istio-system.svc:15012",
    service_account: Annotated[str, typer.Option(help="Its service account.")] = "default",
    type_: Annotated[str, typer.Option("--type", help="sidecar or router.")] = "sidecar",
    mesh: Annotated[str, typer.Option(help="Name of the mesh.")] = "mesh",
    trust_domain: Annotated[
        str, typer.Option(help="Trust domain of the cluster: istiod must have its identity in it.")
    ] = "",
    region: str = "",
    zone: str = "",
    labels: Annotated[str, typer.Option(help="k=v,…")] = "",
    admin_socket: Annotated[Path, typer.Option(help="Unix socket of Envoy's admin interface.")] = Path(
        "/tmp/envoy-admin.sock"
    ),
) -> None:
    """Write the bootstrap of an Envoy that talks to istiod without an agent.

      isthmus proxy bootstrap --name web-1 --namespace shop --ip 10.0.0.7 --cluster east --network net-east \\
        --xds-address 10.0.0.3:15012 --root-cert root.pem --token-file token --output envoy.json
    """
    host, _, port = xds_address.rpartition(":")
    proxy = ProxyBootstrap(
        type=type_, name=name, namespace=namespace, service_account=service_account, address=ip, cluster=cluster,
        network=network, mesh=mesh, xds_host=host, xds_port=int(port), server_name="istiod.istio-system.svc",
        server_identity=istiod_identity(trust_domain) if trust_domain else "",
        root_file=root_cert.absolute(), token_file=token_file.absolute(), directory=output.absolute().parent,
        admin_socket=admin_socket, locality=Locality(region, zone), labels=_labels(labels),
    )  # fmt: skip
    write_atomic(output, json.dumps(render_bootstrap(proxy), indent=1).encode(), 0o644)
    write_atomic(output.absolute().parent / TOKEN_SDS_FILE, json.dumps(render_token_sds(proxy)).encode(), 0o644)
    say(f"wrote {output}")


@app.command("status")
def status(
    istiod: Istiods = [DEFAULT],  # noqa: B006
    output: Output = Format.TABLE,
    timeout: Timeout = 10.0,
) -> None:
    """Show every connected proxy, type by type: synced, stale, or what it refused. Exit code 1 if one is not synced.

    Revisions are those of istiod's snapshots: acknowledged, and sent where that is newer.

      isthmus proxy status --istiod http://127.0.0.1:8080
      isthmus proxy status --istiod unix:/run/east/istiod.sock -o json
    """
    answers = run_async(ask_all(istiod, timeout), timeout + 5)
    silent = [answer for answer in answers.values() if isinstance(answer, Unavailable)]
    reports = [answer for answer in answers.values() if isinstance(answer, IstiodReport)]
    if not reports:
        fail(silent[0])
    found = [(proxy, report.cluster) for report in reports for proxy in report.proxies]
    columns = ("PROXY", "CLUSTER", "STATE", *(kind.upper() for kind in KINDS), "CONNECTED", "CERTIFICATE", "SEEN BY")
    show([{"seenBy": seen, "proxy": proxy} for proxy, seen in found], output, columns, [_row(*item) for item in found])
    for proxy, _ in found if output is Format.TABLE else ():
        for item in proxy.types:
            if item.refused:
                console.print(f"{proxy.id} refuses {item.type}: {item.refused}", markup=False, soft_wrap=True)
    for error in silent:
        say(str(error))
    wrong = silent or any(state_of(proxy) != "synced" for proxy, _ in found)
    raise typer.Exit(DEGRADED if wrong else OK)


def _row(proxy: ProxyReport, seen: str) -> tuple[object, ...]:
    types = {item.type: item for item in proxy.types}
    shown = (state_text(types[kind]) if kind in types else "-" for kind in KINDS)
    return (proxy.name, proxy.cluster, state_of(proxy), *shown, format_age(proxy.connected_seconds),
            format_left(proxy.certificate_seconds_left), seen)  # fmt: skip
