"""`why` says what a real Envoy then does: status, route, upstream, for requests of many kinds through two proxies.

The proxies have all of it at once. What Envoy did stands in its access log, one line a request, by a header.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from federation.lab.ports import free_ports
from tests.integration.xds.conftest import plaintext_sidecar
from tests.integration.xds.test_jwt import Key

FLUSHED = 30.0  # seconds; Envoy writes its logs every ten
FORMAT = "%REQ(X-CASE)% %RESPONSE_CODE% %UPSTREAM_CLUSTER_RAW% %ROUTE_NAME%\\n"
CLIENT, EDGE = "client-1", "edge-1"

SERVICES = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: apps}}
spec:
  hosts: [{name}.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: {port}, name: main, protocol: {protocol}}}]
  endpoints: {endpoints}
"""

RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: apps}
spec:
  hosts: [a.test]
  http:
  - {name: header, match: [{headers: {end-user: {exact: jason}}}], route: [{destination: {host: b.test}}]}
  - {name: without, match: [{uri: {prefix: /w}, withoutHeaders: {x-a: {exact: "1"}}}],
     route: [{destination: {host: b.test}}]}
  - {name: regex, match: [{uri: {regex: "/r/[0-9]+"}}], route: [{destination: {host: b.test}}]}
  - {name: moved, match: [{uri: {exact: /e}}], redirect: {uri: /new, redirectCode: 302}}
  - {name: query, match: [{uri: {prefix: /q}, queryParams: {v: {prefix: "2"}}}], route: [{destination: {host: b.test}}]}
  - {name: method, match: [{method: {exact: PUT}}], route: [{destination: {host: b.test}}]}
  - {name: nocase, match: [{uri: {prefix: /CASE}, ignoreUriCase: true}], route: [{destination: {host: b.test}}]}
  - {name: teapot, match: [{uri: {prefix: /d}}], directResponse: {status: 418}}
  - {name: broken, match: [{uri: {prefix: /f}}], fault: {abort: {httpStatus: 499, percentage: {value: 100}}},
     route: [{destination: {host: a.test}}]}
  - {name: cors, match: [{uri: {prefix: /cors}}], corsPolicy: {allowOrigins: [{exact: "https://good"}]},
     route: [{destination: {host: a.test}}]}
  - {name: split, match: [{uri: {prefix: /split}}],
     route: [{destination: {host: a.test}, weight: 50}, {destination: {host: b.test}, weight: 50}]}
  - {name: lost, match: [{uri: {prefix: /lost}}], route: [{destination: {host: nowhere.test}}]}
  - {name: subset, match: [{uri: {prefix: /s}}], route: [{destination: {host: a.test, subset: one}}]}
  - {name: rest, route: [{destination: {host: a.test}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: apps}
spec: {host: a.test, subsets: [{name: one, labels: {}}]}
"""

SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: apps}}
spec:
  workloadSelector: {{labels: {{app: client}}}}
  ingress:
  - {{port: {{number: {inbound}, protocol: HTTP, name: in}}, bind: 127.0.0.1, captureMode: NONE,
     defaultEndpoint: "127.0.0.1:{application}"}}
  egress:
  - {{port: {{number: {http}, protocol: HTTP, name: main}}, bind: 127.0.0.1, captureMode: NONE, hosts: ["*/*"]}}
  - {{port: {{number: {tcp}, protocol: TCP, name: bytes}}, bind: 127.0.0.1, captureMode: NONE, hosts: ["*/t.test"]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: read-only, namespace: apps}}
spec:
  selector: {{matchLabels: {{app: client}}}}
  rules: [{{to: [{{operation: {{methods: [GET], paths: ["/open/*"]}}}}]}}]
"""

EDGE_OBJECTS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: apps}}
spec:
  selector: {{app: edge}}
  servers:
  - {{port: {{number: {plain}, name: http, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*.edge.test"]}}
  - {{port: {{number: {moved}, name: moved, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*"],
     tls: {{httpsRedirect: true}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: edge, namespace: apps}}
spec:
  hosts: ["*.edge.test"]
  gateways: [edge]
  http:
  - {{name: admins, match: [{{headers: {{"@request.auth.claims.groups": {{exact: admin}}}}}}],
     route: [{{destination: {{host: b.test}}}}]}}
  - {{name: api, match: [{{uri: {{prefix: /api}}}}], rewrite: {{uri: /}}, route: [{{destination: {{host: a.test}}}}]}}
  - {{name: only, match: [{{headers: {{x-only: {{}}}}}}], route: [{{destination: {{host: a.test}}}}]}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: edge, namespace: apps}}
spec:
  selector: {{matchLabels: {{app: edge}}}}
  jwtRules: [{{issuer: me, audiences: [shop], jwks: '{keys}'}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-secrets, namespace: apps}}
spec:
  selector: {{matchLabels: {{app: edge}}}}
  action: DENY
  rules:
  - {{to: [{{operation: {{paths: ["/api/{{*}}/secret", "/api/hidden*"]}}}}]}}
  - {{to: [{{operation: {{paths: ["/api/mine"]}}}}], from: [{{source: {{notRequestPrincipals: ["me/ann"]}}}}]}}
  - {{to: [{{operation: {{paths: ["/api/near"]}}}}], from: [{{source: {{ipBlocks: ["127.0.0.1"]}}}}]}}
"""


@dataclass(frozen=True)
class Case:
    """A request to one of the ports; `source` is who `why` is told to ask."""

    port: str
    method: str
    path: str
    host: str = "a.test"
    headers: dict[str, str] = field(default_factory=dict)
    token: dict[str, Any] | None = None  # claims


CASES = {
    "header": Case("http", "GET", "/", headers={"end-user": "jason"}),
    "header-other": Case("http", "GET", "/", headers={"end-user": "ann"}),
    "without": Case("http", "GET", "/w"),
    "without-not": Case("http", "GET", "/w", headers={"x-a": "1"}),
    "regex": Case("http", "GET", "/r/12?x=1"),
    "regex-not": Case("http", "GET", "/r/12a"),
    "redirect": Case("http", "GET", "/e"),
    "query": Case("http", "GET", "/q?a=1&v=22"),
    "query-not": Case("http", "GET", "/q?v=12"),
    "method": Case("http", "PUT", "/"),
    "case": Case("http", "GET", "/casE/x"),
    "direct": Case("http", "GET", "/d"),
    "fault": Case("http", "GET", "/f"),
    "preflight": Case(
        "http", "OPTIONS", "/cors", headers={"origin": "https://good", "access-control-request-method": "GET"}
    ),
    "preflight-bad": Case(
        "http", "OPTIONS", "/cors", headers={"origin": "https://bad", "access-control-request-method": "GET"}
    ),
    "split": Case("http", "GET", "/split"),
    "lost": Case("http", "GET", "/lost"),
    "subset": Case("http", "GET", "/s"),
    "dots": Case("http", "GET", "/x/../d"),
    "other-service": Case("http", "POST", "/", host="b.test"),
    "no-endpoints": Case("http", "GET", "/", host="empty.test"),
    "stranger": Case("http", "GET", "/", host="stranger.test"),
    "port-in-host": Case("http", "GET", "/d", host="a.test:1234"),
    "inbound-allowed": Case("inbound", "GET", "/open/1", host="me"),
    "inbound-path": Case("inbound", "GET", "/closed", host="me"),
    "inbound-method": Case("inbound", "POST", "/open/1", host="me"),
    "edge-api": Case("plain", "GET", "/api/1", host="x.edge.test"),
    "edge-no-host": Case("plain", "GET", "/api/1", host="edge.test"),
    "edge-no-route": Case("plain", "GET", "/other", host="x.edge.test"),
    "edge-present": Case("plain", "GET", "/other", host="x.edge.test", headers={"x-only": "1"}),
    "edge-template": Case("plain", "GET", "/api/12/secret", host="x.edge.test"),
    "edge-prefix": Case("plain", "GET", "/api/hidden/x", host="x.edge.test"),
    "edge-address": Case("plain", "GET", "/api/near", host="x.edge.test"),
    "edge-anonymous": Case("plain", "GET", "/api/mine", host="x.edge.test"),
    "edge-ann": Case("plain", "GET", "/api/mine", host="x.edge.test", token={"aud": "shop"}),
    "edge-audience": Case("plain", "GET", "/api/1", host="x.edge.test", token={"aud": "bank"}),
    "edge-expired": Case("plain", "GET", "/api/1", host="x.edge.test", token={"aud": "shop", "exp": 1}),
    "edge-admin": Case("plain", "GET", "/", host="x.edge.test", token={"aud": "shop", "groups": ["dev", "admin"]}),
    "edge-https": Case("moved", "GET", "/api/1", host="x.edge.test"),
}


@dataclass
class Scene:
    plane: Any
    ports: dict[str, int]
    log: Path
    key: Key
    proxies: list[Any]

    def headers(self, name: str, case: Case) -> dict[str, str]:
        token = {} if case.token is None else {"authorization": f"Bearer {self.key.token(**case.token)}"}
        return {"host": case.host, "x-case": name, **case.headers, **token}

    async def why(self, name: str, case: Case) -> dict[str, Any]:
        """What the control plane says about a case."""
        headers = self.headers(name, case)
        said: dict[str, Any] = await self.plane.view(
            "why",
            proxy=EDGE if case.port in ("plain", "moved") else CLIENT,
            method=case.method,
            url=f"http://127.0.0.1:{self.ports[case.port]}{case.path}",
            headers="\n".join(f"{key}: {value}" for key, value in headers.items()),
            source="127.0.0.1",
            **{"from": "inbound" if case.port == "inbound" else "outbound"},
        )
        return said

    async def send(self, name: str, case: Case) -> int:
        """The status that Envoy gives; 0 while nobody listens."""
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{self.ports[case.port]}{case.path}"
            try:
                async with client.request(
                    case.method, URL(url, encoded=True), headers=self.headers(name, case), allow_redirects=False
                ) as answer:
                    return answer.status
            except (OSError, aiohttp.ClientError):
                return 0

    def lines(self) -> dict[str, tuple[int, str, str]]:
        """What Envoy wrote: status, upstream and route by case."""
        found = {}
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            name, status, upstream, route = line.split(" ")
            found[name] = (int(status), upstream.strip("-") and upstream, route.strip("-") and route)
        return found


@pytest.fixture
async def scene(mesh: Any, istiod: Any, run_envoy: Any, application: int, eventually: Any, tmp_path: Path) -> Scene:
    """A sidecar and a gateway of one control plane, with everything at hand."""
    names = ("http", "tcp", "inbound", "plain", "moved")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    log, key = tmp_path / "access.log", Key("only")
    mesh.mesh_config.write_text(
        json.dumps(
            {
                "enableAutoMtls": False,
                "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
                "accessLogFile": str(log),
                "accessLogFormat": FORMAT.replace("\\n", "\n"),
            }
        )
    )
    here = json.dumps([{"address": "127.0.0.1", "ports": {"main": application}}])
    for name, endpoints in (("a", here), ("b", here), ("empty", "[]")):
        mesh.write(f"{name}.yaml", SERVICES.format(name=name, port=ports["http"], protocol="HTTP", endpoints=endpoints))
    mesh.write("t.yaml", SERVICES.format(name="t", port=ports["tcp"], protocol="TCP", endpoints=here))
    mesh.write("rules.yaml", RULES)
    mesh.write("sidecar.yaml", SIDECAR.format(**ports, application=application))
    keys = json.dumps({"keys": [key.public()]})
    mesh.write("edge.yaml", EDGE_OBJECTS.format(**ports, keys=keys))
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))

    def proxy(name: str, kind: str, labels: dict[str, str]) -> Any:
        def bootstrap(directory: Path) -> dict[str, Any]:
            return plaintext_sidecar(directory, plane.xds_port, False, type=kind, name=name, labels=labels)

        return run_envoy(bootstrap)

    proxies = [proxy(CLIENT, "sidecar", {"app": "client"}), proxy(EDGE, "router", {"app": "edge"})]
    made = Scene(plane, ports, log, key, proxies)

    async def both_answer() -> bool:
        return await made.send("start", CASES["direct"]) == 418 and await made.send("start", CASES["edge-https"]) == 301

    await eventually(both_answer, 30, "both proxies have their listeners")
    return made


@pytest.fixture
async def application() -> AsyncIterator[int]:
    """An HTTP server that answers everything with 200."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_envoy_does_what_why_says(scene: Scene, eventually: Any) -> None:
    said = {name: await scene.why(name, case) for name, case in CASES.items()}
    statuses = {name: await scene.send(name, case) for name, case in CASES.items()}

    async def written() -> bool:
        return scene.lines().keys() >= CASES.keys()

    await eventually(written, FLUSHED, f"a line for each request: {CASES.keys() - scene.lines().keys()}")
    lines = scene.lines()
    wrong = [problem for name in CASES for problem in differences(name, said[name], statuses[name], lines[name])]
    assert wrong == []
    assert {answer["outcome"] for answer in said.values()} == {"routed", "answered", "refused"}
    for proxy in scene.proxies:
        assert await proxy.refused() == {}


def differences(name: str, said: dict[str, Any], status: int, line: tuple[int, str, str]) -> list[str]:
    """Where Envoy did something else than was said."""
    found = []
    logged, upstream, route = line
    expected = said["status"] if said["status"] is not None else 200
    if (status, logged) != (expected, expected):
        found.append(f"{name}: said {said['outcome']} {expected} ({said['reason']}), got {status}")
    if said["route"] and route != said["route"]:
        found.append(f"{name}: said route {said['route']}, Envoy took {route!r}")
    if said["outcome"] == "routed" and upstream not in {item["name"] for item in said["upstreams"]}:
        found.append(f"{name}: said {[item['name'] for item in said['upstreams']]}, Envoy took {upstream!r}")
    return found


async def test_bytes_and_closed_connections(scene: Scene) -> None:
    async def ask(port: int) -> dict[str, Any]:
        found: dict[str, Any] = await scene.plane.view("why", proxy=CLIENT, method="X", url=f"tcp://127.0.0.1:{port}")
        return found

    said = await ask(scene.ports["tcp"])
    assert said["outcome"] == "routed"
    assert [item["name"] for item in said["upstreams"]] == [f"outbound|{scene.ports['tcp']}||t.test"]
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{scene.ports['tcp']}/") as answer:
        assert await answer.text() == "here"
    (nobody,) = free_ports(1)
    said = await ask(nobody)
    assert (said["outcome"], said["listener"]) == ("refused", "")
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", nobody)


async def test_objects_behind_an_answer(scene: Scene) -> None:
    said = await scene.why("regex", CASES["regex"])
    causes = {f"{cause['object']} {cause['field']}" for step in said["steps"] for cause in step["causes"]}
    assert {"VirtualService apps/a spec.http[2].match[0]", "Sidecar apps/default spec.egress[0]"} <= causes
    said = await scene.why("edge-template", CASES["edge-template"])
    assert said["steps"][-1]["causes"] == [{"object": "AuthorizationPolicy apps/no-secrets", "field": "spec.rules[0]"}]
    payload = urlsafe_b64encode(json.dumps({"iss": "stranger", "exp": time.time() + 9}).encode()).decode()
    case = Case("plain", "GET", "/api/1", "x.edge.test", {"authorization": f"Bearer e30.{payload}.e30"})
    said = await scene.why("stranger", case)
    assert (said["status"], said["steps"][-1]["topic"]) == (401, "authentication")


async def test_envoy_s_own_words_beside_the_control_plane_s(scene: Scene, tmp_path: Path) -> None:
    """The same tables out of Envoy's dump, its admin interface, and the control plane."""
    (tmp_path / "dump.json").write_text(json.dumps(await scene.proxies[0].admin("/config_dump?include_eds")))
    sources = {
        "file": ("--file", str(tmp_path / "dump.json")),
        "admin": ("--admin", f"unix:{scene.proxies[0].log.parent / 'admin.sock'}"),
        "istiod": ("--istiod", f"http://127.0.0.1:{scene.plane.http_port}"),
    }
    wanted: list[tuple[str, ...]] = [
        ("clusters", "--direction", "outbound"),
        ("listeners", "--address", "127.0.0.1", "--type", "HTTP"),
        ("routes", "--name", str(scene.ports["http"])),
        ("endpoints", "--cluster", f"outbound|{scene.ports['http']}||a.test"),
    ]
    for words in wanted:
        tables = {}
        for name, source in sources.items():
            who = (CLIENT,) if name == "istiod" else ()
            rows = sorted(" ".join(row.split()) for row in (await _isthmus("proxy", "config", *who, *words, *source)))
            tables[name] = [row.replace(" OK ", " - ") for row in rows]  # only Envoy knows of outliers
        assert len(tables["istiod"]) > 1, words
        assert tables["file"] == tables["istiod"] == tables["admin"], words


async def _isthmus(*words: str) -> list[str]:
    command = [str(Path(sys.executable).parent / "isthmus"), *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().splitlines()
