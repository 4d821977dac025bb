# ruff: noqa: E501
"""The Kubernetes Gateway API with real Envoys: a gateway that serves a Gateway, and a sidecar for routes of Services."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from textwrap import indent
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from yarl import URL

from federation.lab.ports import free_ports
from tests.integration.xds.conftest import plaintext_sidecar
from tests.integration.xds.test_credentials import Scene as TlsScene
from tests.integration.xds.test_credentials import fleet  # noqa: F401  a fixture

PATIENCE = 20.0
NAMES = """
apiVersion: v1
kind: Namespace
metadata: {name: apps}
"""


class Backend:
    """A server that tells what it was asked; `/slow` takes its time, `/flaky` fails at first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: Counter[str] = Counter()
        (self.port,) = free_ports(1)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self.runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        if request.path == "/slow":
            await asyncio.sleep(3)
        if request.path == "/flaky" and self.asked[request.path] < 3:
            return web.Response(status=503)
        headers = {key.lower(): value for key, value in request.headers.items()}
        return web.json_response(
            {"name": self.name, "path": request.path_qs, "host": request.host, "headers": headers},
            headers={"x-from": self.name},
        )


@pytest.fixture
async def servers() -> AsyncIterator[Callable[[str], Awaitable[Backend]]]:
    """Starts backends by name."""
    started: list[Backend] = []

    async def start(name: str) -> Backend:
        backend = Backend(name)
        await backend.start()
        started.append(backend)
        return backend

    yield start
    for backend in started:
        await backend.runner.cleanup()


def service(backend: Backend, namespace: str = "apps", port: int = 80) -> str:
    """A Service with one endpoint."""
    name = backend.name
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  clusterIP: 10.{backend.port >> 8}.{backend.port & 255}.1
  selector: {{app: {name}}}
  ports: [{{name: http, port: {port}, targetPort: {backend.port}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}
ports: [{{name: http, port: {backend.port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""


def route(name: str, spec: str, namespace: str = "apps", parent: str = "{name: front}") -> str:
    """An HTTPRoute of the Gateway."""
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{parent}]
{spec}
"""


class Scene:
    """A control plane, and a proxy that listens at `port`."""

    def __init__(self, mesh: Any, plane: Any, proxy: Any, port: int, eventually: Any) -> None:
        self.mesh, self.plane, self.proxy, self.port, self._eventually = mesh, plane, proxy, port, eventually

    async def get(self, path: str, host: str = "web.test", **headers: str) -> tuple[int, Any, Any]:
        """Status, what the backend was asked (or None), and the headers of the answer; 0 if nobody listens."""
        sent = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.get(url, headers=sent, allow_redirects=False) as answer,
            ):
                asked = await answer.json() if answer.content_type == "application/json" else None
                return answer.status, asked, answer.headers
        except (OSError, aiohttp.ClientError):
            return 0, None, {}

    async def becomes(self, path: str, status: int, host: str = "web.test") -> None:
        """Wait until a path answers with a status."""

        async def check() -> bool:
            return (await self.get(path, host))[0] == status

        await self._eventually(check, PATIENCE, f"{host}{path} answers {status}")

    async def nothing_refused(self) -> None:
        """The proxy took all that it was sent."""
        assert await self.proxy.refused() == {}

    async def status(self, wanted: str) -> Any:
        """The status of one object."""
        found = await self.plane.view("gateway-api")
        return next(item for item in found if item["object"] == wanted)


@pytest.fixture
async def gateway(mesh: Any, istiod: Any, run_envoy: Any, variant: str, eventually: Any) -> Scene:
    """A Gateway `front` in namespace `apps` with a listener for every host."""
    (port,) = free_ports(1)
    mesh.write("names.yaml", NAMES)
    mesh.write(
        "gateway.yaml",
        f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: front, namespace: apps}}
spec:
  gatewayClassName: istio
  listeners: [{{name: web, port: {port}, protocol: HTTP}}]
""",
    )
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))
    labels = {"gateway.networking.k8s.io/gateway-name": "front"}
    proxy = run_envoy(
        lambda directory: plaintext_sidecar(
            directory, plane.xds_port, variant == "sotw", type="router", name="front-1", labels=labels
        )
    )
    return Scene(mesh, plane, proxy, port, eventually)


ROUTES = """
  hostnames: [web.test]
  rules:
  - matches: [{path: {value: /app}}]
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {type: Exact, value: /app/exact}}]
    backendRefs: [{name: two, port: 80}]
  - matches:
    - {path: {value: /app}, headers: [{name: version, value: two}]}
    - {path: {value: /app}, queryParams: [{name: v, value: two}]}
    backendRefs: [{name: two, port: 80}]
  - matches: [{path: {value: /rewritten}}]
    filters:
    - {type: URLRewrite, urlRewrite: {hostname: other.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: 50%}], add: [{name: x-add, value: b}], remove: [x-gone]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-from, value: gateway}]}}
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /cut}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /whole}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /all}}}]
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: new.test, path: {type: ReplacePrefixMatch, replacePrefixMatch: /here}, statusCode: 301}}]
  - matches: [{path: {value: /ported}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.test, path: {type: ReplaceFullPath, replaceFullPath: /x}}}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{name: gone, port: 80}]
  - matches: [{path: {value: /half}}]
    backendRefs: [{name: one, port: 80, weight: 1}, {name: gone, port: 80, weight: 1}]
  - matches: [{path: {value: /zero}}]
    backendRefs: [{name: one, port: 80, weight: 0}]
  - matches: [{path: {value: /foreign}}]
    backendRefs: [{name: three, namespace: other, port: 80}]
  - matches: [{path: {value: /strange}}]
    filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Filter, name: x}}]
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /shadowed}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: two, port: 80}}}]
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /slow}}]
    timeouts: {request: 300ms}
    backendRefs: [{name: one, port: 80}]
  - matches: [{path: {value: /flaky}}]
    retry: {attempts: 3, codes: [503], backoff: 10ms}
    backendRefs: [{name: one, port: 80}]
"""


async def test_a_gateway_serves_http_routes(gateway: Scene, servers: Any) -> None:
    one, two, three = await servers("one"), await servers("two"), await servers("three")
    gateway.mesh.write("services.yaml", f"{service(one)}---{service(two)}---{service(three, 'other')}")
    gateway.mesh.write("route.yaml", route("web", ROUTES))
    await gateway.becomes("/app", 200)

    async def name(path: str, **headers: str) -> str:
        return str((await gateway.get(path, **headers))[1]["name"])

    assert await name("/app") == "one"
    assert await name("/app/exact") == "two"
    assert await name("/app/deeper", version="two") == "two"
    assert await name("/app?v=two") == "two"
    assert (await gateway.get("/apple"))[0] == 404  # a prefix ends with a segment
    assert (await gateway.get("/app", "other.test"))[0] == 404

    _, asked, answered = await gateway.get("/rewritten/a?b=c", x_gone="1", x_add="a")
    assert (asked["path"], asked["host"]) == ("/new/a?b=c", "other.test")
    assert (asked["headers"]["x-set"], asked["headers"].get("x-gone")) == ("50%", None)
    assert answered["x-from"] == "gateway"
    assert [(await gateway.get(path))[1]["path"] for path in ("/cut/a", "/cut", "/cut/", "/whole/b?c=d")] == [
        "/a",
        "/",
        "/",
        "/all?c=d",
    ]

    moved = await gateway.get("/moved/a?b=c")
    assert (moved[0], moved[2]["location"]) == (301, "https://new.test/here/a?b=c")
    ported = await gateway.get("/ported/a")
    assert (ported[0], ported[2]["location"]) == (302, f"http://new.test:{gateway.port}/x")

    assert [(await gateway.get(path))[0] for path in ("/gone", "/zero", "/foreign", "/strange")] == [500] * 4
    assert {(await gateway.get("/half"))[0] for _ in range(40)} == {200, 500}

    assert await name("/shadowed") == "one"

    async def copied() -> bool:
        return two.asked["/shadowed"] == 1

    await gateway._eventually(copied, 5, "the copy arrives")
    assert (await gateway.get("/slow"))[0] == 504
    assert ((await gateway.get("/flaky"))[0], one.asked["/flaky"]) == (200, 3)
    await gateway.nothing_refused()


async def test_weights_share_requests(gateway: Scene, servers: Any) -> None:
    one, two = await servers("one"), await servers("two")
    gateway.mesh.write("services.yaml", f"{service(one)}---{service(two)}")
    backends = "[{name: one, port: 80, weight: 3}, {name: two, port: 80, weight: 1}]"
    gateway.mesh.write("route.yaml", route("web", f"  rules: [{{backendRefs: {backends}}}]"))
    await gateway.becomes("/", 200)
    names = Counter([(await gateway.get("/"))[1]["name"] for _ in range(200)])
    assert 110 <= names["one"] <= 185
    assert names["one"] + names["two"] == 200


async def test_a_grant_opens_another_namespace(gateway: Scene, servers: Any) -> None:
    gateway.mesh.write("services.yaml", service(await servers("three"), "other"))
    spec = "  rules: [{backendRefs: [{name: three, namespace: other, port: 80}]}]"
    gateway.mesh.write("route.yaml", route("web", spec))
    await gateway.becomes("/", 500)
    status = await gateway.status("HTTPRoute apps/web")
    assert [(c["type"], c["status"], c["reason"]) for c in status["parents"][0]["conditions"]] == [
        ("Accepted", True, "Accepted"),
        ("ResolvedRefs", False, "RefNotPermitted"),
    ]
    gateway.mesh.write(
        "grant.yaml",
        """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: apps, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: apps}]
  to: [{group: "", kind: Service}]
""",
    )
    await gateway.becomes("/", 200)
    status = await gateway.status("Gateway apps/front")
    assert [(item["name"], item["attached_routes"]) for item in status["listeners"]] == [("web", 1)]
    gateway.mesh.remove("grant.yaml")
    await gateway.becomes("/", 500)


@pytest.fixture
async def sidecar(mesh: Any, istiod: Any, run_envoy: Any, variant: str, eventually: Any) -> Scene:
    """A sidecar of namespace `apps` whose application calls services of `mesh.port`."""
    mesh.listen()
    mesh.write("names.yaml", NAMES)
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))
    proxy = run_envoy(lambda directory: plaintext_sidecar(directory, plane.xds_port, variant == "sotw"))
    return Scene(mesh, plane, proxy, mesh.port, eventually)


async def test_routes_of_a_service_are_for_its_clients(sidecar: Scene, servers: Any) -> None:
    one, two, three = await servers("one"), await servers("two"), await servers("three")
    port, host = sidecar.port, "one.other.svc.cluster.local"
    files = [service(one, "other", port), service(two, "other", port), service(three, "apps", port)]
    sidecar.mesh.write("services.yaml", "---".join(files))
    await sidecar.becomes("/", 200, host)
    assert (await sidecar.get("/", host))[1]["name"] == "one"
    parent = "{group: '', kind: Service, name: one, namespace: other}"
    producer = f"  rules: [{{matches: [{{path: {{value: /two}}}}], backendRefs: [{{name: two, port: {port}}}]}}]"
    sidecar.mesh.write("producer.yaml", route("producer", producer, "other", parent))
    await sidecar.becomes("/", 404, host)
    assert (await sidecar.get("/two/x", host))[1]["name"] == "two"
    consumer = f"  rules: [{{backendRefs: [{{name: three, port: {port}}}]}}]"
    sidecar.mesh.write("consumer.yaml", route("consumer", consumer, "apps", parent))
    await sidecar.becomes("/", 200, host)
    assert (await sidecar.get("/two/x", host))[1]["name"] == "three"
    sidecar.mesh.remove("consumer.yaml")
    await sidecar.becomes("/", 404, host)
    sidecar.mesh.remove("producer.yaml")
    await sidecar.becomes("/", 200, host)
    await sidecar.nothing_refused()


async def test_a_listener_shows_a_certificate_that_it_may_use(
    mesh: Any,
    fleet: Any,  # noqa: F811
    backends: Any,
    credential: Callable[..., Any],
    eventually: Any,
    tmp_path: Any,
) -> None:
    mesh.service("a", await backends("one"))
    plane, proxies = fleet
    (port,) = free_ports(1)
    label = {"gateway.networking.k8s.io/gateway-name": "front"}
    scene = TlsScene(mesh, plane, proxies.start("router", "edge", label), port, tmp_path, eventually)
    shown = credential("one.test")
    mesh.write("secret.yaml", shown.secret("web", "certs"))
    mesh.write(
        "gateway.yaml",
        f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: front, namespace: edge}}
spec:
  gatewayClassName: istio
  listeners:
  - name: web
    port: {port}
    protocol: HTTPS
    hostname: one.test
    tls: {{certificateRefs: [{{name: web, namespace: certs}}]}}
""",
    )
    backend = f"{{group: networking.istio.io, kind: Hostname, name: a.test, port: {mesh.port}}}"
    mesh.write("route.yaml", route("web", f"  rules: [{{backendRefs: [{backend}]}}]", "edge"))

    async def refused() -> Any:
        return await scene.finding("RefNotPermitted")

    await eventually(refused, PATIENCE, "the missing grant is found")
    assert await scene.answer("one.test", shown) == 0
    mesh.write(
        "grant.yaml",
        """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: edge, namespace: certs}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: edge}]
  to: [{group: "", kind: Secret, name: web}]
""",
    )
    await scene.answers("one.test", shown)
    connection = await scene.connect("one.test", shown)
    assert connection.leaf == x509.load_pem_x509_certificate(shown.chain.encode()).serial_number
    connection.close()
    mesh.remove("grant.yaml")
    await scene.answers("one.test", shown, status=0)
    await scene.nothing_refused()


async def test_a_backend_is_called_with_tls_as_its_policy_says(
    gateway: Scene, credential: Callable[..., Any], tmp_path: Any
) -> None:
    shown = credential("one.test")
    for name, text in (("s.pem", shown.chain), ("s.key", shown.key)):
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "s.pem", tmp_path / "s.key")
    one = Backend("one")
    await one.runner.setup()
    await web.TCPSite(one.runner, "127.0.0.1", one.port, ssl_context=context).start()
    gateway.mesh.write("services.yaml", service(one))
    gateway.mesh.write("route.yaml", route("web", "  rules: [{backendRefs: [{name: one, port: 80}]}]"))
    await gateway.becomes("/", 503)  # plaintext is not what it speaks

    def policy(hostname: str) -> None:
        gateway.mesh.write(
            "policy.yaml",
            f"""
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: one, namespace: apps}}
spec:
  targetRefs: [{{group: "", kind: Service, name: one}}]
  validation: {{hostname: {hostname}, caCertificateRefs: [{{group: "", kind: ConfigMap, name: roots}}]}}
""",
        )

    policy("one.test")
    gateway.mesh.write(
        "roots.yaml",
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: roots, namespace: apps}}\ndata:\n  ca.crt: |\n{indent(shown.roots, '    ')}",
    )
    await gateway.becomes("/", 200)
    policy("other.test")  # a name that its certificate does not have
    await gateway.becomes("/", 503)
    gateway.mesh.remove("roots.yaml")
    policy("one.test")

    async def found() -> bool:
        return any(item["code"] == "NoValidCACertificate" for item in await gateway.plane.view("findings"))

    await gateway._eventually(found, PATIENCE, "the missing certificates are found")
    assert (await gateway.get("/"))[0] == 503
    await gateway.nothing_refused()
    await one.runner.cleanup()
