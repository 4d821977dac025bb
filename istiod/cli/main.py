"""The whole `isthmus` command, composed of its parts."""

from __future__ import annotations

import typer

from federation.cli import cluster, mesh
from federation.cli.lab import app as lab_app
from istiod.cli import proxy, service, status
from istiod.cli.analyze import analyze
from istiod.cli.diff import diff

app = typer.Typer(
    name="isthmus",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="One mesh out of many clusters.",
)
app.command("init")(mesh.init)
app.command("status")(status.status)
app.command("analyze")(analyze)
app.command("diff")(diff)
app.add_typer(cluster.app, name="cluster")
app.add_typer(mesh.authority_app, name="authority")
app.add_typer(mesh.ca_app, name="ca")
app.add_typer(service.service_app, name="service")
app.add_typer(service.entry_app, name="entry")
app.add_typer(proxy.app, name="proxy")
app.add_typer(lab_app, name="lab")


def run() -> None:
    """Console script `isthmus`."""
    app()
