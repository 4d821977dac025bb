"""Keys of issuers reach the snapshot, stay fresh, and outlive an issuer's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName
from federation.runtime.ready import Readiness
from istiod.api.jwks import NO_KEYS, KeySource, parse_key_set
from istiod.api.kinds import Kind
from istiod.api.parse import parse_documents
from istiod.events import Delete, Upsert
from istiod.ingest import Ingest
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.sources import keysets as module
from istiod.sources.keysets import REFRESH_SPREAD, KeySets
from tests.istiod.sources.conftest import Server

ONE = '{"keys":[{"kty":"oct","k":"MQ"}]}'
TWO = '{"keys":[{"kty":"oct","k":"Mg"}]}'
DEADLINE = 5.0
REFRESH_SECONDS = 1200.0


class Clock:
    """Time that passes when the test says so: whoever waits is woken by `pass_one`."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[float, asyncio.Future[None]]] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        await self._waiting.put((seconds, woken))
        await woken

    async def pass_one(self) -> float:
        """Wake the next who waits, as soon as one does; the seconds that it wanted to wait."""
        async with asyncio.timeout(DEADLINE):
            while True:
                seconds, woken = await self._waiting.get()
                if not woken.done():
                    woken.set_result(None)
                    return seconds


class World:
    """A control plane's tables with policies in them, and the service that fetches keys for them."""

    def __init__(self) -> None:
        self.ingest = Ingest(SnapshotBuilder(Place("c", "n", "cluster.local")), [], Readiness())
        self.clock = Clock()
        self.keys = KeySets(self.ingest.snapshots, self.ingest.emit, REFRESH_SECONDS, self.clock.sleep)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.start("ingest", self.ingest.run)

    def start(self, name: str, run: Callable[[], Any]) -> None:
        self._tasks[name] = asyncio.create_task(run())

    async def stop(self, *names: str) -> None:
        tasks = [self._tasks.pop(name) for name in names or tuple(self._tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def policy(self, name: str, rules: str) -> None:
        text = (
            f"apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n"
            f"metadata: {{name: {name}, namespace: apps}}\nspec: {{jwtRules: [{rules}]}}\n"
        )
        parsed = parse_documents(text, "f")
        assert not parsed.findings
        self.ingest.emit([Upsert(Kind(item.kind), item.meta.key, item) for item in parsed.objects])

    def without(self, name: str) -> None:
        self.ingest.emit([Delete(Kind.REQUEST_AUTHENTICATION, NamespacedName("apps", name))])

    async def until(self, holds: Callable[[Snapshot], bool]) -> Snapshot:
        """The first snapshot from now on for which this holds."""
        async with asyncio.timeout(DEADLINE):
            async for snapshot in self.ingest.snapshots.changes():
                if holds(snapshot):
                    return snapshot
        raise AssertionError

    async def has(self, source: KeySource, keys: str | None) -> Snapshot:
        """Wait until the table has this key set for a source; None = no row, "" = a row without keys."""
        wanted = None if keys is None else NO_KEYS if not keys else parse_key_set(keys)
        return await self.until(lambda snapshot: snapshot.tables.get(Kind.KEY_SETS, {}).get(source.key) == wanted)

    async def says(self, *codes: str) -> tuple[Finding, ...]:
        """Wait until there are findings with these codes and no others."""
        found = await self.until(lambda snapshot: [finding.code for finding in snapshot.findings] == list(codes))
        return found.findings


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.start("keys", made.keys.run)
    yield made
    await made.stop()


async def test_keys_come_and_are_asked_for_again(world: World, server: Server) -> None:
    source = KeySource(server.url("/keys"))
    server.text("/keys", ONE)
    world.policy("jwt", f"{{issuer: me, jwksUri: '{source.uri}'}}")
    assert (await world.has(source, ONE)).findings == ()
    server.text("/keys", TWO)
    seconds = await world.clock.pass_one()
    assert REFRESH_SECONDS * (1 - REFRESH_SPREAD) <= seconds <= REFRESH_SECONDS * (1 + REFRESH_SPREAD)
    await world.has(source, TWO)
    await world.clock.pass_one()
    assert server.asked == ["/keys"] * 2


async def test_keys_of_an_issuer(world: World, server: Server) -> None:
    server.text("/.well-known/openid-configuration", f'{{"jwks_uri": "{server.url("/keys")}"}}')
    server.text("/keys", ONE)
    world.policy("jwt", f"{{issuer: '{server.url()}'}}")
    await world.has(KeySource(server.url(), discovery=True), ONE)


async def test_issuer_in_trouble(world: World, server: Server) -> None:
    source = KeySource(server.url("/keys"))
    world.policy("jwt", f"{{issuer: me, jwks: '{ONE}'}}, {{issuer: me, jwksUri: '{source.uri}'}}")
    await world.has(source, "")
    (finding,) = await world.says("KeysUnavailable")
    assert finding.severity is Severity.ERROR
    assert (finding.object, finding.path) == ("RequestAuthentication apps/jwt", "spec.jwtRules[1].jwksUri")
    assert finding.message == f"keys of {source.uri} cannot be fetched: answers 404; its tokens are refused"
    server.text("/keys", "garbage")
    await world.clock.pass_one()
    await world.until(lambda snapshot: "the answer is no JSON" in snapshot.findings[0].message)
    server.text("/keys", ONE)
    await world.clock.pass_one()
    await world.has(source, ONE)
    await world.says()


async def test_pauses_grow_and_are_bounded(world: World, server: Server) -> None:
    world.policy("jwt", f"{{issuer: me, jwksUri: '{server.url('/keys')}'}}")
    pauses = [await world.clock.pass_one() for _ in range(12)]
    assert pauses[0] <= 1.0
    assert max(pauses) <= 60.0
    assert min(pauses) >= 0.5
    assert max(pauses[6:]) > 2.0
    assert server.asked == ["/keys"] * 12


async def test_last_good_keys_stay(world: World, server: Server) -> None:
    source = KeySource(server.url("/keys"))
    server.text("/keys", ONE)
    world.policy("jwt", f"{{issuer: me, jwksUri: '{source.uri}'}}")
    await world.has(source, ONE)
    server.text("/keys", "", 503)
    await world.clock.pass_one()
    (finding,) = await world.says("KeysNotRefreshed")
    assert finding.severity is Severity.WARNING
    assert finding.message.endswith("cannot be fetched: answers 503; those known so far are used")
    await world.has(source, ONE)
    server.text("/keys", TWO)
    await world.clock.pass_one()
    await world.has(source, TWO)
    await world.says()


async def test_nobody_is_asked_in_vain(world: World, server: Server) -> None:
    kept, gone = KeySource(server.url("/kept")), KeySource(server.url("/gone"))
    server.text("/kept", ONE)
    world.policy("one", f"{{issuer: a, jwksUri: '{kept.uri}'}}")
    world.policy("two", f"{{issuer: b, jwksUri: '{kept.uri}'}}, {{issuer: c, jwksUri: '{gone.uri}'}}")
    await world.has(kept, ONE)
    await world.has(gone, "")
    world.without("two")
    await world.has(gone, None)
    await world.says()
    await world.clock.pass_one()
    assert sorted(server.asked) == ["/gone", "/kept"]
    server.text("/gone", TWO)
    world.policy("two", f"{{issuer: c, jwksUri: '{gone.uri}'}}")
    await world.has(gone, TWO)


async def test_awaited_keys_are_said(world: World, server: Server) -> None:
    answered = asyncio.Event()

    async def slowly(_: web.Request) -> web.Response:
        await answered.wait()
        return web.Response(text=ONE)

    server.answers["/keys"] = slowly
    source = KeySource(server.url("/keys"))
    world.policy("jwt", f"{{issuer: me, jwksUri: '{source.uri}'}}")
    (finding,) = await world.says("KeysAwaited")
    assert finding.message == f"keys of {source.uri} have been asked for; until they come, its tokens are refused"
    first = asyncio.create_task(world.keys.first_answers())
    done, _ = await asyncio.wait([first], timeout=0.05)
    assert not done
    answered.set()
    await world.has(source, ONE)
    await asyncio.wait_for(first, DEADLINE)


async def test_first_answers_are_not_waited_for_long(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(module, "FIRST_ANSWERS_SECONDS", 0.05)
    server.answers["/keys"] = never
    world.policy("jwt", f"{{issuer: me, jwksUri: '{server.url('/keys')}'}}")
    await world.says("KeysAwaited")
    await asyncio.wait_for(world.keys.first_answers(), DEADLINE)


async def test_failure_is_a_first_answer_too(world: World, server: Server) -> None:
    world.policy("jwt", f"{{issuer: me, jwksUri: '{server.url('/keys')}'}}")
    await world.says("KeysUnavailable")
    await asyncio.wait_for(world.keys.first_answers(), DEADLINE)


async def test_timeout_of_the_rule(world: World, server: Server) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    server.answers["/keys"] = never
    world.policy("jwt", f"{{issuer: me, jwksUri: '{server.url('/keys')}', timeout: 50ms}}")
    (finding,) = await world.says("KeysUnavailable")
    assert "no answer within 0.05 s" in finding.message


async def test_password_is_not_shown(world: World, server: Server) -> None:
    uri = server.url("/keys").replace("://", "://user:hush@")
    world.policy("jwt", f"{{issuer: me, jwksUri: '{uri}'}}")
    (finding,) = await world.says("KeysUnavailable")
    assert "hush" not in str(finding)
    assert server.url("/keys") in finding.message


async def test_starting_again_loses_nothing(world: World, server: Server) -> None:
    kept, gone = KeySource(server.url("/kept")), KeySource(server.url("/gone"))
    for path in ("/kept", "/gone"):
        server.text(path, ONE)
    world.policy("jwt", f"{{issuer: a, jwksUri: '{kept.uri}'}}, {{issuer: c, jwksUri: '{gone.uri}'}}")
    await world.has(kept, ONE)
    await world.has(gone, ONE)
    await world.stop("keys")
    server.text("/kept", "", 500)
    world.policy("jwt", f"{{issuer: a, jwksUri: '{kept.uri}'}}")
    world.start("keys", world.keys.run)
    await world.says("KeysNotRefreshed")
    await world.has(kept, ONE)
    await world.has(gone, None)
