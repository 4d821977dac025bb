"""Tokens at a gateway: a real issuer, a real control plane that fetches its keys, a real Envoy that asks for them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from google.protobuf.json_format import MessageToDict

from federation.lab.ports import free_ports
from istiod.api.jwks import parse_key_set
from istiod.encode.listeners import listener
from istiod.resolve.specs.jwt import JwtProvider, JwtSpec
from istiod.resolve.specs.listener import MATCH_ALL, Direction, FilterChainSpec, HttpConnection, ListenerSpec
from istiod.resolve.specs.route import RouteConfigSpec
from tests.integration.xds.conftest import plaintext_sidecar
from tests.istiod.api.test_jwks import GOOD

WITHIN = 20.0  # an issuer in trouble is asked again after a pause that grows

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: web, namespace: apps}}
spec:
  selector: {{istio: in}}
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, bind: 127.0.0.1, hosts: ["*"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: apps}}
spec:
  hosts: ["*"]
  gateways: [web]
  http:
  - match: [{{headers: {{"@request.auth.claims.groups": {{exact: admin}}}}}}]
    directResponse: {{status: 230}}
  - match: [{{headers: {{"@request.auth.claims[org][team]": {{prefix: bl}}}}}}]
    directResponse: {{status: 231}}
  - match: [{{withoutHeaders: {{"@request.auth.claims.sub": {{regex: ".+"}}}}}}]
    directResponse: {{status: 232}}
  - directResponse: {{status: 233}}
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: jwt, namespace: apps}}
spec:
  selector: {{matchLabels: {{istio: in}}}}
  jwtRules: [{{issuer: me, {rule}}}]
"""


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """A key that signs tokens."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = ec.generate_private_key(ec.SECP256R1())

    def public(self) -> dict[str, str]:
        point = self._key.public_key().public_numbers()
        x, y = (encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "kid": self.name, "x": x, "y": y}

    def token(self, **claims: Any) -> str:
        head = {"alg": "ES256", "kid": self.name}
        body = {"iss": "me", "sub": "ann", "exp": int(time.time()) + 600, **claims}
        text = ".".join(encode(json.dumps(part).encode()) for part in (head, body))
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Issuer:
    """Serves the public keys of `keys`, or 503 while it is `down`; not before it is `free` to answer."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.down = False
        self.asked = 0
        self.free = asyncio.Event()
        self.free.set()
        self.port = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.free.wait()
        if self.down:
            return web.Response(status=503)
        return web.json_response({"keys": [key.public() for key in self.keys]})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    app = web.Application()
    app.router.add_get("/keys", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


class Scene:
    """A gateway with its control plane."""

    def __init__(self, mesh: Any, plane: Any, proxy: Any, port: int, eventually: Any) -> None:
        self.mesh, self.plane, self.proxy, self.port, self._eventually = mesh, plane, proxy, port, eventually

    async def status(self, token: str = "", **headers: str) -> int:
        """What a request with a token, or with none, is answered; 0 while nobody listens."""
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"http://127.0.0.1:{self.port}/", headers=headers) as answer,
            ):
                return answer.status
        except (OSError, aiohttp.ClientError):
            return 0

    async def answers(self, status: int, token: str = "", **headers: str) -> None:
        """Wait until such a request is answered so."""

        async def check() -> bool:
            return await self.status(token, **headers) == status

        await self._eventually(check, WITHIN, f"{status} for {token or 'no token'}; {self.proxy.log}")

    async def says(self, *codes: str) -> None:
        """Wait until the findings have these codes and no others."""

        async def check() -> bool:
            return [finding["code"] for finding in await self.plane.view("findings")] == list(codes)

        await self._eventually(check, WITHIN, f"findings {codes}")

    async def nothing_refused(self) -> None:
        """The proxy took all that it was ever sent."""
        assert await self.proxy.refused() == {}


@pytest.fixture
async def scene(mesh: Any, istiod: Any, run_envoy: Any, variant: str, issuer: Issuer, eventually: Any) -> Scene:
    """A gateway that takes tokens of the issuer, which is still down."""
    (port,) = free_ports(1)
    issuer.down = True
    mesh.write("gateway.yaml", GATEWAY.format(port=port))
    mesh.write("jwt.yaml", POLICY.format(rule=f"jwksUri: 'http://127.0.0.1:{issuer.port}/keys'"))
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config), key_refresh="0.2")

    def gateway(directory: Path) -> dict[str, Any]:
        bootstrap = plaintext_sidecar(directory, plane.xds_port, variant == "sotw")
        node = bootstrap["node"]
        node["id"] = node["id"].replace("sidecar~", "router~")
        node["metadata"]["LABELS"] = {"istio": "in"}
        return bootstrap

    made = Scene(mesh, plane, run_envoy(gateway), port, eventually)
    await made.answers(232)
    return made


async def test_keys_of_an_issuer(scene: Scene, issuer: Issuer) -> None:
    old, new = Key("old"), Key("new")
    issuer.keys = [old]
    await scene.says("KeysUnavailable")
    assert await scene.status(old.token()) == 401
    issuer.down = False
    await scene.answers(233, old.token())
    await scene.says()
    assert await scene.status(new.token()) == 401
    assert await scene.status(old.token(iss="stranger")) == 401
    assert await scene.status(old.token(exp=1)) == 401
    issuer.keys = [new]
    await scene.answers(233, new.token())
    assert await scene.status(old.token()) == 401
    issuer.down = True
    await scene.says("KeysNotRefreshed")
    assert await scene.status(new.token()) == 233
    await scene.nothing_refused()


async def test_control_plane_without_keys_takes_no_tokens(scene: Scene, issuer: Issuer) -> None:
    key = Key("only")
    issuer.keys, issuer.down = [key], False
    await scene.answers(233, key.token())
    issuer.down = True
    scene.plane.stop()
    assert await scene.status(key.token()) == 233
    await scene.plane.start()
    await scene.answers(401, key.token())
    assert await scene.status() == 232
    scene.plane.stop()
    issuer.down = False
    await scene.plane.start()
    await scene.answers(233, key.token())
    await scene.nothing_refused()


async def test_restart_does_not_cost_tokens(scene: Scene, issuer: Issuer, eventually: Any) -> None:
    """A control plane serves nothing before it has asked the issuers: a proxy never sees their keys go."""
    key = Key("only")
    issuer.keys, issuer.down = [key], False
    await scene.answers(233, key.token())
    before = await scene.proxy.stats("listener_modified$")
    scene.plane.stop()
    issuer.free.clear()
    asked = issuer.asked
    starting = asyncio.create_task(scene.plane.start())

    async def asks() -> bool:
        return issuer.asked > asked

    await eventually(asks, WITHIN, "the issuer is asked")
    done, _ = await asyncio.wait([starting], timeout=1.0)
    assert not done, "it serves though it does not know the keys"
    issuer.free.set()
    await starting

    async def connected() -> bool:
        return len(await scene.plane.view("syncz")) == 1

    await eventually(connected, WITHIN, "the proxy is back")
    assert await scene.status(key.token()) == 233
    after = await scene.proxy.stats("listener_modified$")
    assert after["listener_manager.listener_modified"] == before["listener_manager.listener_modified"]


async def test_routes_by_claims(scene: Scene, issuer: Issuer) -> None:
    key = Key("only")
    issuer.keys, issuer.down = [key], False
    await scene.answers(230, key.token(groups=["dev", "admin"]))
    assert await scene.status(key.token(groups="admin")) == 230
    assert await scene.status(key.token(groups=["dev"])) == 233
    assert await scene.status(key.token(org={"team": "blue"})) == 231
    assert await scene.status(key.token(org={"team": "red"})) == 233
    assert await scene.status() == 232
    # A header of that name says nothing about who asks.
    assert await scene.status(**{"@request.auth.claims.groups": "admin"}) in (232, 400)
    await scene.nothing_refused()


async def test_broken_policy_refuses_everything(scene: Scene, issuer: Issuer) -> None:
    key = Key("only")
    given = json.dumps({"keys": [key.public()]})
    scene.mesh.write("jwt.yaml", POLICY.format(rule=f"jwks: '{given}'"))
    await scene.answers(233, key.token())
    scene.mesh.write("jwt.yaml", POLICY.format(rule=f"jwks: '{given}', audience: [shop]"))
    await scene.answers(401)
    assert await scene.status(key.token()) == 401
    assert await scene.status(origin="https://a.com") == 401
    scene.mesh.write("jwt.yaml", POLICY.format(rule=f"jwks: '{given}'"))
    await scene.answers(232)
    await scene.nothing_refused()


async def test_set_without_good_keys_takes_no_tokens(scene: Scene) -> None:
    """Envoy would refuse such a set, and with it the whole listener."""
    key = Key("only")
    scene.mesh.write("jwt.yaml", POLICY.format(rule="""jwks: '{"keys":[{"kty":"EC","x":"AA","y":"AA"}]}'"""))
    await scene.says("NoKeys")
    await scene.answers(401, key.token())
    assert await scene.status() == 232
    await scene.nothing_refused()


def test_envoy_takes_every_key_that_counts_as_good(tmp_path: Path) -> None:
    providers = tuple(JwtProvider("me", parse_key_set(json.dumps({"keys": [key]})).keys) for key in GOOD.values())
    assert all(provider.keys for provider in providers)
    handler = HttpConnection("x", RouteConfigSpec("r", ()), Direction.INBOUND, jwt=JwtSpec(providers))
    spec = ListenerSpec("x", "127.0.0.1", 0, Direction.INBOUND, (FilterChainSpec("x", MATCH_ALL, handler),))
    bootstrap = {"static_resources": {"listeners": [MessageToDict(listener(spec))]}}
    (tmp_path / "bootstrap.json").write_text(json.dumps(bootstrap))
    command = [Path(sys.executable).parent / "envoy", "--mode", "validate", "-c", tmp_path / "bootstrap.json"]
    judged = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode == 0, judged.stderr[-3000:]
