"""Composition root of the control plane: settings -> services -> supervise. No logic of its own."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import grpc
import structlog
import typer
from aiohttp import web

from federation.bootstrap import istiod_identity
from federation.etcd import Etcd, Options
from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.runtime import log as logs
from federation.runtime.address import parse_address
from federation.runtime.console import run_console
from federation.runtime.http import serve, serve_unix
from federation.runtime.ready import Readiness
from federation.runtime.supervise import Service, supervise
from istiod.api.kinds import Kind
from istiod.ca.authn import Authenticator
from istiod.ca.authority_files import AuthorityFiles
from istiod.ca.credentials import CredentialProvider
from istiod.ca.secrets import SecretProvider
from istiod.ca.server import CertificateService, ServerTls
from istiod.debug.http import Query, View, debug_app, metrics_app
from istiod.debug.status import StatusSource
from istiod.debug.views import gateway_api_view
from istiod.events import MESH_KEY, Upsert
from istiod.federate import Federation, keep_ledger, load_ledger
from istiod.ingest import Ingest, names_view, registry_view
from istiod.pipeline import Pipeline
from istiod.registry.contribution import Place
from istiod.settings import (
    EtcdSettings,
    Settings,
    UnixAddress,
    own_mesh_config,
    parse_http_addresses,
    with_own_mesh,
)
from istiod.snapshot import SnapshotBuilder
from istiod.sources.files import FilesSource
from istiod.sources.keysets import KeySets
from istiod.xds.server import OPTIONS, AdsServer

log = structlog.get_logger("istiod")
app = typer.Typer(add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
VERSION = "0.1.0"


def _env(name: str) -> str:
    return f"ISTHMUS_{name}"


@app.callback()
def _root() -> None:
    """The control plane of one cluster."""


@app.command("run")
def run_command(
    cluster: Annotated[str, typer.Option("--cluster", envvar=_env("CLUSTER"), help="Name of this cluster.")],
    network: Annotated[str, typer.Option("--network", envvar=_env("NETWORK"), help="Network its workloads share.")],
    config_dir: Annotated[
        Path | None, typer.Option(envvar=_env("CONFIG_DIR"), help="Directory of YAML objects, followed live.")
    ] = None,
    mesh_config: Annotated[
        Path | None, typer.Option(envvar=_env("MESH_CONFIG"), help="File with a MeshConfig.")
    ] = None,
    mesh_networks: Annotated[
        Path | None, typer.Option(envvar=_env("MESH_NETWORKS"), help="File with MeshNetworks.")
    ] = None,
    mesh: Annotated[str, typer.Option(envvar=_env("MESH"), help="Name of the mesh.")] = "mesh",
    defaults: Annotated[
        str, typer.Option(envvar=_env("DEFAULTS"), help="resilient or istio: what applies where objects are silent.")
    ] = "resilient",
    xds_address: Annotated[
        str, typer.Option(envvar=_env("XDS_ADDRESS"), help="Plaintext xDS: configuration only, never certificates.")
    ] = "127.0.0.1:15010",
    secure_xds_address: Annotated[
        str, typer.Option(envvar=_env("SECURE_XDS_ADDRESS"), help="xDS and CSR over TLS; off without a CA.")
    ] = "off",
    http_address: Annotated[
        str,
        typer.Option(
            envvar=_env("HTTP_ADDRESS"),
            help="Health and debug views; host:port, or unix:/path for this user alone; several with commas.",
        ),
    ] = "127.0.0.1:8080",
    metrics_address: Annotated[
        str, typer.Option(envvar=_env("METRICS_ADDRESS"), help="Prometheus metrics.")
    ] = "127.0.0.1:15014",
    state: Annotated[Path | None, typer.Option(envvar=_env("STATE"), help="Directory that outlives restarts.")] = None,
    ca_dir: Annotated[
        Path | None, typer.Option(envvar=_env("CA_DIR"), help="CA files as Istio names them (ca-cert.pem, …).")
    ] = None,
    trust_domain: Annotated[
        str, typer.Option(envvar=_env("TRUST_DOMAIN"), help="Trust domain of this cluster's identities.")
    ] = "cluster.local",
    workload_token_key: Annotated[
        Path | None, typer.Option(envvar=_env("WORKLOAD_TOKEN_KEY"), help="Public key of workload tokens.")
    ] = None,
    server_name: Annotated[
        list[str] | None, typer.Option(envvar=_env("SERVER_NAME"), help="More names of this server's certificate.")
    ] = None,
    workload_ttl: Annotated[
        float, typer.Option(envvar=_env("WORKLOAD_TTL"), help="Lifetime of workload certificates, seconds.")
    ] = 86_400.0,
    key_refresh: Annotated[
        float, typer.Option(envvar=_env("KEY_REFRESH"), help="How often token issuers are asked for keys, seconds.")
    ] = 1200.0,
    etcd: Annotated[str, typer.Option(envvar=_env("ETCD"), help="Endpoints of the shared store, host:port,…")] = "",
    etcd_ca: Annotated[Path | None, typer.Option(envvar=_env("ETCD_CA"))] = None,
    etcd_cert: Annotated[Path | None, typer.Option(envvar=_env("ETCD_CERT"))] = None,
    etcd_key: Annotated[Path | None, typer.Option(envvar=_env("ETCD_KEY"))] = None,
    log_level: Annotated[str, typer.Option(envvar=_env("LOG_LEVEL"), help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve configuration (and certificates) to this cluster's proxies until SIGTERM."""
    logs.configure(log_level)
    if config_dir is None and (mesh_config or mesh_networks):
        message = "is followed together with the objects' directory"
        fix = "give --config-dir too"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidFlag", "--mesh-config", "", message, fix)])
    settings = Settings(
        cluster=cluster,
        network=network,
        mesh=mesh,
        config_dir=config_dir,
        mesh_config=mesh_config,
        mesh_networks=mesh_networks,
        defaults=defaults,
        xds=parse_address(xds_address, "--xds-address"),
        secure_xds=parse_address(secure_xds_address, "--secure-xds-address"),
        http=parse_http_addresses(http_address, "--http-address"),
        metrics=parse_address(metrics_address, "--metrics-address"),
        state=state,
        ca_dir=ca_dir,
        trust_domain=trust_domain,
        workload_token_key=workload_token_key,
        server_names=tuple(server_name or ()),
        etcd=EtcdSettings(tuple(part for part in etcd.split(",") if part), etcd_ca, etcd_cert, etcd_key),
        workload_ttl=workload_ttl,
        key_refresh=key_refresh,
    )
    _with_uvloop(_serve(settings))


def _with_uvloop(main: Any) -> None:
    import uvloop

    uvloop.run(main)


async def _serve(settings: Settings) -> None:
    readiness = Readiness()
    place = Place(settings.cluster, settings.network, settings.domain)
    builder = SnapshotBuilder(place, load_ledger(settings.state))
    sources = (["files"] if settings.config_dir else []) + (["federation"] if settings.etcd.endpoints else [])
    ingest = Ingest(builder, sources, readiness)
    ingest.emit([Upsert(Kind.MESH_CONFIG, MESH_KEY, own_mesh_config(None, settings))])
    pipeline = Pipeline(ingest.snapshots)
    key_sets = KeySets(ingest.snapshots, ingest.emit, settings.key_refresh)
    authenticator = Authenticator(settings.workload_token_key, settings.cluster, settings.trust_domain)
    authority = AuthorityFiles(_ca_directory(settings), settings.trust_domain, timedelta(seconds=settings.workload_ttl))
    secrets = SecretProvider(authority.issuers)
    credentials = CredentialProvider(ingest.snapshots)
    ads = AdsServer(pipeline, authenticator.authorize, secrets.serve, credentials.serve)
    csr = CertificateService(authority.issuers, authenticator)
    views = _views(ingest, pipeline)
    source = StatusSource(settings, VERSION, readiness, ingest, pipeline, authority, views)
    views |= {"status": source.status, "findings": source.findings, "analysis": source.analysis}
    services = [
        Service("ingest", ingest.run, essential=True),
        Service("pipeline", pipeline.run, essential=True),
        Service("findings", source.log_findings),
        Service("keysets", key_sets.run),
        Service("http", _http(settings, readiness, views, source), essential=True),
    ]
    if settings.config_dir:
        files = FilesSource(settings.config_dir, settings.mesh_config, settings.mesh_networks, settings.defaults)
        services.append(
            Service("files", lambda: files.run(lambda events: ingest.emit(with_own_mesh(events, settings))))
        )
    if settings.xds:
        services.append(
            Service(
                "xds",
                _grpc(str(settings.xds), None, key_sets, [ads.handlers(secure=False), csr.handlers(secure=False)]),
            )
        )
    if settings.secure_xds:
        if settings.ca_dir is None:
            authority.ensure(settings.cluster)
        tls = ServerTls(authority.issuers, _server_names(settings))
        services.append(Service("ca", authority.run))
        services.append(Service("credentials", credentials.run))
        services.append(
            Service(
                "secure-xds",
                _grpc(str(settings.secure_xds), tls, key_sets, [ads.handlers(secure=True), csr.handlers(secure=True)]),
            )
        )
    if settings.state:
        state = settings.state
        services.append(Service("ledger", lambda: keep_ledger(state, builder, ingest)))
    if not settings.etcd.endpoints:
        await supervise(services)
        return
    etcd = settings.etcd
    async with Etcd(Options(etcd.endpoints, etcd.ca, etcd.cert, etcd.key)) as store:
        federation = Federation(settings, store, ingest, VERSION)
        views["federation"] = federation.view
        await supervise([*services, *federation.services()])


def _ca_directory(settings: Settings) -> Path:
    return settings.ca_dir or (settings.state or Path("/var/lib/isthmus")) / "ca"


def _server_names(settings: Settings) -> tuple[str, ...]:
    host = settings.secure_xds.host if settings.secure_xds else ""
    own = (
        "istiod.istio-system.svc",
        "istiod.istio-system.svc.cluster.local",
        "istio-pilot.istio-system.svc",
        "localhost",
    )
    identity = istiod_identity(settings.trust_domain)
    return tuple(
        dict.fromkeys((*own, identity, *settings.server_names, *((host,) if host and host != "0.0.0.0" else ())))
    )


def _grpc(address: str, tls: ServerTls | None, key_sets: KeySets, handlers: list[Any]) -> Callable[[], Awaitable[None]]:
    """A gRPC listener that opens when there is something to serve."""

    async def run() -> None:
        await key_sets.first_answers()
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers(tuple(handlers))
        if tls is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, await tls.credentials())
        await server.start()
        log.info("listening", address=address, tls=tls is not None)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 50)
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop(0.5)

    return run


def _views(ingest: Ingest, pipeline: Pipeline) -> dict[str, View]:
    return {
        "registryz": lambda: registry_view(ingest.snapshots.peek()),
        "names": lambda: names_view(ingest.snapshots.peek()),
        "gateway-api": lambda: gateway_api_view(ingest.snapshots.peek()),
        "syncz": lambda: [stream.status(time.monotonic(), time.time()) for stream in pipeline.streams],
    }


def _http(
    settings: Settings, readiness: Readiness, views: dict[str, View], source: StatusSource
) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        runners = []

        def app() -> web.Application:
            queries: dict[str, Query] = {"config": source.config, "why": source.why}
            return debug_app(readiness, views, queries, {"diff": source.diff})

        for address in settings.http:
            if isinstance(address, UnixAddress):
                runners.append(await serve_unix(app(), address.path))
            else:
                runners.append(await serve(app(), address.host, address.port))
        if settings.metrics:
            runners.append(await serve(metrics_app(), settings.metrics.host, settings.metrics.port))
        try:
            await asyncio.Event().wait()
        finally:
            for runner in runners:
                await runner.cleanup()
            for address in settings.http:
                if isinstance(address, UnixAddress):
                    address.path.unlink(missing_ok=True)

    return run


def run() -> None:
    """Console script `istiod`."""
    run_console(app, "istiod")
