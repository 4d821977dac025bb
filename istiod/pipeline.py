"""Snapshot -> configurations of classes of proxies -> sessions. Work is done once per class, never per proxy.

Owns which proxies are connected and which class each belongs to. Decides nothing about content (`istiod.resolve`)
and nothing about the protocol (`istiod.xds.session`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog

from federation.model.findings import Finding
from federation.model.names import ServiceKey
from federation.runtime.latest import Latest
from istiod.encode.cache import Encoded
from istiod.encode.clusters import encode_cluster
from istiod.encode.endpoints import encode_endpoints
from istiod.encode.listeners import encode_listener
from istiod.encode.patch_added import added_resources
from istiod.encode.patch_report import NO_PATCHES, PatchReport, idle_patches, report_of, value_findings
from istiod.encode.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, Configuration, Resource
from istiod.encode.routes import encode_routes
from istiod.resolve.config import ViewConfig, resolve_endpoints, resolve_view
from istiod.resolve.provider_findings import provider_findings
from istiod.resolve.reach import keeps_upstreams, reaches
from istiod.resolve.unsupported import unsupported_fields
from istiod.snapshot import Changes, Snapshot, changes
from istiod.view.classes import looked_at, view_of
from istiod.view.proxy import Proxy, ProxyView
from istiod.xds.delivery import Delivery
from istiod.xds.metrics import ENCODED, RESOLVED, SHORT, VIEWS
from istiod.xds.stream import Stream

log = structlog.get_logger("pipeline")

SLICE_SECONDS = 0.005
STREAMS_PER_SLICE = 64
IDLE_VIEWS = 256
S = TypeVar("S", bound=Hashable)


@dataclass(slots=True, eq=False)
class ViewClass:
    """One class: its newest delivery and the streams that follow it. `revision` is that of the snapshot it was made
    of.
    """

    view: ProxyView
    delivery: Delivery | None = None
    revision: int = 0
    findings: tuple[Finding, ...] = ()
    patches: PatchReport = NO_PATCHES
    streams: set[Stream] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Pipeline:
    """Follows `snapshots`; streams join and leave at any time."""

    def __init__(self, snapshots: Latest[Snapshot]) -> None:
        self._snapshots = snapshots
        self._snapshot: Snapshot | None = None
        self._since = 0.0  # monotonic seconds, when the snapshot came
        self._classes: OrderedDict[ProxyView, ViewClass] = OrderedDict()
        self._home: dict[Stream, ViewClass] = {}
        self._first = asyncio.Event()
        self.pushed: Latest[int] = Latest()  # revision of the last snapshot that every class was brought to

    @property
    def streams(self) -> Iterable[Stream]:
        """All connected streams."""
        return tuple(self._home)

    @property
    def views(self) -> tuple[ProxyView, ...]:
        """The classes of connected proxies."""
        return tuple(item.view for item in self._classes.values() if item.streams)

    @property
    def classes(self) -> tuple[ViewClass, ...]:
        """The classes that some proxy is in."""
        return tuple(item for item in self._classes.values() if item.streams)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What `resolve` had to say, over all classes that some proxy is in; others are not kept up to date."""
        found = {finding for item in self._classes.values() if item.streams for finding in item.findings}
        found |= set(idle_patches(item.patches for item in self._classes.values() if item.streams))
        if self._snapshot is not None:
            found |= {*unsupported_fields(self._snapshot), *value_findings(self._snapshot)}
            found |= set(provider_findings(self._snapshot))
        return tuple(sorted(found))

    async def run(self) -> None:
        """Bring every class to each new snapshot, newest first, until cancelled."""
        async for snapshot in self._snapshots.changes():
            self._since = time.monotonic()
            old, self._snapshot = self._snapshot, snapshot
            changed = changes(old, snapshot)
            self._first.set()
            if old is None or changed.config or looked_at(old) != looked_at(snapshot):
                await self._move_proxies(snapshot, lambda _: True)
            elif changed.endpoints:
                await self._move_proxies(snapshot, partial(_may_move, old, snapshot, changed.endpoints))
            for item in [c for c in self._classes.values() if c.streams]:
                async with item.lock:
                    await self._advance(item, snapshot, changed, old)
            self._forget_idle()
            self.pushed.set(snapshot.revision)
            log.debug("snapshot_pushed", revision=snapshot.revision, seconds=round(time.monotonic() - self._since, 4))

    async def join(self, stream: Stream, proxy: Proxy) -> None:
        """Give a new stream its configuration; waits for the first snapshot."""
        await self._first.wait()
        while True:
            snapshot = self._snapshot
            assert snapshot is not None
            item = self._class(view_of(proxy, snapshot))
            async with item.lock:
                if self._snapshot is snapshot and item.revision != snapshot.revision:
                    await self._rebuild(item, snapshot)
                if self._snapshot is not snapshot:
                    continue  # a newer one came meanwhile: nothing older may be joined
                item.streams.add(stream)
                self._home[stream] = item
                assert item.delivery is not None
                stream.deliver(item.delivery)
                return

    def leave(self, stream: Stream) -> None:
        """The stream is gone."""
        item = self._home.pop(stream, None)
        if item is not None:
            item.streams.discard(stream)

    def _class(self, view: ProxyView) -> ViewClass:
        item = self._classes.get(view)
        if item is None:
            item = self._classes[view] = ViewClass(view)
            VIEWS.set(len(self._classes))
        self._classes.move_to_end(view)
        return item

    async def _move_proxies(self, new: Snapshot, may_move: Callable[[Proxy], bool]) -> None:
        """Streams whose view is another one now go to that class, and are told only what differs."""
        for count, (stream, item) in enumerate(list(self._home.items())):
            if count % STREAMS_PER_SLICE == STREAMS_PER_SLICE - 1:
                await asyncio.sleep(0)
            if stream.proxy is None or stream not in self._home or not may_move(stream.proxy):
                continue
            view = view_of(stream.proxy, new)
            if view == item.view:
                continue
            home = self._class(view)
            async with home.lock:
                if home.revision != new.revision:
                    await self._rebuild(home, new)
                if stream not in self._home:
                    continue
                item.streams.discard(stream)
                home.streams.add(stream)
                self._home[stream] = home
                assert home.delivery is not None
                stream.move(home.delivery, self._since)

    async def _advance(self, item: ViewClass, snapshot: Snapshot, changed: Changes, old: Snapshot | None) -> None:
        if item.revision == snapshot.revision:
            return
        if old is None or item.delivery is None or item.revision != old.revision or changed.config:
            await self._rebuild(item, snapshot)
            return
        if reaches(old, snapshot, item.view, changed.objects):
            kept = not changed.endpoints and keeps_upstreams(old, snapshot, item.view, changed.objects)
            await self._rebuild(item, snapshot, kept)
            return
        delivery = _endpoints_only(item.delivery, snapshot, item.view, changed.endpoints)
        item.revision = snapshot.revision
        if delivery is not item.delivery:
            item.delivery = delivery
            await _tell(item.streams, delivery, self._since)

    async def _rebuild(self, item: ViewClass, snapshot: Snapshot, keep_upstreams: bool = False) -> None:
        """Make everything of a class anew, or all but its upstreams, and tell whoever is in it already what differs."""
        RESOLVED.inc()
        before: Configuration = item.delivery.configuration if item.delivery is not None else {}
        config = resolve_view(snapshot, item.view, upstreams=not keep_upstreams)
        configuration: Configuration = await encode_config(config)
        if keep_upstreams:
            configuration = {**configuration, CLUSTER: before[CLUSTER], ENDPOINTS: before[ENDPOINTS]}
        delivery = _difference(before, configuration, snapshot.revision)
        item.revision = snapshot.revision
        item.findings = config.findings
        item.patches = report_of(
            config.patches, config.removed, (made for named in configuration.values() for made in named.values())
        )
        if item.delivery is None or delivery.changed or delivery.removed:
            item.delivery = delivery
            await _tell(item.streams, delivery, self._since)

    def _forget_idle(self) -> None:
        idle = [view for view, item in self._classes.items() if not item.streams]
        for view in idle[: max(0, len(idle) - IDLE_VIEWS)]:
            del self._classes[view]
        VIEWS.set(len(self._classes))


def _may_move(old: Snapshot, new: Snapshot, touched: frozenset[ServiceKey], proxy: Proxy) -> bool:
    """Whether the services that a proxy serves may be others now, when only endpoints changed."""
    keys = {key for address in proxy.addresses for key in new.addresses.get(address, ())}
    before = {key for address in proxy.addresses for key in old.addresses.get(address, ())}
    return keys != before or not keys.isdisjoint(touched)


async def encode_config(config: ViewConfig) -> dict[str, dict[str, Resource]]:
    """All resources of a view, letting others run every few milliseconds."""
    resources = {
        CLUSTER: await _encode_all(CLUSTER, encode_cluster, config.clusters),
        ENDPOINTS: await _encode_all(ENDPOINTS, encode_endpoints, config.endpoints),
        LISTENER: await _encode_all(LISTENER, encode_listener, config.listeners),
        ROUTES: await _encode_all(ROUTES, encode_routes, config.routes),
        EXTENSION: {},
    }
    for type_url, resource in added_resources(config.added):
        resources[type_url].setdefault(resource.name, resource)
    return resources


async def _encode_all(type_url: str, encode: Encoded[S, Resource], specs: Iterable[S]) -> dict[str, Resource]:
    started, anew = time.perf_counter(), 0
    resources: dict[str, Resource] = {}
    for spec in specs:
        before = encode.misses
        resource = encode(spec)
        anew += encode.misses - before
        resources.setdefault(resource.name, resource)
        if time.perf_counter() - started > SLICE_SECONDS:
            await asyncio.sleep(0)
            started = time.perf_counter()
    ENCODED.labels(SHORT[type_url]).inc(anew)
    return resources


def _endpoints_only(delivery: Delivery, snapshot: Snapshot, view: ProxyView, keys: frozenset[ServiceKey]) -> Delivery:
    """The next delivery when nothing but these services' endpoints changed."""
    before = delivery.configuration.get(ENDPOINTS, {})
    fresh: dict[str, Resource] = {}
    misses = encode_endpoints.misses
    for key in keys:
        for spec in resolve_endpoints(snapshot, view, key):
            known = before.get(spec.name)
            resource = encode_endpoints(spec)
            if known is None or known.version != resource.version:
                fresh[spec.name] = resource
    ENCODED.labels("eds").inc(encode_endpoints.misses - misses)
    if not fresh:
        return delivery
    configuration = {**delivery.configuration, ENDPOINTS: {**before, **fresh}}
    return Delivery(configuration, {ENDPOINTS: frozenset(fresh)}, {}, snapshot.revision)


def _difference(before: Configuration, after: Configuration, revision: int) -> Delivery:
    changed: dict[str, frozenset[str]] = {}
    removed: dict[str, frozenset[str]] = {}
    for type_url, resources in after.items():
        old: Mapping[str, Resource] = before.get(type_url, {})
        new = frozenset(n for n, r in resources.items() if (b := old.get(n)) is None or b.version != r.version)
        gone = frozenset(old.keys() - resources.keys())
        if new:
            changed[type_url] = new
        if gone:
            removed[type_url] = gone
    return Delivery(after, changed, removed, revision)


async def _tell(streams: Collection[Stream], delivery: Delivery, since: float) -> None:
    for count, stream in enumerate(list(streams)):
        if stream in streams:  # it may have gone, or to another class, while others ran
            stream.deliver(delivery, since)
        if count % STREAMS_PER_SLICE == STREAMS_PER_SLICE - 1:
            await asyncio.sleep(0)
