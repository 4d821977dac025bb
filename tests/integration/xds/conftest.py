"""A small mesh on loopback for real clients of our xDS: backends, configuration files, Envoys."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from federation.bootstrap import ProxyBootstrap, render_bootstrap
from federation.lab.ports import free_ports

STOP_SECONDS = 5.0
NOWHERE = Path("/nowhere")
ADMIN = "admin.sock"
WITHOUT_TLS = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
"""


class Mesh:
    """A directory of configuration in which every service is a host of `port`, with endpoints of loopback."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "config"
        self.directory.mkdir()
        self.mesh_config = directory / "mesh.yaml"
        self.mesh_config.write_text("enableAutoMtls: false\n")
        (self.port,) = free_ports(1)
        self.write("without-tls.yaml", WITHOUT_TLS)

    def write(self, name: str, text: str) -> None:
        """A whole file at once."""
        new = self.directory / f".{name}.new"
        new.write_text(text)
        new.rename(self.directory / name)

    def remove(self, name: str) -> None:
        """One file less."""
        (self.directory / name).unlink()

    def service(self, name: str, *ports: int, protocol: str = "HTTP") -> None:
        """A service `<name>.test` with endpoints at these ports."""
        endpoints = [{"address": "127.0.0.1", "ports": {"main": port}} for port in ports]
        self.write(
            f"{name}.yaml",
            f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: apps}}
spec:
  hosts: [{name}.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: {self.port}, name: main, protocol: {protocol}}}]
  endpoints: {json.dumps(endpoints)}
""",
        )

    def upstream(self, name: str) -> str:
        """What the upstream of a service is called."""
        return f"outbound|{self.port}||{name}.test"

    def rule(self, name: str, mark: str) -> None:
        """A VirtualService that marks answers of a service with a header."""
        self.write(
            f"{name}-rule.yaml",
            f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: apps}}
spec:
  hosts: [{name}.test]
  http:
  - headers: {{response: {{set: {{x-mark: {mark}}}}}}}
    route: [{{destination: {{host: {name}.test}}}}]
""",
        )

    def destination(self, name: str, connect_timeout: str, balancer: str = "LEAST_REQUEST") -> None:
        """A DestinationRule, which makes the upstream of a service another one."""
        self.write(
            f"{name}-destination.yaml",
            f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: apps}}
spec:
  host: {name}.test
  trafficPolicy:
    connectionPool: {{tcp: {{connectTimeout: {connect_timeout}}}}}
    loadBalancer: {{simple: {balancer}}}
""",
        )

    def listen(self) -> None:
        """Have sidecars listen on loopback for their application."""
        self.write(
            "listen.yaml",
            f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: apps}}
spec:
  egress:
  - port: {{number: {self.port}, protocol: HTTP, name: main}}
    bind: 127.0.0.1
    captureMode: NONE
    hosts: ["*/*"]
""",
        )


def plaintext_sidecar(directory: Path, xds_port: int, sotw: bool, **fields: Any) -> dict[str, Any]:
    """The bootstrap of a sidecar of ours (`fields` make it another proxy), but for plaintext and stats, which are all
    there.
    """
    health, stats = free_ports(2)
    who = {"type": "sidecar", "name": "client-1", "namespace": "apps", "service_account": "client", **fields}
    bootstrap = render_bootstrap(
        ProxyBootstrap(
            **who,
            address="127.0.0.9",  # not one of the endpoints
            cluster="c",
            network="n",
            mesh="mesh",
            xds_host="127.0.0.1",
            xds_port=xds_port,
            server_name="istiod",
            root_file=NOWHERE,
            token_file=NOWHERE / "token",
            directory=directory,
            admin_socket=directory / ADMIN,
            health_port=health,
            stats_port=stats,
            sotw=sotw,
        )
    )
    bootstrap.pop("stats_config")
    xds = bootstrap["static_resources"]["clusters"][0]
    del xds["transport_socket"]
    (options,) = xds["typed_extension_protocol_options"].values()
    del options["http_filters"]
    return bootstrap


class Envoy:
    """One Envoy with its files in a directory."""

    def __init__(self, directory: Path, bootstrap: dict[str, Any]) -> None:
        self._socket = directory / ADMIN
        self._process: subprocess.Popen[bytes] | None = None
        self._bootstrap = directory / "bootstrap.json"
        self._bootstrap.write_text(json.dumps(bootstrap))
        self.log = directory / "envoy.log"

    def start(self) -> None:
        """Start it. It needs nothing that only root may."""
        command = [str(Path(sys.executable).parent / "envoy"), "-c", str(self._bootstrap), "--concurrency", "1"]
        command += ["--disable-hot-restart", "--use-dynamic-base-id", "--log-level", "info"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    async def admin(self, path: str) -> Any:
        """An answer of the admin interface, parsed; None while there is no such interface."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-4000:]
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket))) as client,
                client.get(f"http://admin{path}") as answer,
            ):
                return json.loads(await answer.text())
        except (OSError, aiohttp.ClientError):
            return None

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges by name."""
        found = await self.admin(f"/stats?format=json&filter={pattern}")
        return {item["name"]: item["value"] for item in (found or {"stats": []})["stats"] if "value" in item}

    async def hosts(self, upstream: str) -> set[int] | None:
        """The ports of an upstream's hosts; None if there is no such upstream."""
        found = await self.admin("/clusters?format=json")
        for cluster in (found or {}).get("cluster_statuses", ()):
            if cluster["name"] == upstream:
                hosts = cluster.get("host_statuses", ())
                return {host["address"]["socket_address"]["port_value"] for host in hosts}
        return None

    async def refused(self) -> dict[str, int]:
        """The counters of refused updates that are not zero."""
        return {name: value for name, value in (await self.stats("update_rejected$")).items() if value}

    async def settled(self) -> bool:
        """Whether nothing of it warms."""
        gauges = await self.stats("warming_clusters$|total_listeners_warming$")
        return gauges == {"cluster_manager.warming_clusters": 0, "listener_manager.total_listeners_warming": 0}

    async def get(self, port: int, host: str) -> tuple[int, str, str]:
        """One request through it: status, body, and the mark of a rule. Status 0 if nobody listens."""
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"http://127.0.0.1:{port}/", headers={"host": host}) as answer,
            ):
                return answer.status, await answer.text(), answer.headers.get("x-mark", "")
        except (OSError, aiohttp.ClientError):
            return 0, "", ""


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    """Configuration without services."""
    return Mesh(tmp_path)


@pytest.fixture(params=["delta", "sotw"])
def variant(request: pytest.FixtureRequest) -> str:
    """Both variants of the protocol, one after the other."""
    return str(request.param)


@pytest.fixture
def run_envoy() -> Iterator[Callable[[Callable[[Path], dict[str, Any]]], Envoy]]:
    """Starts Envoys, each with what a function makes of its directory; stops them. The paths are short: sockets."""
    started: list[tuple[Envoy, Path]] = []

    def start(bootstrap: Callable[[Path], dict[str, Any]]) -> Envoy:
        directory = Path(tempfile.mkdtemp(prefix="isthmus-envoy-"))
        made = Envoy(directory, bootstrap(directory))
        started.append((made, directory))
        made.start()
        return made

    yield start
    for one, directory in started:
        one.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def envoy(variant: str, run_envoy: Callable[[Callable[[Path], dict[str, Any]]], Envoy]) -> Callable[[int], Envoy]:
    """Starts sidecars that follow the control plane at a port in plaintext."""
    return lambda xds_port: run_envoy(lambda directory: plaintext_sidecar(directory, xds_port, variant == "sotw"))


@pytest.fixture
async def backends() -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """Starts HTTP servers that answer with their name; each gives its port."""
    runners: list[web.AppRunner] = []

    async def start(name: str) -> int:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=name)

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        runners.append(runner)
        (port,) = free_ports(1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return port

    yield start
    for runner in runners:
        await runner.cleanup()
