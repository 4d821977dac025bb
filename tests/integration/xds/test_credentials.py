"""`credentialName` with real Envoys: Secrets reach gateways (and chosen sidecars) over their own TLS stream, change
without a dropped connection, and are missed by one server only.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from federation.bootstrap import TOKEN_SDS_FILE, ProxyBootstrap, render_bootstrap, render_token_sds
from federation.lab.ports import free_ports
from federation.pki.keys import generate_key
from federation.pki.token import TokenIdentity, issue_token

PATIENCE = 8.0
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: edge}
spec:
  selector: {istio: ingress}
  servers:
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: apps}
spec:
  hosts: ["*"]
  gateways: [edge/gw]
  http: [{route: [{destination: {host: a.test}}]}]
"""


class Connection:
    """One TLS connection of a client."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name, self._reader, self._writer = name, reader, writer

    @property
    def leaf(self) -> int:
        """The serial number of the certificate that the server showed."""
        return x509.load_der_x509_certificate(self._writer.get_extra_info("ssl_object").getpeercert(True)).serial_number

    async def get(self) -> tuple[int, str]:
        """One request of a connection that stays open."""
        self._writer.write(f"GET / HTTP/1.1\r\nhost: {self._name}\r\n\r\n".encode())
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode()
        length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:"))
        return int(head.split(" ")[1]), (await self._reader.readexactly(length)).decode()

    def close(self) -> None:
        self._writer.close()


def serial(credential: Any) -> int:
    return x509.load_pem_x509_certificate(credential.chain.encode()).serial_number


class Scene:
    """A control plane with TLS, a gateway at `port`, and a service `a.test` behind it."""

    def __init__(self, mesh: Any, plane: Any, proxy: Any, port: int, directory: Path, eventually: Any) -> None:
        self.mesh, self.plane, self.proxy, self.port = mesh, plane, proxy, port
        self._directory, self.eventually = directory, eventually

    def servers(self, *servers: tuple[str, str]) -> None:
        """The gateway's servers: host and TLS settings of each, all on one port."""
        port = f"port: {{number: {self.port}, name: %s, protocol: HTTPS}}"
        lines = [f"  - {{{port % f'https-{n}'}, hosts: [{host}], tls: {tls}}}" for n, (host, tls) in enumerate(servers)]
        self.mesh.write("gateway.yaml", GATEWAY + "\n".join(lines))

    async def connect(self, name: str, trusted: Any, client: Any = None) -> Connection:
        """A verified connection; raises OSError (which ssl.SSLError is) or EOFError where there is none."""
        context = ssl.create_default_context(cadata=trusted.roots)
        if client is not None:
            chain, key = self._directory / "client.pem", self._directory / "client.key"
            chain.write_text(client.chain)
            key.write_text(client.key)
            context.load_cert_chain(chain, key)
        connecting = asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)
        return Connection(name, *await asyncio.wait_for(connecting, PATIENCE))

    async def answer(self, name: str, trusted: Any, client: Any = None) -> int:
        """The status of one request, or 0."""
        try:
            connection = await self.connect(name, trusted, client)
            status, _ = await connection.get()
        except (OSError, EOFError):
            return 0
        connection.close()
        return status

    async def answers(self, name: str, trusted: Any, client: Any = None, status: int = 200) -> None:
        """Wait for a status."""

        async def check() -> bool:
            return await self.answer(name, trusted, client) == status

        await self.eventually(check, PATIENCE, f"{name} answers {status}")

    async def finding(self, code: str) -> dict[str, Any] | None:
        """The finding of a code, if there is one."""
        found = await self.plane.view("findings")
        return next((one for one in found if one["code"] == code), None)

    async def secrets(self) -> set[str]:
        """The names of the secrets that the proxy is to have."""
        report = await self.plane.view("config", proxy="proxy-1", type="secrets")
        return {one["name"] for one in report.get("resources", {}).get("secrets", ())}

    async def nothing_refused(self) -> None:
        assert await self.proxy.refused() == {}
        for kind in ("cds", "eds", "lds", "rds", "sds"):
            assert await self.plane.metric("pilot_total_xds_rejects_total", type=kind) == 0


class Fleet:
    """Starts proxies that connect with TLS and a token."""

    def __init__(self, run_envoy: Any, plane: Any, secure_port: int, roots: Path, sotw: bool, key: Any) -> None:
        self._run, self._plane, self._port, self._roots = run_envoy, plane, secure_port, roots
        self._sotw, self._key = sotw, key

    def start(self, kind: str, namespace: str, labels: dict[str, str]) -> Any:
        """A gateway or sidecar."""

        def bootstrap(directory: Path) -> dict[str, Any]:
            tokens = directory / "tokens"
            tokens.mkdir()
            identity = TokenIdentity(namespace, "proxy", "c", time.time() + 600)
            (tokens / "token").write_text(issue_token(self._key, identity))
            health, stats = free_ports(2)
            proxy = ProxyBootstrap(
                type=kind, name="proxy-1", namespace=namespace, service_account="proxy", address="127.0.0.9",
                cluster="c", network="n", mesh="mesh", xds_host="127.0.0.1", xds_port=self._port,
                server_name="istiod.istio-system.svc", root_file=self._roots, token_file=tokens / "token",
                directory=directory, admin_socket=directory / "admin.sock", labels=labels, health_port=health,
                stats_port=stats, sotw=self._sotw,
            )  # fmt: skip
            (directory / TOKEN_SDS_FILE).write_text(json.dumps(render_token_sds(proxy)))
            rendered = render_bootstrap(proxy)
            rendered.pop("stats_config")
            return rendered

        return self._run(bootstrap)


@pytest.fixture
async def fleet(mesh: Any, istiod: Any, run_envoy: Any, variant: str, tmp_path: Path) -> tuple[Any, Fleet]:
    """A control plane that serves TLS with a CA of its own, and proxies for it."""
    token_key = generate_key()
    public, form = tmp_path / "tokens.pub", serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(token_key.public_key().public_bytes(serialization.Encoding.PEM, form))
    (port,) = free_ports(1)
    plane = await istiod(
        mesh.directory, mesh_config=str(mesh.mesh_config), state=str(tmp_path / "state"),
        secure_xds_address=f"127.0.0.1:{port}", workload_token_key=str(public),
    )  # fmt: skip
    roots = tmp_path / "state" / "ca" / "root-cert.pem"
    return plane, Fleet(run_envoy, plane, port, roots, variant == "sotw", token_key)


@pytest.fixture
async def scene(mesh: Any, fleet: Any, backends: Any, eventually: Any, tmp_path: Path) -> Scene:
    mesh.service("a", await backends("one"))
    mesh.write("routes.yaml", ROUTES)
    plane, proxies = fleet
    (port,) = free_ports(1)
    proxy = proxies.start("router", "edge", {"istio": "ingress"})
    return Scene(mesh, plane, proxy, port, tmp_path, eventually)


async def test_a_certificate_is_served_and_rotated_under_open_connections(
    scene: Scene, credential: Callable[..., Any]
) -> None:
    first, second = credential("one.test"), credential("one.test")
    scene.mesh.write("secret.yaml", first.secret("web", "edge"))
    scene.servers(("one.test", "{mode: SIMPLE, credentialName: web}"))
    await scene.answers("one.test", first)
    open_before = await scene.connect("one.test", first)
    assert open_before.leaf == serial(first)
    assert await open_before.get() == (200, "one")

    scene.mesh.write("secret.yaml", second.secret("web", "edge"))
    await scene.answers("one.test", second)
    assert await scene.answer("one.test", first) == 0
    assert await open_before.get() == (200, "one")
    open_before.close()

    third = credential("one.test", issuer=second.issuer)
    scene.mesh.write("secret.yaml", third.secret("web", "edge", "tls.crt"))  # no key: not usable
    await scene.eventually(lambda: scene.finding("CredentialMissing"), PATIENCE, "the broken Secret is said")
    assert (await scene.connect("one.test", second)).leaf == serial(second)
    scene.mesh.write("secret.yaml", third.secret("web", "edge"))

    async def rotated() -> bool:
        return (await scene.connect("one.test", second)).leaf == serial(third)

    await scene.eventually(rotated, PATIENCE, "the third certificate is shown")
    assert await scene.finding("CredentialMissing") is None
    await scene.nothing_refused()


@pytest.mark.parametrize("apart", [False, True], ids=["in one Secret", "in a Secret of its own"])
async def test_client_certificates_are_verified(scene: Scene, credential: Callable[..., Any], apart: bool) -> None:
    server, clients = credential("one.test", "two.test"), credential("client.test")
    strangers = credential("client.test")
    if apart:
        scene.mesh.write("secret.yaml", server.secret("web", "edge", "cert", "key", kind="Opaque"))
        scene.mesh.write("ca.yaml", clients.secret("web-cacert", "edge", "cacert", kind="Opaque"))
    else:
        text = json.loads(server.secret("web", "edge"))
        text["stringData"]["ca.crt"] = clients.roots
        scene.mesh.write("secret.yaml", json.dumps(text))
    scene.servers(
        ("one.test", "{mode: MUTUAL, credentialName: web}"),
        ("two.test", "{mode: OPTIONAL_MUTUAL, credentialName: web}"),
    )
    await scene.answers("one.test", server, clients)
    assert await scene.answer("one.test", server) == 0
    assert await scene.answer("one.test", server, strangers) == 0
    await scene.answers("two.test", server)
    assert await scene.answer("two.test", server, clients) == 200
    assert await scene.answer("two.test", server, strangers) == 0
    await scene.nothing_refused()


async def test_a_missing_secret_costs_its_own_server_only(scene: Scene, credential: Callable[..., Any]) -> None:
    one, two = credential("one.test"), credential("two.test")
    scene.mesh.write("one.yaml", one.secret("one", "edge"))
    scene.servers(
        ("one.test", "{mode: SIMPLE, credentialName: one}"), ("two.test", "{mode: SIMPLE, credentialName: two}")
    )
    await scene.answers("one.test", one)
    assert await scene.answer("two.test", two) == 0
    found = await scene.finding("CredentialMissing")
    assert found is not None
    assert (found["object"], found["path"]) == ("Gateway edge/gw", "spec.servers[1].tls.credentialName")
    assert "Secret edge/two" in found["message"]
    scene.mesh.write("two.yaml", two.secret("two", "edge"))
    await scene.answers("two.test", two)
    await scene.answers("one.test", one)
    assert await scene.finding("CredentialMissing") is None
    await scene.nothing_refused()


async def test_the_secret_of_another_namespace_is_refused(scene: Scene, credential: Callable[..., Any]) -> None:
    one, theirs = credential("one.test"), credential("two.test")
    scene.mesh.write("one.yaml", one.secret("one", "edge"))
    scene.mesh.write("theirs.yaml", theirs.secret("theirs", "apps"))
    scene.servers(
        ("one.test", "{mode: SIMPLE, credentialName: one}"),
        ("two.test", "{mode: SIMPLE, credentialName: 'kubernetes://apps/theirs'}"),
        ("three.test", "{mode: SIMPLE, credentialName: 'kubernetes-gateway://apps/theirs'}"),
    )
    await scene.answers("one.test", one)
    assert await scene.answer("two.test", theirs) == 0
    found = await scene.finding("CredentialMissing")
    assert found is not None
    assert "is not for proxies of namespace edge" in found["message"]
    assert await scene.secrets() == {"kubernetes://one"}
    await scene.nothing_refused()


async def test_no_key_is_in_any_view_or_log(scene: Scene, credential: Callable[..., Any]) -> None:
    one = credential("one.test", age=timedelta(days=2))
    scene.mesh.write("one.yaml", one.secret("one", "edge"))
    scene.servers(("one.test", "{mode: SIMPLE, credentialName: one}"))

    async def served() -> bool:
        return "kubernetes://one" in await scene.secrets()

    await scene.eventually(served, PATIENCE, "the Secret is served")
    assert await scene.finding("CredentialExpired") is not None
    shown = [json.dumps(await scene.plane.view(name)) for name in ("status", "findings", "syncz", "registryz")]
    shown += [json.dumps(await scene.plane.view("config", proxy="proxy-1")), scene.plane.log.read_text()]
    middle = one.key.splitlines()[2]
    assert not any(middle in text or "PRIVATE KEY" in text for text in shown)


@pytest.fixture
async def tls_backend(credential: Callable[..., Any], tmp_path: Path) -> AsyncIterator[tuple[int, Any, Any]]:
    """An HTTPS server at a port that wants client certificates of a CA, its own certificate, and a client's."""
    server, client = credential("ext.test"), credential("client.test")
    for name, text in (("s.pem", server.chain), ("s.key", server.key), ("ca.pem", client.roots)):
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "s.pem", tmp_path / "s.key")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        return web.Response(text=dict(part[0] for part in subject)["commonName"])

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    yield port, server, client
    await runner.cleanup()


EXTERNAL = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: apps}
spec:
  hosts: [ext.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: %d, name: main, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {main: %d}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ext, namespace: apps}
spec:
  host: ext.test
  %s
  trafficPolicy: {tls: {mode: MUTUAL, credentialName: client, sni: ext.test, subjectAltNames: [ext.test]}}
"""


def client_secret(server: Any, client: Any, namespace: str) -> str:
    """What the client shows, and whom it trusts."""
    text = json.loads(client.secret("client", namespace))
    text["stringData"]["ca.crt"] = server.roots
    return json.dumps(text)


async def test_an_egress_gateway_shows_a_client_certificate(scene: Scene, tls_backend: tuple[int, Any, Any]) -> None:
    port, server, client = tls_backend
    scene.mesh.write("ext.yaml", EXTERNAL % (scene.mesh.port, port, ""))
    scene.mesh.write(
        "gateway.yaml", GATEWAY + f"  - {{port: {{number: {scene.port}, name: http, protocol: HTTP}}, hosts: ['*']}}"
    )
    scene.mesh.write("routes.yaml", ROUTES.replace("a.test", "ext.test"))

    async def broken() -> bool:
        return bool((await scene.proxy.get(scene.port, "ext.test"))[0] == 503)

    await scene.eventually(broken, PATIENCE, "without the Secret there is no connection")
    assert (await scene.finding("CredentialMissing") or {})["object"] == "DestinationRule apps/ext"
    scene.mesh.write("client.yaml", client_secret(server, client, "edge"))

    async def works() -> bool:
        return bool((await scene.proxy.get(scene.port, "ext.test"))[:2] == (200, "client.test"))

    await scene.eventually(works, PATIENCE, "the client certificate is shown")
    await scene.nothing_refused()


async def test_a_sidecar_needs_a_rule_with_a_selector(
    mesh: Any, fleet: Any, tls_backend: tuple[int, Any, Any], eventually: Any
) -> None:
    port, server, client = tls_backend
    mesh.listen()
    mesh.write("ext.yaml", EXTERNAL % (mesh.port, port, ""))
    mesh.write("client.yaml", client_secret(server, client, "apps"))
    plane, proxies = fleet
    proxy = proxies.start("sidecar", "apps", {"app": "caller"})

    async def answers(*expected: Any) -> bool:
        return bool((await proxy.get(mesh.port, f"ext.test:{mesh.port}"))[: len(expected)] == expected)

    await eventually(lambda: answers(503), 30, "plaintext to a TLS port")
    codes = {finding["code"]: finding for finding in await plane.view("findings")}
    assert codes["CredentialIgnored"]["object"] == "DestinationRule apps/ext"
    mesh.write("ext.yaml", EXTERNAL % (mesh.port, port, "workloadSelector: {matchLabels: {app: caller}}"))
    await eventually(lambda: answers(200, "client.test"), PATIENCE, "the client certificate is shown")
    assert await proxy.refused() == {}


async def test_nothing_is_served_in_plaintext(
    mesh: Any, istiod: Any, envoy: Any, eventually: Any, credential: Callable[..., Any]
) -> None:
    mesh.write("ext.yaml", EXTERNAL % (mesh.port, 1, "workloadSelector: {matchLabels: {}}"))
    mesh.write("client.yaml", credential("client.test").secret("client", "apps"))
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))
    proxy = envoy(plane.xds_port)

    async def asked() -> bool:
        proxies = await plane.view("syncz")
        return any(item["type_url"].endswith("Secret") for one in proxies for item in one["types"])

    await eventually(asked, 30, "the proxy asks for Secrets")
    await eventually(proxy.settled, PATIENCE, "nothing warms")
    report = await plane.view("config", proxy="client-1", type="secrets")
    assert report["resources"]["secrets"] == []
