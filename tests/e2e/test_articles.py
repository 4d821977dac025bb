"""The example `articles`, as docs/articles.md walks through it: every file applied, its promise seen, taken away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import pytest

from federation.lab.examples import example_config, write_example
from federation.lab.report import LoadReport
from tests.e2e.conftest import Mesh, running

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]
REVIEWS, PAYMENTS = "http://reviews.demo:8080/", "http://payments.demo:8080/"


@pytest.fixture(scope="module")
def articles(machine: None) -> Iterator[Mesh]:
    with asyncio.Runner() as runner:
        lab = running(example_config("articles"), (REVIEWS, PAYMENTS))
        mesh = runner.run(lab.__aenter__())
        write_example("articles", mesh.lab.files.example)
        yield mesh
        runner.run(lab.__aexit__(None, None, None))


@asynccontextmanager
async def applied(mesh: Mesh, name: str, *clusters: str) -> AsyncIterator[None]:
    """One file of the example, as long as it lasts."""
    file = mesh.lab.files.example / f"{name}.yaml"
    for done in await mesh.lab.apply([file], clusters):
        assert (done.changed, done.findings) == (True, ())
    try:
        yield
    finally:
        assert all(done.changed for done in await mesh.lab.delete([file], clusters))


async def load(mesh: Mesh, rps: float, seconds: float, **headers: str) -> LoadReport:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return await mesh.lab.load("east/client", REVIEWS, rps, seconds, headers=said)


async def answers(mesh: Mesh, headers: Mapping[str, str], count: int = 1) -> list[tuple[int, str]]:
    found = await mesh.lab.call("east/client", REVIEWS, count, headers=headers)
    return [(exchange.status, exchange.pod) for exchange in found]


async def test_canary(articles: Mesh) -> None:
    async with applied(articles, "canary"):
        report = await load(articles, 200, 5)
    assert report.failed == 0
    assert 0.05 < report.pods["east/reviews-v2"] / report.requests < 0.15


async def test_header_routing(articles: Mesh) -> None:
    async with applied(articles, "header-routing"):
        assert await answers(articles, {}, 4) == [(200, "reviews-v1")] * 4
        assert await answers(articles, {"end-user": "jason"}, 4) == [(200, "reviews-v2")] * 4
        assert await answers(articles, {"cookie": "a=b; version=v2"}, 2) == [(200, "reviews-v2")] * 2


async def test_circuit_breaker_trips_and_recovers(articles: Mesh) -> None:
    async with applied(articles, "circuit-breaker"):
        tripped = await load(articles, 50, 3, x_delay_ms="200")
        assert tripped.ok < tripped.requests / 2
        assert all(failure.cause.startswith("status 503") for failure in tripped.failures)
        recovered = await load(articles, 2, 3)
        assert recovered.failed == 0


async def test_fault_injection(articles: Mesh) -> None:
    async with applied(articles, "fault-injection"):
        (slow,) = await articles.lab.call("east/client", REVIEWS, headers={"end-user": "jason"})
        assert (slow.status, slow.latency >= 2) == (200, True)
        tester = await load(articles, 50, 3, end_user="tester")
        assert {failure.cause.split(":")[0] for failure in tester.failures} == {"status 555"}
        assert 0.3 < tester.failed / tester.requests < 0.7
        assert (await load(articles, 20, 1)).failed == 0


async def test_mirror(articles: Mesh) -> None:
    async with applied(articles, "mirror"):
        assert await answers(articles, {}, 10) == [(200, "reviews-v1")] * 10
        log = articles.lab.logs("east/reviews-v2:sidecar")["east/reviews-v2:sidecar"]

        async def logged() -> bool:
            return log.read_text().count("-shadow") >= 10

        await articles.until(logged, "ten copies in the log of reviews-v2's sidecar")


async def test_jwt_required(articles: Mesh) -> None:
    async with applied(articles, "jwt"):

        async def status(file: str) -> int:
            token = (articles.lab.files.example / file).read_text().strip()
            return (await answers(articles, {"authorization": f"Bearer {token}"}))[0][0]

        assert (await answers(articles, {}))[0][0] == 403
        assert [await status(file) for file in ("token", "token-expired", "token-forged")] == [200, 401, 401]
    assert (await answers(articles, {}))[0][0] == 200


async def test_deny_by_identity_across_clusters(articles: Mesh) -> None:
    async def status(client: str) -> int:
        return (await articles.call(PAYMENTS, client))[0].status

    assert [await status("east/client"), await status("west/client")] == [200, 200]
    async with applied(articles, "deny-by-identity", "west"):
        assert [await status("east/client"), await status("west/client")] == [403, 200]
    assert await status("east/client") == 200


async def test_what_is_wrong_is_said(articles: Mesh) -> None:
    file = articles.lab.files.example / "wrong.yaml"
    file.write_text((articles.lab.files.example / "canary.yaml").read_text().replace("weight: 90", "weigth: 90"))
    done = await articles.lab.apply([file], ["east"])
    assert [(one.code, one.path) for one in done[0].findings] == [("UnknownField", "spec.http[0].route[0].weigth")]
    assert not (await articles.lab.apply([file], ["east"]))[0].changed
    await articles.lab.delete([file], ["east"])
