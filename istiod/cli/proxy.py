"""`isthmus proxy …`: bootstraps, and what connected proxies have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from federation.bootstrap import TOKEN_SDS_FILE, ProxyBootstrap, render_bootstrap, render_token_sds
from federation.cli.output import say
from federation.model.locality import Locality
from federation.runtime.atomic import write_atomic

app = typer.Typer(no_args_is_help=True, help="Sidecars and gateways.")


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
        root_file=root_cert.absolute(), token_file=token_file.absolute(), directory=output.absolute().parent,
        admin_socket=admin_socket, locality=Locality(region, zone), labels=_labels(labels),
    )  # fmt: skip
    write_atomic(output, json.dumps(render_bootstrap(proxy), indent=1).encode(), 0o644)
    write_atomic(output.absolute().parent / TOKEN_SDS_FILE, json.dumps(render_token_sds(proxy)).encode(), 0o644)
    say(f"wrote {output}")
