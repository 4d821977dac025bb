"""HTTP of a control plane: health that names what it waits for, metrics, and views of what it knows, all as JSON.

Owns routes and status codes. What is shown comes from callables given at construction, each returning plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from federation.runtime.ready import Readiness

View = Callable[[], Any]


def debug_app(readiness: Readiness, views: Mapping[str, View]) -> web.Application:
    """Health at `/ready` and `/healthz/ready`, each view at `/debug/<name>`, their list at `/debug`."""

    async def ready(_: web.Request) -> web.Response:
        waiting = readiness.waiting()
        return _json({"ready": not waiting, "waitingFor": waiting}, 503 if waiting else 200)

    async def index(_: web.Request) -> web.Response:
        return _json({"views": [f"/debug/{name}" for name in sorted(views)]})

    async def show(request: web.Request) -> web.Response:
        view = views.get(request.match_info["name"])
        if view is None:
            return _json({"error": f"no view {request.match_info['name']!r}", "views": sorted(views)}, 404)
        return _json(view())

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


def _json(data: Any, status: int = 200) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=1)
    return web.Response(body=body, status=status, content_type="application/json")
