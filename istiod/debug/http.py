"""HTTP of a control plane: health that names what it waits for, metrics, and views of what it knows, all as JSON.

Owns routes and status codes. What is shown comes from callables given at construction, each returning plain data.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from federation.model.errors import InvalidInput
from federation.runtime.ready import Readiness

View = Callable[[], Any]
Query = Callable[[Mapping[str, str]], Any]


def debug_app(readiness: Readiness, views: Mapping[str, View], queries: Mapping[str, Query]) -> web.Application:
    """Health at `/ready` and `/healthz/ready`, each view at `/debug/<name>`, their list at `/debug`.

    `queries` are views that take the parameters of the request; one that raises InvalidInput is answered with 400.
    """

    async def ready(_: web.Request) -> web.Response:
        waiting = readiness.waiting()
        return _json({"ready": not waiting, "waitingFor": waiting}, 503 if waiting else 200)

    async def index(_: web.Request) -> web.Response:
        return _json({"views": [f"/debug/{name}" for name in sorted({*views, *queries})]})

    async def show(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name in views:
            return _json(views[name]())
        if name not in queries:
            return _json({"error": f"no view {name!r}", "views": sorted({*views, *queries})}, 404)
        try:
            return _json(queries[name](request.query))
        except InvalidInput as wrong:
            return _json({"error": "; ".join(finding.message for finding in wrong.findings)}, 400)

    app = web.Application()
    app.router.add_get("/ready", ready)
    app.router.add_get("/healthz/ready", ready)
    app.router.add_get("/debug", index)
    app.router.add_get("/debug/{name}", show)
    return app


def metrics_app() -> web.Application:
    """Prometheus metrics at `/metrics`."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


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
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def _json(data: Any, status: int = 200) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=1)
    return web.Response(body=body, status=status, content_type="application/json")
