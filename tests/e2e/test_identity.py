"""Who is who, end to end: callers are known across clusters, and nobody can be somebody else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from federation.bootstrap import TOKEN_SDS_FILE
from federation.lab import netns, probe
from federation.lab.capture import PROXY_UID
from federation.lab.clusters import find_program
from federation.pki.bundle import load_authority
from federation.pki.issue import sign_workload
from federation.pki.keys import encode_key, generate_key

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]
REMOTE = "http://only-west.demo:8080/"


async def test_the_callee_sees_the_caller_across_clusters(mesh: Any) -> None:
    exchange = (await mesh.call(REMOTE))[0]
    assert not exchange.cause
    caller = json.loads(exchange.body)["headers"]["x-forwarded-client-cert"]
    assert "URI=spiffe://east.lab/ns/demo/sa/client" in caller
    assert "By=spiffe://west.lab/ns/demo/sa/echo" in caller


@pytest.mark.parametrize(
    ("identity", "accepted"),
    [
        ("spiffe://west.lab/ns/demo/sa/client", True),
        ("spiffe://east.lab/ns/demo/sa/client", False),
        ("spiffe://x.west.lab/ns/demo/sa/client", False),
    ],
)
async def test_a_cluster_ca_speaks_for_its_own_trust_domain_alone(
    mesh: Any, tmp_path: Path, identity: str, accepted: bool
) -> None:
    """A leaf signed with west's stolen CA key, shown to a sidecar: its own names pass, the handshake refuses others."""
    context = await asyncio.to_thread(_client_of, mesh.lab.files.member("west").ca, identity, tmp_path)
    echo = mesh.lab.plan().node("west/echo-1")
    place = mesh.lab.plan().netns(mesh.lab.plan().network("net-west"))
    served = await asyncio.to_thread(_get, place, echo.address, 8080, context)
    assert (b"200 OK" in served) is accepted, served[:200]


def _client_of(ca: Path, identity: str, directory: Path) -> ssl.SSLContext:
    authority, roots = load_authority(ca)
    key = generate_key()
    leaf = sign_workload(authority, key.public_key(), identity, timedelta(hours=1), datetime.now(UTC))
    chain, secret = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(leaf + authority.chain_pem)
    secret.write_bytes(encode_key(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=roots.decode())
    context.load_cert_chain(chain, secret)
    context.set_alpn_protocols(["istio-http/1.1", "http/1.1"])  # by this a sidecar knows TLS of the mesh
    return context


def _get(place: str, host: str, port: int, context: ssl.SSLContext) -> bytes:
    """One request from the network itself, where nothing is captured; what came back, or nothing when it was
    refused.
    """
    plug = netns.inside(place, lambda: socket.socket())
    plug.settimeout(5.0)
    try:
        plug.connect((host, port))
        with context.wrap_socket(plug, server_hostname="echo") as encrypted:
            encrypted.sendall(b"GET / HTTP/1.1\r\nhost: echo.demo:8080\r\nconnection: close\r\n\r\n")
            return encrypted.recv(4096)
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        plug.close()


@pytest.mark.parametrize(("account", "served"), [("client", True), ("echo", False)])
async def test_a_sidecar_that_claims_another_account_gets_no_certificate(
    mesh: Any, tmp_path: Path, account: str, served: bool
) -> None:
    with _second_sidecar(mesh, account) as admin:

        async def has_certificate() -> bool:
            code, body = await probe.admin(admin, "/certs")
            return code == 200 and b"spiffe://east.lab/ns/demo/sa/client" in body

        async def was_refused() -> bool:
            log = (mesh.lab.files.directory / "logs/east-istiod.log").read_text()
            return "the proxy claims service account 'echo', its credentials are for 'client'" in log

        async def is_there() -> bool:
            return admin.exists()

        await mesh.until(is_there, "Envoy runs")
        await mesh.until(has_certificate if served else was_refused, "istiod has decided")
        assert await has_certificate() is served


@contextmanager
def _second_sidecar(mesh: Any, account: str) -> Iterator[Path]:
    """Another Envoy in the client's pod, with the pod's token and an account of its own choice; its admin socket."""
    files, node = mesh.lab.files, mesh.lab.plan().node("east/client")
    directory = files.directory / f"claim-{account}"
    directory.mkdir()
    os.chown(directory, PROXY_UID, PROXY_UID)
    bootstrap = json.loads((files.pod(node) / "bootstrap.json").read_text())
    bootstrap["node"]["metadata"]["SERVICE_ACCOUNT"] = account
    bootstrap["admin"]["address"]["pipe"]["path"] = str(directory / "admin.sock")
    bootstrap["static_resources"]["listeners"] = []
    (directory / "bootstrap.json").write_text(json.dumps(bootstrap))
    assert (files.pod(node) / TOKEN_SDS_FILE).exists()
    command = [find_program("envoy"), "-c", str(directory / "bootstrap.json"), "--disable-hot-restart", "-l", "off"]
    running = subprocess.Popen(mesh.lab.command_in("east/client", command, PROXY_UID), cwd="/")
    try:
        yield directory / "admin.sock"
    finally:
        running.kill()
        running.wait()
