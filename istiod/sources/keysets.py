"""The keys of token issuers as a source: fetched for as long as a RequestAuthentication of the snapshot asks for them.

Owns when an issuer is asked: at once, again every `refresh` seconds, sooner while it fails. The last good answer stays
in use for as long as this process lives; before there is one, the row in the table holds no keys, so that no token of
the issuer is taken. How an issuer is asked is told by `istiod.sources.issuer`, what is done with keys by
`istiod.resolve`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential
from yarl import URL

from federation.model.errors import Unavailable
from federation.model.findings import Finding, Severity
from federation.runtime.latest import Latest
from istiod.api.jwks import NO_KEYS, KeySet, KeySource
from istiod.api.kinds import Kind
from istiod.events import Delete, Event, Findings, Upsert
from istiod.resolve.jwt import KeyUse, wanted_keys
from istiod.snapshot import Snapshot
from istiod.sources.issuer import fetch_keys, open_session

log = structlog.get_logger("keysets")

SOURCE = "keysets"
REFRESH_SPREAD = 0.1  # of the time, so that an issuer is not asked by all control planes at once
FIRST_ANSWERS_SECONDS = 5.0

# An issuer that does not answer is asked again for as long as somebody wants its keys.
RETRY_KEYS = retry_if_exception_type(Unavailable)
RETRY_WAIT = wait_random_exponential(multiplier=1.0, min=0.5, max=60.0)

Sleep = Callable[[float], Awaitable[None]]


class KeySets:
    """Follows `snapshots`; says what it learns by `emit`. `sleep` is waiting, as tests may do it otherwise."""

    def __init__(
        self,
        snapshots: Latest[Snapshot],
        emit: Callable[[Sequence[Event]], None],
        refresh: float,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._snapshots = snapshots
        self._emit = emit
        self._refresh = refresh
        self._sleep = sleep
        self._wanted: dict[KeySource, KeyUse] = {}
        self._known: dict[KeySource, KeySet] = {}
        self._trouble: dict[KeySource, str] = {}
        self._said = Findings(SOURCE, ())
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """Fetch what is wanted until cancelled."""
        tasks: dict[KeySource, asyncio.Task[None]] = {}
        async with open_session() as session, asyncio.TaskGroup() as group:
            async for snapshot in self._snapshots.changes():
                self._wanted = dict(wanted_keys(snapshot))
                for source in (tasks.keys() | self._known.keys()) - self._wanted.keys():
                    if source in tasks:
                        tasks.pop(source).cancel()
                    self._forget(source)
                for source in self._wanted.keys() - tasks.keys():
                    tasks[source] = group.create_task(self._follow(session, source))
                self._report()
                table = snapshot.tables.get(Kind.KEY_SETS, {})
                if all(source.key in table for source in self._wanted):
                    self._answered.set()

    async def first_answers(self) -> None:
        """Wait for a snapshot, and, not for long, until it says something about all keys that it wants.

        A proxy that connects before would be told that nobody's tokens are valid, and that for a moment only.
        """
        await self._snapshots.wait()
        try:
            await asyncio.wait_for(self._answered.wait(), FIRST_ANSWERS_SECONDS)
        except TimeoutError:
            log.warning("keys_late", sources=[_shown(source) for source in self._wanted if source not in self._known])

    async def _follow(self, session: aiohttp.ClientSession, source: KeySource) -> None:
        """Keep one source fresh."""

        async def fetch() -> KeySet:
            return await fetch_keys(session, source, self._wanted[source].timeout)

        def failed(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            self._failed(source, str(error))

        while True:
            retrying = AsyncRetrying(retry=RETRY_KEYS, wait=RETRY_WAIT, sleep=self._sleep, before_sleep=failed)
            self._got(source, await retrying(fetch))
            await self._sleep(self._refresh * random.uniform(1 - REFRESH_SPREAD, 1 + REFRESH_SPREAD))

    def _got(self, source: KeySource, keys: KeySet) -> None:
        self._trouble.pop(source, None)
        self._know(source, keys)
        log.info("keys_fetched", source=_shown(source))

    def _failed(self, source: KeySource, reason: str) -> None:
        if self._trouble.get(source) != reason:
            log.warning("keys_unavailable", source=_shown(source), reason=reason)
        self._trouble[source] = reason
        self._know(source, self._known.get(source, NO_KEYS))

    def _know(self, source: KeySource, keys: KeySet) -> None:
        self._known[source] = keys
        self._emit([Upsert(Kind.KEY_SETS, source.key, keys)])
        self._report()

    def _forget(self, source: KeySource) -> None:
        self._trouble.pop(source, None)
        if self._known.pop(source, None) is not None:
            self._emit([Delete(Kind.KEY_SETS, source.key)])

    def _report(self) -> None:
        """Say of every rule whose keys are not, or no longer, what the issuer has."""
        found = [
            self._finding(source, place)
            for source, use in self._wanted.items()
            if source in self._trouble or source not in self._known
            for place in use.places
        ]
        said = Findings(SOURCE, tuple(sorted(found)))
        if said != self._said:
            self._said = said
            self._emit([said])

    def _finding(self, source: KeySource, place: tuple[str, str]) -> Finding:
        fetched = bool(self._known.get(source, NO_KEYS).keys)
        if source not in self._trouble:
            message = f"keys of {_shown(source)} have been asked for; until they come, its tokens are refused"
            return Finding(Severity.INFO, "KeysAwaited", *place, message, "wait a moment")
        message = f"keys of {_shown(source)} cannot be fetched: {self._trouble[source]}"
        fix = "make the issuer reachable from the control plane, correct its address, or give jwks"
        if fetched:
            return Finding(Severity.WARNING, "KeysNotRefreshed", *place, f"{message}; those known so far are used", fix)
        return Finding(Severity.ERROR, "KeysUnavailable", *place, f"{message}; its tokens are refused", fix)


def _shown(source: KeySource) -> str:
    """The address without a password that may stand in it."""
    return str(URL(source.uri).with_user(None))
