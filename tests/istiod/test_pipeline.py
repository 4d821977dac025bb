"""Work is done once per class of proxies, and encoding once per distinct answer: counted, not timed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
import yaml

from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.runtime.latest import Latest
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.parse import parse_documents
from istiod.encode.resource import CLUSTER, ENDPOINTS, LISTENER
from istiod.events import Upsert
from istiod.pipeline import Pipeline
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store
from istiod.view.proxy import Proxy, ProxyType
from istiod.xds.metrics import ENCODED, RESOLVED
from istiod.xds.session import Request
from istiod.xds.stream import Stream

SERVICES, PROXIES = 1000, 40
HERE, THERE = Locality("r1", "z1"), Locality("r2", "z1")


def entry(number: int, last: int = 1) -> str:
    """One service with an endpoint in each of two regions."""
    spec = {
        "hosts": [f"s{number}.test"],
        "addresses": [f"10.{number >> 8}.{number & 255}.1"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "location": "MESH_INTERNAL",
        "endpoints": [
            {"address": f"192.0.2.{last}", "locality": "r1/z1"},
            {"address": "192.0.3.1", "locality": "r2/z1"},
        ],
    }
    metadata = {"name": f"s{number}", "namespace": "apps"}
    return yaml.safe_dump(
        {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "spec": spec}
    )


class World:
    """A pipeline over a thousand services, without sources and without a transport."""

    def __init__(self) -> None:
        self._store, self._builder = Store(), SnapshotBuilder(Place("c", "n"))
        self.snapshots: Latest[Snapshot] = Latest()
        self.pipeline = Pipeline(self.snapshots)

    def put(self, texts: Iterable[str]) -> None:
        """Objects as they are now; one snapshot."""
        parsed = parse_documents("---\n".join(texts), "test.yaml")
        assert not parsed.findings
        objects = [item for item in parsed.objects if isinstance(item, Object)]
        self._store.apply([Upsert(Kind(item.kind), item.meta.key, item) for item in objects])
        self.snapshots.set(self._builder.build(self._store.tables()))

    async def pushed(self) -> None:
        """Wait until every class has the newest snapshot."""
        snapshot = self.snapshots.peek()
        assert snapshot is not None
        async with asyncio.timeout(20):
            async for revision in self.pipeline.pushed.changes():
                if revision >= snapshot.revision:
                    return

    async def connect(self, name: str, locality: Locality, namespace: str = "apps") -> Stream:
        """A proxy that has taken its upstreams and their endpoints."""
        stream = Stream(True, 1)
        proxy = Proxy(
            f"{name}.apps", ProxyType.SIDECAR, name, namespace, "default", "apps.svc.cluster.local",
            (f"10.255.0.{name}",), "c", "n", locality, Labels({"app": "caller"}),
        )  # fmt: skip
        stream.proxy = proxy
        stream.request(Request(CLUSTER))
        await self.pipeline.join(stream, proxy)
        assert len(await asyncio.wait_for(stream.outgoing(), 5)) == 1
        names = [f"outbound|80||s{number}.test" for number in range(SERVICES)]
        stream.request(Request(CLUSTER, nonce="1-1"))
        stream.request(Request(ENDPOINTS, names))
        assert len(await asyncio.wait_for(stream.outgoing(), 5)) == 1
        stream.request(Request(ENDPOINTS, nonce="1-2"))
        return stream


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.put(entry(number) for number in range(SERVICES))
    running = asyncio.create_task(made.pipeline.run())
    await made.pushed()
    yield made
    running.cancel()


def encoded() -> dict[str, float]:
    """Resources encoded so far, by type."""
    return {kind: ENCODED.labels(kind)._value.get() for kind in ("cds", "eds", "lds", "rds")}


def since(before: dict[str, float]) -> dict[str, float]:
    """What was encoded since, without types of which nothing was."""
    return {kind: count - before[kind] for kind, count in encoded().items() if count != before[kind]}


async def test_an_endpoint_is_encoded_once_per_distinct_view_and_sent_once_to_each_proxy(world: World) -> None:
    streams = [await world.connect(str(n), (HERE, THERE)[n % 2]) for n in range(PROXIES)]
    before = encoded()
    world.put([entry(7, last=99)])
    await world.pushed()
    assert since(before) == {"eds": 2}  # near and far in two regions
    for stream in streams:
        (response,) = await asyncio.wait_for(stream.outgoing(), 5)
        assert b"192.0.2.99" in response
        assert b"s8.test" not in response
        assert len(response) < 1000


async def test_who_joins_a_known_class_costs_no_encoding(world: World) -> None:
    await world.connect("1", HERE)
    before = encoded()
    for number in range(2, 20):
        await world.connect(str(number), HERE)
    assert since(before) == {}


async def test_one_route_more_encodes_what_it_changes(world: World) -> None:
    stream = await world.connect("1", HERE)
    stream.request(Request(LISTENER))
    await asyncio.wait_for(stream.outgoing(), 5)
    before = encoded()
    spec = {"hosts": ["s7.test"], "http": [{"route": [{"destination": {"host": "s8.test"}}], "timeout": "3s"}]}
    rule = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "spec": spec}
    world.put([yaml.safe_dump({**rule, "metadata": {"name": "seven", "namespace": "apps"}})])
    await world.pushed()
    assert since(before) == {"rds": 1}


def virtual_service(name: str, number: int, timeout: str, namespace: str = "apps", **spec: object) -> str:
    """A rule for one service."""
    route = {"route": [{"destination": {"host": f"s{number}.test"}}], "timeout": timeout}
    document = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hosts": [f"s{number}.test"], "http": [route], **spec},
    }
    return yaml.safe_dump(document)


async def test_an_edited_virtual_service_is_resolved_for_the_views_that_see_it_alone(world: World) -> None:
    world.put(virtual_service(f"v{n}", n, "1s", f"team-{n % 10}", exportTo=["."]) for n in range(200))
    await world.pushed()
    for number in range(40):
        await world.connect(str(number), HERE, f"team-{number % 20}")
    resolved, before = RESOLVED._value.get(), encoded()
    world.put([virtual_service("v7", 7, "2s", "team-7", exportTo=["."])])
    await world.pushed()
    assert RESOLVED._value.get() - resolved == 1  # of the twenty views that there are
    assert since(before) == {"rds": 1}
    world.put([virtual_service("v7", 7, "3s", "team-7", exportTo=["team-3"])])  # gone for one, new for another
    await world.pushed()
    assert RESOLVED._value.get() - resolved == 3
    assert since(before) == {"rds": 3}
