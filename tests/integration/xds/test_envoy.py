"""A real Envoy follows a real control plane, in both variants of the protocol."""

from __future__ import annotations

from typing import Any

import pytest

TYPES = ("cds", "eds", "lds", "rds")


class Scene:
    """A sidecar that dials services on loopback, with its control plane."""

    def __init__(self, mesh: Any, plane: Any, proxy: Any, eventually: Any) -> None:
        self.mesh, self.plane, self.proxy, self.eventually = mesh, plane, proxy, eventually

    async def get(self, name: str) -> tuple[int, str, str]:
        """One request to a service through the proxy."""
        answer: tuple[int, str, str] = await self.proxy.get(self.mesh.port, f"{name}.test:{self.mesh.port}")
        return answer

    async def answers(self, name: str, *expected: Any, within: float = 1.0) -> None:
        """Wait until a service answers like this."""

        async def check() -> bool:
            return (await self.get(name))[: len(expected)] == expected

        await self.eventually(check, within, f"{name} answers {expected}")

    async def has_hosts(self, name: str, ports: set[int] | None, within: float = 1.0) -> None:
        """Wait until the upstream of a service has these hosts, or is no more."""

        async def check() -> bool:
            return bool(await self.proxy.hosts(self.mesh.upstream(name)) == ports)

        await self.eventually(check, within, f"{name} has hosts {ports}")

    async def synced(self, within: float = 2.0) -> dict[str, Any]:
        """Wait until the proxy has acknowledged everything of every type; its status."""

        async def check() -> Any:
            found = await self.plane.view("syncz")
            done = len(found) == 1 and len(found[0]["types"]) == len(TYPES)
            return done and not any(item["pending"] for item in found[0]["types"]) and found[0]

        status: dict[str, Any] = await self.eventually(check, within, "the proxy is synced")
        return status

    async def pushes(self) -> dict[str, float]:
        """Responses that this control plane has sent, by type."""
        return {kind: await self.plane.metric("pilot_xds_pushes_total", type=kind) for kind in TYPES}

    async def modified(self) -> dict[str, int]:
        """How often the proxy had to replace something that it had."""
        found: dict[str, int] = await self.proxy.stats("cluster_modified$|cluster_removed$|listener_modified$")
        return found

    async def nothing_refused(self) -> None:
        """The proxy took all that it was ever sent."""
        assert await self.proxy.refused() == {}
        for kind in TYPES:
            assert await self.plane.metric("pilot_total_xds_rejects_total", type=kind) == 0


@pytest.fixture
async def scene(mesh: Any, istiod: Any, envoy: Any, backends: Any, eventually: Any) -> Scene:
    """Service `a` with one endpoint and a rule, called through an Envoy that has its configuration."""
    mesh.listen()
    mesh.service("a", await backends("one"))
    mesh.rule("a", "first")
    plane = await istiod(mesh.directory, mesh_config=str(mesh.mesh_config))
    made = Scene(mesh, plane, envoy(plane.xds_port), eventually)
    await made.answers("a", 200, "one", "first", within=30)  # the start of two processes, on whatever machine
    await made.synced()
    return made


async def test_changes_are_followed_within_a_second(scene: Scene, backends: Any) -> None:
    two = await backends("two")
    scene.mesh.service("a", two)
    await scene.answers("a", 200, "two", "first")
    await scene.has_hosts("a", {two})
    scene.mesh.rule("a", "second")
    await scene.answers("a", 200, "two", "second")
    await scene.nothing_refused()


async def test_services_come_and_go(scene: Scene, backends: Any) -> None:
    two = await backends("two")
    scene.mesh.service("b", two)
    await scene.answers("b", 200, "two", "")
    scene.mesh.remove("b.yaml")
    await scene.has_hosts("b", None)
    assert (await scene.get("b"))[1] != "two"
    scene.mesh.service("b", two)
    await scene.answers("b", 200, "two", "")
    assert await scene.get("a") == (200, "one", "first")
    await scene.synced()
    await scene.nothing_refused()


async def test_a_changed_upstream_is_warm_at_once(scene: Scene) -> None:
    """Envoy waits for the endpoints of an upstream that it is sent again, though they are the same."""
    before = await scene.modified()
    scene.mesh.destination("a", "3s")

    async def replaced() -> bool:
        return (await scene.modified())["cluster_manager.cluster_modified"] > before["cluster_manager.cluster_modified"]

    await scene.eventually(replaced, 2, "the upstream is replaced")
    await scene.eventually(scene.proxy.settled, 1, "nothing warms")
    await scene.synced(1)
    assert await scene.get("a") == (200, "one", "first")
    await scene.nothing_refused()


async def test_what_is_pushed_is_counted(scene: Scene, backends: Any) -> None:
    before = await scene.pushes()
    rounds = await scene.plane.metric("pilot_proxy_convergence_time_count")
    assert all(before.values())
    assert await scene.plane.metric("pilot_xds") == 1
    scene.mesh.service("a", await backends("two"))
    await scene.answers("a", 200, "two")
    await scene.synced()
    after = await scene.pushes()
    assert {kind: after[kind] - before[kind] for kind in TYPES} == {"cds": 0, "eds": 1, "lds": 0, "rds": 0}
    assert await scene.plane.metric("pilot_proxy_convergence_time_count") == rounds + 1
    assert 0 < await scene.plane.metric("pilot_proxy_convergence_time_sum") < 1


async def test_a_new_control_plane_replaces_nothing_that_did_not_change(scene: Scene, variant: str) -> None:
    before = await scene.modified()
    scene.plane.stop()
    assert await scene.get("a") == (200, "one", "first")
    await scene.plane.start()
    await scene.synced(10)
    if variant == "delta":
        assert await scene.pushes() == dict.fromkeys(TYPES, 0)
    assert await scene.modified() == before
    assert await scene.get("a") == (200, "one", "first")
    await scene.nothing_refused()


async def test_what_changed_meanwhile_comes_from_a_new_control_plane(scene: Scene, backends: Any) -> None:
    two, three = await backends("two"), await backends("three")
    scene.mesh.service("b", two)
    await scene.answers("b", 200, "two")
    scene.plane.stop()
    scene.mesh.remove("b.yaml")
    scene.mesh.service("a", two)
    scene.mesh.destination("a", "3s")
    scene.mesh.service("c", three)
    await scene.plane.start()
    await scene.answers("a", 200, "two", "first", within=10)
    await scene.answers("c", 200, "three")
    await scene.has_hosts("b", None)
    await scene.eventually(scene.proxy.settled, 1, "nothing warms")
    await scene.synced()
    await scene.nothing_refused()
