"""The debug views of a control plane over HTTP, as JSON: what it knows, beside its health.

Owns routes and status codes. What is shown comes from callables given at construction, each returning plain data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from federation.model.errors import InvalidInput
from federation.runtime.http import add_health, add_metrics, json_response
from federation.runtime.ready import Readiness

View = Callable[[], Any]
Query = Callable[[Mapping[str, str]], Any]
Question = Callable[[bytes], Awaitable[Any]]
MAX_QUESTION_BYTES = 4 << 20


def debug_app(
    readiness: Readiness,
    views: Mapping[str, View],
    queries: Mapping[str, Query],
    questions: Mapping[str, Question] | None = None,
) -> web.Application:
    """Health, each view at `/debug/<name>`, their list at `/debug`.

    `queries` are views that take the parameters of the request, `questions` take its body (POST, JSON, up to 4 MiB) and
    change nothing either; one that raises InvalidInput is answered with 400.
    """
    asked = questions or {}

    async def index(_: web.Request) -> web.Response:
        return json_response({"views": [f"/debug/{name}" for name in sorted({*views, *queries, *asked})]})

    async def show(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name in views:
            return json_response(views[name]())
        if name not in queries:
            return json_response({"error": f"no view {name!r}", "views": sorted({*views, *queries})}, 404)
        try:
            return json_response(queries[name](request.query))
        except InvalidInput as wrong:
            return _refused(wrong)

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in asked:
            return json_response({"error": f"nothing to ask at {name!r}", "views": sorted(asked)}, 404)
        if request.content_type != "application/json":  # which no page of another site may send
            return json_response({"error": "the body has to be application/json"}, 415)
        try:
            return json_response(await asked[name](await request.read()))
        except InvalidInput as wrong:
            return _refused(wrong)

    app = web.Application(client_max_size=MAX_QUESTION_BYTES)
    add_health(app, readiness)
    app.router.add_get("/debug", index)
    app.router.add_get("/debug/{name}", show)
    app.router.add_post("/debug/{name}", answer)
    return app


def _refused(wrong: InvalidInput) -> web.Response:
    return json_response({"error": "; ".join(finding.message for finding in wrong.findings)}, 400)


def metrics_app() -> web.Application:
    """Prometheus metrics at `/metrics`."""
    app = web.Application()
    add_metrics(app)
    return app
