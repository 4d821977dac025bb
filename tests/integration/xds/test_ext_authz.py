"""CUSTOM authorization: real servers over HTTP and over gRPC decide for a real Envoy, a gateway on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
import yaml
from aiohttp import web
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from federation.lab.ports import free_ports
from tests.integration.xds.conftest import plaintext_sidecar

WITHIN = 20.0
PERMISSION_DENIED = 7

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: in, namespace: apps}}
spec:
  selector: {{istio: in}}
  servers:
  - {{port: {{number: {http}, name: http, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*"]}}
  - {{port: {{number: {tcp}, name: tcp, protocol: TCP}}, bind: 127.0.0.1, hosts: ["*"]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo, namespace: apps}}
spec:
  hosts: ["*"]
  gateways: [in]
  http: [{{route: [{{destination: {{host: echo.test}}}}]}}]
  tcp: [{{match: [{{port: {tcp}}}], route: [{{destination: {{host: bytes.test}}}}]}}]
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: ask, namespace: apps}}
spec:
  selector: {{matchLabels: {{istio: in}}}}
  action: CUSTOM
  provider: {{name: {provider}}}
  rules: {rules}
"""


class HttpDecider:
    """Lets in who brings `x-sso-user`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, {k.lower(): v for k, v in request.headers.items()}, await request.text()))
        user = request.headers.get("x-sso-user", "")
        if not user:
            return web.Response(status=401, text="who are you", headers={"x-reason": "no-user", "x-secret": "1"})
        return web.Response(headers={"x-user": user, "x-secret": "1", "x-seen": "yes"})


class GrpcDecider:
    """Lets in requests for paths other than /closed, and connections while it is `open`."""

    def __init__(self) -> None:
        self.asked: list[CheckRequest] = []
        self.open = True

    async def check(self, request: CheckRequest, _: Any) -> CheckResponse:
        self.asked.append(request)
        http = request.attributes.request.http
        answer = CheckResponse()
        if http.path == "/closed" or (not http.path and not self.open):
            answer.status.code = PERMISSION_DENIED
            answer.denied_response.status.code = 400
            answer.denied_response.body = "closed"
            return answer
        answer.ok_response.headers.add().header.key = "x-user"
        answer.ok_response.headers[0].header.value = "grpc"
        return answer


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    """Starts HTTP servers; each gives its port."""
    runners = []

    async def start(answer: Any) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        runners.append(runner)
        (port,) = free_ports(1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return port

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def over_http(serve: Any) -> tuple[HttpDecider, int]:
    decider = HttpDecider()
    return decider, await serve(decider.answer)


@pytest.fixture
async def over_grpc() -> AsyncIterator[tuple[GrpcDecider, int]]:
    decider = GrpcDecider()
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        decider.check, CheckRequest.FromString, CheckResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield decider, port
    await server.stop(None)


@pytest.fixture
async def bytes_port() -> AsyncIterator[int]:
    """A server that answers each connection with what it was sent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


class Scene:
    """A gateway in front of a server that tells what it got, with authorization servers around it."""

    def __init__(self, mesh: Any, plane: Any, proxy: Any, http: int, tcp: int) -> None:
        self.mesh, self.plane, self.proxy, self.http_port, self.tcp_port = mesh, plane, proxy, http, tcp

    def ask(self, provider: str, rules: str = "[{}]") -> None:
        """Put the policy into the mesh, or replace it."""
        self.mesh.write("ask.yaml", POLICY.format(provider=provider, rules=rules))

    async def request(
        self, path: str = "/", data: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of an answer; status 0 if nobody listens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        method, url = "POST" if data else "GET", f"http://127.0.0.1:{self.http_port}{path}"
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.request(method, url, data=data, headers=sent) as answer,
            ):
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.text()
        except (OSError, aiohttp.ClientError):
            return 0, {}, ""

    async def line(self) -> bytes:
        """What a connection with one line gets back."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.tcp_port)
            writer.write(b"hello\n")
            got = await reader.read(100)
            writer.close()
        except OSError:
            return b""
        return got

    async def nothing_refused(self) -> None:
        """The proxy took all that it was ever sent."""
        assert await self.proxy.refused() == {}


def provider(name: str, kind: str, host: str, port: int, **fields: Any) -> dict[str, Any]:
    return {"name": name, f"envoyExtAuthz{kind}": {"service": f"apps/{host}", "port": port, **fields}}


@pytest.fixture
async def scene(
    mesh: Any, istiod: Any, run_envoy: Any, serve: Any, eventually: Any, over_http: Any, over_grpc: Any, bytes_port: int
) -> Scene:
    async def echo(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return web.json_response({"path": request.path, "headers": headers, "body": await request.text()})

    http, tcp, nobody = free_ports(3)
    mesh.service("echo", await serve(echo))
    mesh.service("bytes", bytes_port, protocol="TCP")
    mesh.service("sso", over_http[1])
    mesh.service("opa", over_grpc[1], protocol="GRPC")
    mesh.service("gone", nobody)
    sso = {
        "pathPrefix": "/check",
        "includeRequestHeadersInCheck": ["x-sso-*", "cookie"],
        "includeAdditionalHeadersInCheck": {"x-asked-by": "gateway %REQ(:METHOD)%"},
        "includeRequestBodyInCheck": {"maxRequestBytes": 100},
        "headersToUpstreamOnAllow": ["x-user"],
        "headersToDownstreamOnAllow": ["x-seen"],
        "headersToDownstreamOnDeny": ["x-reas*"],
    }
    providers = [
        provider("sso", "Http", "sso.test", mesh.port, **sso),
        provider("opa", "Grpc", "opa.test", mesh.port),
        provider("closed", "Http", "gone.test", mesh.port, statusOnError="503", timeout="1s"),
        provider("open", "Http", "gone.test", mesh.port, failOpen=True, timeout="1s"),
    ]
    mesh.mesh_config.write_text(yaml.safe_dump({"enableAutoMtls": False, "extensionProviders": providers}))
    mesh.write("gateway.yaml", GATEWAY.format(http=http, tcp=tcp))
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))
    who = {"type": "router", "labels": {"istio": "in"}}
    proxy = run_envoy(lambda directory: plaintext_sidecar(directory, plane.xds_port, sotw=False, **who))
    made = Scene(mesh, plane, proxy, http, tcp)

    async def answers() -> bool:
        return (await made.request())[0] == 200 and await made.line() == b"hello\n"

    await eventually(answers, WITHIN, "the gateway leads to its servers")
    return made


async def test_a_server_over_http_decides(scene: Scene, over_http: Any, eventually: Any) -> None:
    decider, _ = over_http
    scene.ask("sso", "[{to: [{operation: {notPaths: [/healthz]}}]}]")

    async def asked() -> Any:
        status, headers, text = await scene.request("/shop?a=b")
        return status == 401 and (headers, text)

    headers, text = await eventually(asked, WITHIN, "nobody unknown is let in")
    assert text == "who are you"
    assert headers["x-reason"] == "no-user"
    assert "x-secret" not in headers

    decider.asked.clear()
    status, headers, text = await scene.request("/shop", data="order", x_sso_user="ann", cookie="c=1", x_other="no")
    assert (status, headers["x-seen"]) == (200, "yes")
    assert "x-secret" not in headers
    got = json.loads(text)
    assert (got["headers"]["x-user"], got["body"]) == ("ann", "order")
    assert "x-secret" not in got["headers"]
    ((path, sent, body),) = decider.asked
    assert (path, body) == ("/check/shop", "order")
    assert (sent["x-sso-user"], sent["cookie"], sent["x-asked-by"]) == ("ann", "c=1", "gateway POST")
    assert "x-other" not in sent

    decider.asked.clear()
    assert (await scene.request("/healthz"))[0] == 200
    assert decider.asked == []
    assert await scene.line() == b"hello\n"  # an HTTP server is not asked about connections
    await scene.nothing_refused()


async def test_a_server_over_grpc_decides_on_requests_and_connections(
    scene: Scene, over_grpc: Any, eventually: Any
) -> None:
    decider, _ = over_grpc
    decider.open = False
    scene.ask("opa")

    async def asked() -> Any:
        return await scene.line() == b""

    await eventually(asked, WITHIN, "no connection is let in")
    assert (await scene.request("/closed"))[::2] == (400, "closed")
    status, _, text = await scene.request("/shop")
    assert (status, json.loads(text)["headers"]["x-user"]) == (200, "grpc")
    decider.open = True
    assert await scene.line() == b"hello\n"
    assert {request.attributes.request.http.path for request in decider.asked} == {"", "/closed", "/shop"}
    await scene.nothing_refused()


@pytest.mark.parametrize(("name", "expected"), [("closed", 503), ("open", 200), ("unknown", 403)])
async def test_a_server_that_does_not_answer_or_is_not_there(
    scene: Scene, over_http: Any, eventually: Any, name: str, expected: int
) -> None:
    """`sso` comes first, so that it is seen when the policy has been followed."""
    scene.ask("sso")

    async def status_is(wanted: int) -> bool:
        return (await scene.request())[0] == wanted

    await eventually(lambda: status_is(401), WITHIN, "the first server is asked")
    scene.ask(name)
    await eventually(lambda: status_is(expected), WITHIN, f"{name} answers {expected}")
    findings = await scene.plane.view("findings")
    said = [finding for finding in findings if finding["code"] == "ProviderUnusable"]
    assert len(said) == (1 if name == "unknown" else 0)
    await scene.nothing_refused()
