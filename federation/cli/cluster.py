"""`isthmus cluster …`: tokens, joining, listing and leaving."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from federation.authority import Authority, is_open
from federation.cli.output import (
    DEGRADED,
    OK,
    AuthorityDir,
    Format,
    Output,
    Timeout,
    console,
    fail,
    run_async,
    say,
    show,
)
from federation.founding import connect
from federation.join import JoinToken, TokenRecord, format_token, parse_token
from federation.joining import check_join
from federation.joining import join as join_mesh
from federation.keys import ClusterKey, Layout
from federation.leaving import LeaveProof
from federation.leaving import leave as leave_mesh
from federation.membership import member_store, membership
from federation.mesh_files import AuthorityFiles, ClusterFiles
from federation.model.errors import InvalidInput
from federation.schema import records_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Clusters of the mesh: join, list, leave.")
token_app = typer.Typer(no_args_is_help=True, help="Single-use tokens that let one cluster join.")
app.add_typer(token_app, name="token")
DEFAULT_DIR = Path("mesh")
VERSION = "0.1.0"
ClusterDir = Annotated[
    Path, typer.Option("--dir", envvar="ISTHMUS_CLUSTER_DIR", help="Directory of this cluster's membership.")
]


def parse_ttl(text: str) -> float:
    """Seconds of `15m`, `2h` or `90s`; raises BadParameter otherwise."""
    units = {"s": 1, "m": 60, "h": 3600}
    if text[-1:] in units and text[:-1].isdigit() and int(text[:-1]) > 0:
        return float(int(text[:-1]) * units[text[-1]])
    raise typer.BadParameter(f"{text!r} is no duration: use 90s, 15m or 2h")


@token_app.command("create")
def create(
    cluster: Annotated[str, typer.Option("--cluster", help="Name of the new cluster.")],
    network: Annotated[str, typer.Option("--network", help="Network of its workloads.")],
    region: Annotated[str, typer.Option("--region", help="Region it runs in.")] = "",
    trust_domain: Annotated[
        str, typer.Option(help="Trust domain of its identities; <cluster>.<mesh> unless given.")
    ] = "",
    ttl: Annotated[str, typer.Option(help="How long it can be used, at most 24h.")] = "15m",
    directory: AuthorityDir = DEFAULT_DIR,
    timeout: Timeout = 30.0,
) -> None:
    """Print a token that lets one cluster join once.

    isthmus cluster token create --cluster west --network net-west --region eu-west-1 --dir mesh
    """
    seconds = parse_ttl(ttl)
    if seconds > 86_400:
        raise typer.BadParameter("a token may live for 24h at most")
    token = run_async(_create(AuthorityFiles(directory), cluster, network, region, trust_domain, seconds), timeout)
    say(f"token {token.id} lets cluster {cluster} join once within {ttl}; whoever has it can use it")
    typer.echo(format_token(token))


async def _create(
    files: AuthorityFiles, cluster: str, network: str, region: str, trust_domain: str, ttl: float
) -> JoinToken:
    domain = trust_domain or f"{cluster}.{files.info().mesh}"
    async with connect(files) as etcd:
        return await Authority(files, etcd).create_token(cluster, network, region, domain, ttl)


@token_app.command("list")
def list_tokens(directory: AuthorityDir = DEFAULT_DIR, output: Output = Format.TABLE, timeout: Timeout = 30.0) -> None:
    """List tokens and what became of them.

    isthmus cluster token list --dir mesh
    """
    records = run_async(_tokens(AuthorityFiles(directory)), timeout)
    now = time.time()
    rows = [(r.id, r.cluster, r.network, r.region, _state(r, now), f"{max(0, r.expires - now):.0f}s") for r in records]
    show(records, output, ("TOKEN", "CLUSTER", "NETWORK", "REGION", "STATE", "LEFT"), rows)


def _state(record: TokenRecord, now: float) -> str:
    return record.state if is_open(record, now) or record.state != "open" else "expired"


async def _tokens(files: AuthorityFiles) -> list[TokenRecord]:
    async with connect(files) as etcd:
        return await Authority(files, etcd).tokens()


@token_app.command("revoke")
def revoke(token: str, directory: AuthorityDir = DEFAULT_DIR, timeout: Timeout = 30.0) -> None:
    """Make a token useless.

    isthmus cluster token revoke 3f9c2b7a11d0e4f2 --dir mesh
    """
    run_async(_revoke(AuthorityFiles(directory), token), timeout)
    say(f"token {token} is revoked")


async def _revoke(files: AuthorityFiles, token: str) -> None:
    async with connect(files) as etcd:
        await Authority(files, etcd).revoke_token(token)


@app.command("join")
def join(
    token: Annotated[
        str, typer.Option("--token", envvar="ISTHMUS_JOIN_TOKEN", help="The token, or @FILE that holds it.")
    ],
    directory: ClusterDir = Path("cluster"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check token, directory and store; use nothing up, change nothing.")
    ] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 120.0,
) -> None:
    """Join a mesh: make keys here, have them signed by the mesh's authority, keep the certificates in --dir.

    isthmus cluster join --token @west.token --dir west --dry-run
    isthmus cluster join --token @west.token --dir west
    """
    try:
        parsed = parse_token(Path(token[1:]).read_text() if token.startswith("@") else token)
    except (InvalidInput, OSError) as wrong:
        fail(wrong if isinstance(wrong, InvalidInput) else _unreadable(wrong))
        return
    if dry_run:
        run_async(check_join(parsed, ClusterFiles(directory)), timeout)
        say(f"cluster {parsed.cluster} could join mesh {parsed.mesh} now; the token is unused")
        return
    info = run_async(join_mesh(parsed, ClusterFiles(directory), VERSION), timeout)
    say(f"cluster {info.cluster} is a member of mesh {info.mesh}")
    rows = [(info.mesh, info.cluster, info.network, info.region, info.trust_domain, str(directory))]
    show(info, output, ("MESH", "CLUSTER", "NETWORK", "REGION", "TRUST DOMAIN", "FILES"), rows)


def _unreadable(error: OSError) -> InvalidInput:
    from federation.model.findings import Finding, Severity

    return InvalidInput([Finding(Severity.ERROR, "Unreadable", str(error.filename), "", str(error.strerror), "")])


@app.command("list")
def list_clusters(
    directory: ClusterDir = Path("cluster"), output: Output = Format.TABLE, timeout: Timeout = 30.0
) -> None:
    """List the clusters of the mesh, with the age of each one's heartbeat. Exit code 1 if one is late.

    isthmus cluster list --dir east
    """
    rows = run_async(_clusters(ClusterFiles(directory)), timeout)
    columns = ("CLUSTER", "NETWORK", "REGION", "TRUST DOMAIN", "STATE", "HEARTBEAT", "ISTIOD")
    show(rows, output, columns, [tuple(row.values()) for row in rows])
    late = any(row["state"] == "member" and row["heartbeatAge"] in ("never", "late") for row in rows)
    raise typer.Exit(1 if late else 0)


async def _clusters(files: ClusterFiles) -> list[dict[str, Any]]:
    info = files.info()
    layout = Layout(info.mesh)
    async with member_store(info, files) as etcd:
        clusters = await etcd.list_prefix(layout.clusters)
        exports = {kv.key: kv.value for kv in (await etcd.list_prefix(layout.exports)).kvs}
    rows = []
    for kv in clusters.kvs:
        key = layout.parse(kv.key)
        assert isinstance(key, ClusterKey)
        record = pb.Cluster.FromString(kv.value)
        beat = pb.Heartbeat.FromString(exports.get(f"{layout.owned_by(key.cluster)}heartbeat", b""))
        age = time.time() - beat.sent_unix_ms / 1000
        shown = "never" if not beat.generation else f"{age:.1f}s" if age < 5 else f"late ({age:.0f}s)"
        rows.append(
            {
                "cluster": record.name,
                "network": record.network,
                "region": record.region,
                "trustDomain": record.trust_domain,
                "state": record.state,
                "heartbeatAge": shown,
                "istiod": beat.istiod_version,
            }
        )
    return rows


@app.command("status")
def status(directory: ClusterDir = Path("cluster"), output: Output = Format.TABLE, timeout: Timeout = 15.0) -> None:
    """Show this cluster's membership: what it is in the mesh, its certificates' time, whether the store hears of it.

    Exit code 1 if it is no member any more, silent, or short of time.

    isthmus cluster status --dir east
    """
    found = run_async(membership(ClusterFiles(directory), time.time()), timeout)
    rows: list[tuple[str, object]] = [
        ("mesh", found.info.mesh),
        ("cluster", found.info.cluster),
        ("network", found.info.network),
        ("region", found.info.region or "-"),
        ("trust domain", found.info.trust_domain),
        ("state", found.state),
        ("heartbeat", "never" if found.heartbeat_age is None else f"{found.heartbeat_age:.1f}s ago"),
        ("exports", found.exports),
        ("intermediate CA", f"{found.ca_days_left:.1f} days left"),
        ("store certificate", f"{found.store_days_left:.1f} days left"),
        ("store", ", ".join(found.info.endpoints)),
    ]
    show(found, output, ("WHAT", "VALUE"), rows)
    for problem in found.problems:
        say(f"[red]problem[/] {problem}")
    raise typer.Exit(DEGRADED if found.problems else OK)


@app.command("leave")
def leave(
    cluster: Annotated[str, typer.Argument(help="The cluster that leaves.")],
    directory: AuthorityDir = DEFAULT_DIR,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, change nothing.")] = False,
    output: Output = Format.TABLE,
    timeout: Timeout = 60.0,
) -> None:
    """Take a cluster out of the mesh, and prove that nothing but its own records changed.

    isthmus cluster leave west --dir mesh --dry-run
    isthmus cluster leave west --dir mesh
    """
    proof: LeaveProof = run_async(_leave(AuthorityFiles(directory), cluster, dry_run), timeout)
    rows = [(change, key) for change, key in proof.changes]
    show(proof, output, ("CHANGE", "KEY"), rows)
    if output is Format.TABLE:
        verb = "would change" if dry_run else "changed"
        console.print(f"{len(proof.changes)} records of {cluster} {verb}; {len(proof.foreign)} of others")
    raise typer.Exit(1 if proof.foreign else 0)


async def _leave(files: AuthorityFiles, cluster: str, dry_run: bool) -> LeaveProof:
    async with connect(files) as etcd:
        return await leave_mesh(Authority(files, etcd), etcd, Layout(files.info().mesh), cluster, dry_run)
