"""Patches of users in a real Envoy: they come, do what they say, and go again."""

from __future__ import annotations

import json
from typing import Any

import pytest

LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
LIMIT = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
BEFORE_ROUTER = {
    "context": "SIDECAR_OUTBOUND",
    "listener": {
        "filterChain": {
            "filter": {
                "name": "envoy.filters.network.http_connection_manager",
                "subFilter": {"name": "envoy.filters.http.router"},
            }
        }
    },
}


def marking(mark: str) -> dict[str, Any]:
    """A Lua filter's configuration that marks every answer."""
    code = f"function envoy_on_response(handle) handle:headers():add('x-mark', '{mark}') end"
    return {"@type": LUA, "default_source_code": {"inline_string": code}}


class Scene:
    """A sidecar that dials service `a` on loopback, with its control plane."""

    def __init__(self, mesh: Any, plane: Any, proxy: Any, eventually: Any) -> None:
        self.mesh, self.plane, self.proxy, self.eventually = mesh, plane, proxy, eventually

    def patch(self, *patches: dict[str, Any], name: str = "patches") -> None:
        """Write one EnvoyFilter."""
        document = {
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": name, "namespace": "apps"},
            "spec": {"configPatches": list(patches)},
        }
        self.mesh.write(f"{name}.yaml", json.dumps(document))

    async def ask(self) -> tuple[int, str]:
        """Status of an answer, and its mark."""
        status, _, mark = await self.proxy.get(self.mesh.port, f"a.test:{self.mesh.port}")
        return status, mark

    async def answers(self, status: int, mark: str, within: float = 3.0) -> None:
        """Wait until service `a` answers like this."""

        async def check() -> bool:
            return await self.ask() == (status, mark)

        await self.eventually(check, within, f"a answers {status} with mark {mark!r}")

    async def findings(self, *codes: str) -> None:
        """Wait until these are the codes of what is said of EnvoyFilters."""

        async def check() -> bool:
            found = await self.plane.view("findings")
            return sorted(one["code"] for one in found if one["object"].startswith("EnvoyFilter")) == sorted(codes)

        await self.eventually(check, 3, f"the findings are {codes}")

    async def nothing_refused(self) -> None:
        """The proxy took all that it was ever sent."""
        assert await self.proxy.refused() == {}
        for kind in ("cds", "eds", "lds", "rds", "ecds"):
            assert await self.plane.metric("pilot_total_xds_rejects_total", type=kind) == 0


@pytest.fixture
async def scene(mesh: Any, istiod: Any, envoy: Any, backends: Any, eventually: Any) -> Scene:
    """Service `a`, called through an Envoy that has its configuration."""
    mesh.listen()
    mesh.service("a", await backends("one"))
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))
    made = Scene(mesh, plane, envoy(plane.xds_port), eventually)
    await made.answers(200, "", within=30)  # the start of two processes, on whatever machine
    return made


def insert(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """A patch that puts an HTTP filter before the router."""
    value = {"name": name, "typed_config": config}
    return {"applyTo": "HTTP_FILTER", "match": BEFORE_ROUTER, "patch": {"operation": "INSERT_BEFORE", "value": value}}


async def test_a_filter_comes_changes_and_goes(scene: Scene) -> None:
    scene.patch(insert("envoy.filters.http.lua", marking("first")))
    await scene.answers(200, "first")
    scene.patch(insert("envoy.filters.http.lua", marking("second")))
    await scene.answers(200, "second")
    await scene.findings()
    scene.mesh.remove("patches.yaml")
    await scene.answers(200, "")
    await scene.nothing_refused()


async def test_too_many_requests_are_refused(scene: Scene) -> None:
    bucket = {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limit = {
        "@type": LIMIT,
        "stat_prefix": "limit",
        "token_bucket": bucket,
        "filter_enabled": always,
        "filter_enforced": always,
    }
    scene.patch(insert("envoy.filters.http.local_ratelimit", limit))
    await scene.answers(429, "")
    scene.mesh.remove("patches.yaml")
    await scene.answers(200, "")
    await scene.nothing_refused()


async def test_routes_and_upstreams(scene: Scene) -> None:
    route = {"name": "health", "match": {"path": "/"}, "direct_response": {"status": 418}}
    scene.patch(
        {"applyTo": "HTTP_ROUTE", "match": {"routeConfiguration": {"vhost": {"domainName": "a.test"}}},
         "patch": {"operation": "INSERT_FIRST", "value": route}},
        {"applyTo": "CLUSTER", "match": {"cluster": {"service": "a.test"}},
         "patch": {"operation": "MERGE", "value": {"connect_timeout": "7s"}}},
        {"applyTo": "CLUSTER",
         "patch": {"operation": "ADD", "value": {"name": "added", "type": "STATIC", "connect_timeout": "1s"}}},
    )  # fmt: skip
    await scene.answers(418, "")

    async def taken() -> bool:
        found = await scene.proxy.admin("/config_dump?resource=dynamic_active_clusters")
        timeouts = {
            item["cluster"]["name"]: item["cluster"]["connect_timeout"] for item in (found or {}).get("configs", ())
        }
        return timeouts.get(scene.mesh.upstream("a")) == "7s" and timeouts.get("added") == "1s"

    await scene.eventually(taken, 3, "the upstreams are patched")
    await scene.nothing_refused()


async def test_an_extension_is_discovered(scene: Scene) -> None:
    def extension(mark: str) -> dict[str, Any]:
        value = {"name": "marker", "typed_config": marking(mark)}
        return {"applyTo": "EXTENSION_CONFIG", "patch": {"operation": "ADD", "value": value}}

    discovered = {
        "name": "marker",
        "config_discovery": {"config_source": {"ads": {}, "resource_api_version": "V3"}, "type_urls": [LUA]},
    }
    user = {
        "applyTo": "HTTP_FILTER",
        "match": BEFORE_ROUTER,
        "patch": {"operation": "INSERT_BEFORE", "value": discovered},
    }
    scene.patch(user, extension("first"))
    await scene.answers(200, "first", within=10)
    scene.patch(user, extension("second"))
    await scene.answers(200, "second")
    await scene.findings()
    await scene.nothing_refused()


async def test_what_is_wrong_is_told_and_not_sent(scene: Scene) -> None:
    scene.patch(
        insert("envoy.filters.http.lua", marking("kept")),
        insert("x", {"@type": LUA + "2"}),
        {"applyTo": "CLUSTER", "patch": {"operation": "MERGE", "value": {"lb_policy": "BEST"}}},
        {"applyTo": "CLUSTER", "match": {"cluster": {"service": "nobody.test"}},
         "patch": {"operation": "MERGE", "value": {"connect_timeout": "1s"}}},
    )  # fmt: skip
    await scene.answers(200, "kept")
    await scene.findings("UnknownType", "InvalidValue", "PatchMatchesNothing")
    await scene.nothing_refused()


async def test_only_proxies_that_match_are_patched(scene: Scene) -> None:
    proxy = {"context": "SIDECAR_OUTBOUND", "proxy": {"metadata": {"CLUSTER_ID": "elsewhere"}}}
    patch = insert("envoy.filters.http.lua", marking("no"))
    scene.patch({**patch, "match": {**BEFORE_ROUTER, **proxy}}, name="elsewhere")
    proxy["proxy"] = {"metadata": {"CLUSTER_ID": "c"}}
    scene.patch({**patch, "match": {**BEFORE_ROUTER, **proxy}}, name="here")
    await scene.answers(200, "no")
    scene.mesh.remove("here.yaml")
    await scene.answers(200, "")
    await scene.findings()
