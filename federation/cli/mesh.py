"""`isthmus init`, `isthmus authority …` and `isthmus ca …`: the mesh's own root and store."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from federation.authority import Authority
from federation.cli.output import AuthorityDir, Format, Output, Timeout, run_async, say, show
from federation.founding import connect, init_files, init_store
from federation.join import JoinAnswer
from federation.mesh_files import AuthorityFiles, MeshInfo
from federation.model.errors import Unavailable
from federation.pki.bundle import fingerprint
from federation.pki.chain import read_certificates

authority_app = typer.Typer(no_args_is_help=True, help="Answer the join requests of new clusters.")
ca_app = typer.Typer(no_args_is_help=True, help="Certificate authorities of the mesh.")
DEFAULT_DIR = Path("mesh")


def init(
    mesh: Annotated[str, typer.Option("--mesh", help="Name of the mesh.")],
    etcd: Annotated[
        str, typer.Option("--etcd", help="Endpoints of the store that all clusters can reach, host:port,…")
    ],
    directory: AuthorityDir = DEFAULT_DIR,
    etcd_server: Annotated[
        list[str] | None, typer.Option(help="Names and addresses of the store's certificate.")
    ] = None,
    files_only: Annotated[bool, typer.Option("--files-only", help="Make certificates, leave the store alone.")] = False,
    timeout: Timeout = 30.0,
) -> None:
    """Make a mesh: its root CA, the store's certificates, and the store's users. May be repeated.

    The store is an etcd that is started with the certificates made here; the command waits for it:

      isthmus init --mesh demo --dir mesh --etcd 10.0.0.5:2379 --etcd-server 10.0.0.5 --files-only
      etcd --cert-file mesh/etcd/server.pem --key-file mesh/etcd/server-key.pem \\
           --client-cert-auth --trusted-ca-file mesh/root/root-cert.pem …
      isthmus init --mesh demo --dir mesh --etcd 10.0.0.5:2379
    """
    files = AuthorityFiles(directory)
    endpoints = tuple(part for part in etcd.split(",") if part)
    names = list(etcd_server or [endpoint.rpartition(":")[0] for endpoint in endpoints])
    run_async(_init(files, MeshInfo(mesh, endpoints), names, files_only, timeout), timeout + 1)


async def _init(files: AuthorityFiles, info: MeshInfo, names: list[str], files_only: bool, timeout: float) -> None:
    if init_files(files, info, names):
        say(f"made the root CA and the store's certificates in {files.directory}")
    if files_only:
        return
    deadline = time.monotonic() + timeout
    while True:
        try:
            async with connect(files) as etcd:
                made = await init_store(etcd, info.mesh)
            break
        except Unavailable:
            if time.monotonic() > deadline - 1:
                raise
            await asyncio.sleep(0.1)
    how = "ready" if made else "ready, as before"
    say(f"mesh {info.mesh} is {how}: authentication is on, {info.endpoints[0]} answers")


@authority_app.command("serve")
def serve(directory: AuthorityDir = DEFAULT_DIR) -> None:
    """Answer every valid join request until interrupted.

    isthmus authority serve --dir mesh
    """
    run_async(_serve(AuthorityFiles(directory)), 10 * 365 * 86_400)


async def _serve(files: AuthorityFiles) -> None:
    async with connect(files) as etcd:
        say("answering join requests")
        await Authority(files, etcd).serve(_report)


def _report(token: str, answer: JoinAnswer) -> None:
    say(f"{token}: {'admitted' if answer.accepted else 'refused'}")
    for path, message, fix in answer.problems:
        say(f"  {path} {message}; {fix}")


@authority_app.command("approve")
def approve(
    token: Annotated[str, typer.Argument(help="Id of the token whose request is to be answered.")],
    directory: AuthorityDir = DEFAULT_DIR,
    timeout: Timeout = 30.0,
) -> None:
    """Answer one join request by hand.

    isthmus authority approve 3f9c2b7a11d0e4f2 --dir mesh
    """
    answer = run_async(_approve(AuthorityFiles(directory), token), timeout)
    _report(token, answer)
    raise typer.Exit(0 if answer.accepted else 1)


async def _approve(files: AuthorityFiles, token: str) -> JoinAnswer:
    async with connect(files) as etcd:
        return await Authority(files, etcd).answer(token)


@ca_app.command("show")
def show_ca(
    path: Annotated[Path, typer.Argument(help="A directory with CA files, or a PEM file.")] = DEFAULT_DIR / "root",
    output: Output = Format.TABLE,
) -> None:
    """Show certificates: who, by whom, until when, and for which names.

    isthmus ca show mesh/root
    isthmus ca show east/ca -o json
    """
    files = [path] if path.is_file() else sorted(path.glob("*.pem"))
    rows = []
    for file in files:
        if "key" in file.name:
            continue
        for certificate in read_certificates(file.read_bytes()):
            left = certificate.not_valid_after_utc - datetime.now(UTC)
            rows.append(
                {
                    "file": file.name,
                    "subject": certificate.subject.rfc4514_string(),
                    "issuer": certificate.issuer.rfc4514_string(),
                    "daysLeft": left.days,
                    "fingerprint": fingerprint(file.read_bytes())[:16],
                }
            )
    columns = ("FILE", "SUBJECT", "ISSUER", "DAYS LEFT", "FINGERPRINT")
    show(rows, output, columns, [tuple(row.values()) for row in rows])
