"""Small HTTP listeners of a process: health that names what it waits for, Prometheus metrics, on TCP or a socket file.

Owns sockets and these two answers. What else is shown is the caller's business.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from federation.runtime.ready import Readiness


def json_response(data: Any, status: int = 200) -> web.Response:
    """Plain data as indented JSON."""
    body = msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=1)
    return web.Response(body=body, status=status, content_type="application/json")


def add_health(app: web.Application, readiness: Readiness) -> None:
    """`/ready` and `/healthz/ready`: 200, or 503 with the names of what is waited for."""

    async def ready(_: web.Request) -> web.Response:
        waiting = readiness.waiting()
        return json_response({"ready": not waiting, "waitingFor": waiting}, 503 if waiting else 200)

    app.router.add_get("/ready", ready)
    app.router.add_get("/healthz/ready", ready)


def add_metrics(app: web.Application) -> None:
    """Prometheus metrics at `/metrics`."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    app.router.add_get("/metrics", metrics)


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Listen; the caller cleans the runner up."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=512).start()
    return runner


async def serve_unix(app: web.Application, path: Path) -> web.AppRunner:
    """Listen on a socket file that only its owner may open; what a process before left there is replaced."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, _bind(path), backlog=512).start()
    return runner


def _bind(path: Path) -> socket.socket:
    """A socket at this path, with its mode right before anybody can connect."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener
