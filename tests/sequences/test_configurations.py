"""Histories of objects of every kind: what connected proxies have, step by step, equals what a new control plane says.

So no configuration depends on the path that led to it, and an edit that was taken to pass a class of proxies by really
did. The pool has variants of each kind that contradict each other, attach elsewhere, or refer to what may be away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.runtime.latest import Latest
from istiod.api.kinds import KINDS, Kind
from istiod.api.meta import Invalid, Object
from istiod.api.parse import parse_documents
from istiod.encode.resource import CLUSTER, Configuration
from istiod.events import Delete, Event, Upsert
from istiod.pipeline import Pipeline
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store
from istiod.view.proxy import Proxy, ProxyType
from istiod.xds.session import Request
from istiod.xds.stream import Stream

POOL = Path(__file__).parent / "pool"
PLACE = Place("c", "n")


def variants(text: str) -> list[Event]:
    """The objects of a pool file; several may have one name, as variants of it."""
    found = parse_documents(text, "pool.yaml").objects
    return [Upsert(Kind(i.kind), i.meta.key, i) for i in found if isinstance(i, Object | Invalid)]


def proxy(name: str, namespace: str, address: str, type_: ProxyType = ProxyType.SIDECAR, **labels: str) -> Proxy:
    return Proxy(
        f"{name}.{namespace}", type_, name, namespace, name, f"{namespace}.svc.cluster.local", (address,), "c", "n",
        Locality("r1", "z1"), Labels(labels),
    )  # fmt: skip


PROXIES = (
    proxy("a", "apps", "10.0.0.1", app="a"),
    proxy("b", "apps", "10.0.0.2", app="b", version="v1"),
    proxy("c", "other", "10.0.0.3", app="c"),
    proxy("gw", "istio-system", "10.0.0.9", ProxyType.ROUTER, istio="ingressgateway"),
    proxy("edge", "apps", "10.0.0.8", ProxyType.ROUTER, **{"gateway.networking.k8s.io/gateway-name": "edge"}),
    proxy("g", "apps", "10.0.0.7", ProxyType.GRPC, app="g"),
)
BASE = variants((POOL / "base.yaml").read_text())
EDITS = [
    event for path in sorted(POOL.glob("*.yaml")) if path.name != "base.yaml" for event in variants(path.read_text())
]


class Connected:
    """Proxies at a pipeline that follows a store."""

    def __init__(self) -> None:
        self.store, self.builder = Store(), SnapshotBuilder(PLACE)
        self.snapshots: Latest[Snapshot] = Latest()
        self.pipeline = Pipeline(self.snapshots)
        self.streams: list[Stream] = []

    async def apply(self, events: list[Event]) -> None:
        """One snapshot, until all proxies have it."""
        if not self.store.apply(events):
            return
        snapshot = self.builder.build(self.store.tables())
        self.snapshots.set(snapshot)
        async with asyncio.timeout(20):
            async for revision in self.pipeline.pushed.changes():
                if revision >= snapshot.revision:
                    return

    async def connect(self) -> None:
        for who in PROXIES:
            stream = Stream(True, 1)
            stream.proxy = who
            stream.request(Request(CLUSTER))
            await self.pipeline.join(stream, who)
            self.streams.append(stream)

    def configurations(self) -> Iterator[Configuration]:
        """What each proxy has now."""
        for stream in self.streams:
            delivery = self.pipeline._home[stream].delivery
            assert delivery is not None
            yield delivery.configuration


def versions(configuration: Configuration) -> dict[str, dict[str, str]]:
    return {type_: {name: r.version for name, r in found.items()} for type_, found in configuration.items()}


async def from_scratch(store: Store, ledger: dict[str, str]) -> tuple[list[dict[str, dict[str, str]]], Connected]:
    """The same rows, in another order, in a control plane that knows no history."""
    fresh = Connected()
    fresh.builder = SnapshotBuilder(PLACE, ledger)
    rows = [Upsert(Kind(kind), key, v) for kind, table in store.tables().by_kind.items() for key, v in table.items()]
    running = asyncio.create_task(fresh.pipeline.run())
    await fresh.apply(list(rows[::-1]))
    await fresh.connect()
    running.cancel()
    return [versions(found) for found in fresh.configurations()], fresh


async def replay(history: list[list[Event]]) -> None:
    world = Connected()
    running = asyncio.create_task(world.pipeline.run())
    await world.apply(list(BASE))
    await world.connect()
    for batch in history:
        await world.apply(batch)
        wanted, fresh = await from_scratch(world.store, dict(world.builder.ledger))
        for who, had, want in zip(PROXIES, map(versions, world.configurations()), wanted, strict=True):
            for type_, resources in want.items():
                assert had[type_] == resources, f"{who.id}: {type_.rpartition('.')[2]}"
        assert world.pipeline.findings == fresh.pipeline.findings
    running.cancel()


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Batches of objects that come, change and go."""
    batches: list[list[Event]] = []
    for _ in range(draw(st.integers(1, 6))):
        batch: list[Event] = []
        for event in draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=4)):
            assert isinstance(event, Upsert)
            batch.append(Delete(event.kind, event.key) if draw(st.integers(0, 2)) == 0 else event)
        batches.append(batch)
    return batches


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(histories())
def test_what_proxies_have_does_not_depend_on_the_path(history: list[list[Event]]) -> None:
    asyncio.run(replay(history))


def test_each_edit_alone_and_undone() -> None:
    """Every variant is put on its own and taken away again, which random histories may leave out."""
    edits = [edit for edit in EDITS if isinstance(edit, Upsert)]
    asyncio.run(replay([step for edit in edits for step in ([edit], [Delete(edit.kind, edit.key)])]))


def test_each_variant_in_place_of_the_one_before() -> None:
    gone: list[list[Event]] = [[Delete(edit.kind, edit.key)] for edit in EDITS if isinstance(edit, Upsert)]
    asyncio.run(replay([[edit] for edit in (*EDITS, *EDITS[::-1])] + gone))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_variants(kind: str) -> None:
    if kind in WHERE_ELSE:
        return
    assert sum(event.kind == kind for event in EDITS) >= 2


# Kinds whose histories are replayed in test_snapshots.py: they reach proxies through services and endpoints.
WHERE_ELSE = {"Service", "Pod", "Namespace", "Node", "EndpointSlice", "ServiceExport"}
