"""The lab's sample application: answers every request with who it is and what it saw. Run as `python -m federation.lab.app`.

Request headers steer it: `x-delay` (seconds), `x-status`. `/healthz` says ready; SIGTERM ends it at once, as a plain app would.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiohttp import web


def build(cluster: str, pod: str, zone: str, delay: float) -> web.Application:
    """The application of one pod."""

    async def echo(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.headers.get("x-delay", delay)))
        body = {
            "cluster": cluster,
            "pod": pod,
            "zone": zone,
            "method": request.method,
            "path": request.path_qs,
            "host": request.host,
            "caller": request.headers.get("x-forwarded-client-cert", ""),
        }
        headers = {"x-served-by": f"{cluster}/{pod}"}
        return web.Response(
            text=json.dumps(body) + "\n", status=int(request.headers.get("x-status", 200)), headers=headers,
            content_type="application/json",
        )  # fmt: skip

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ready\n")

    app = web.Application()
    app.router.add_get("/healthz", health)
    app.router.add_route("*", "/{tail:.*}", echo)
    return app


def main() -> None:
    """`python -m federation.lab.app CLUSTER POD ZONE PORT [DELAY]`."""
    cluster, pod, zone, port, *rest = sys.argv[1:]
    app = build(cluster, pod, zone, float(rest[0]) if rest else 0.0)
    web.run_app(app, host="0.0.0.0", port=int(port), print=None, access_log=None, backlog=1024)  # noqa: S104


if __name__ == "__main__":
    main()
