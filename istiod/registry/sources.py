"""What each object of the tables contributes, computed again only for objects that a change can reach.

Private state of the registry's builder. Owns which object depends on which: a slice on its Service, a pod on the
Services and ServiceEntries that hold or select it, a node on its pods. Contributions depend on the tables
alone, never on their history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from federation.keys import EndpointsKey, EntryKey, ServiceRecordKey
from federation.model.labels import NO_LABELS, Labels
from federation.model.names import NamespacedName
from federation.model.workload import Endpoint
from federation.table import Peer
from istiod.api import kubernetes as k8s
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Object
from istiod.registry.contribution import Contribution, Place
from istiod.registry.difference import changed_keys
from istiod.registry.exports import consumers_of
from istiod.registry.kubernetes import SERVICE_NAME_LABEL, convert_service, pod_endpoint
from istiod.registry.peers import convert_export
from istiod.registry.selection import Ref, SelectorIndex, WorkloadIndex
from istiod.registry.serviceentry import all_labels, convert_entry, workload_endpoint


@dataclass(frozen=True, slots=True)
class _Node:
    name: str


Lookup = Callable[[Kind], Mapping[Any, Any]]
Contributions = tuple[Contribution, ...]
Table = Mapping[NamespacedName, Any]
Held = NamespacedName | str | _Node  # a pod, an address, a node
_FINISHED = frozenset({"Succeeded", "Failed"})
_EMPTY: Mapping[Any, Any] = {}


@dataclass(frozen=True, slots=True)
class Source:
    """One object that contributes. `cluster` is the peer it comes from, "" for our own objects."""

    kind: Kind
    key: NamespacedName
    cluster: str = ""


class Sources:
    """The contributions of all objects, kept up to date from one set of tables to the next."""

    def __init__(self, mesh: MeshConfig, place: Place) -> None:
        self._mesh, self._place = mesh, place
        self._tables: dict[Kind, Table] = {}
        self._slices: dict[NamespacedName, set[NamespacedName]] = defaultdict(set)
        self._pods_at: dict[str, set[NamespacedName]] = defaultdict(set)
        self._holders: dict[Held, set[Source]] = defaultdict(set)
        self._held: dict[Source, set[Held]] = {}
        self._workloads = WorkloadIndex()
        self._selectors = SelectorIndex()
        self._endpoints: dict[Ref, Endpoint] = {}
        self._peer_slices: dict[Source, dict[EndpointsKey, tuple[Endpoint, ...]]] = defaultdict(dict)

    def update(self, table: Lookup) -> dict[Source, Contributions]:
        """What changed since the last call: each source with its contributions now, none for one that is gone."""
        old, self._tables = self._tables, {kind: table(kind) for kind in _READ}
        dirty: set[Source] = set()
        self._take_pods(old, dirty)
        self._take_nodes(old, dirty)
        self._take_workload_entries(old, dirty)
        self._take_slices(old, dirty)
        self._take_selectors(old, dirty)
        for key in self._changed(old, Kind.SERVICE_EXPORT):
            dirty |= {Source(Kind.SERVICE, key), Source(Kind.SERVICE_ENTRY, key)}
        self._take_peers(old, dirty)
        return {source: self._contributions(source) for source in dirty}

    def _changed(self, old: Mapping[Kind, Table], kind: Kind) -> list[NamespacedName]:
        return changed_keys(old.get(kind, _EMPTY), self._tables[kind])

    def _take_pods(self, old: Mapping[Kind, Table], dirty: set[Source]) -> None:
        before, pods = old.get(Kind.POD, _EMPTY), self._tables[Kind.POD]
        for key in self._changed(old, Kind.POD):
            was, now = before.get(key), pods.get(key)
            for address in _addresses(was):
                self._pods_at[address].discard(key)
            for address in _addresses(now):
                self._pods_at[address].add(key)
            touched: list[Held] = [key, *_addresses(was), *_addresses(now)]
            for held in touched:
                dirty |= self._holders.get(held, set())
            self._take_workload((Kind.POD, key), _labels_of(now) if _addresses(now) else None, dirty)

    def _take_nodes(self, old: Mapping[Kind, Table], dirty: set[Source]) -> None:
        before, nodes = old.get(Kind.NODE, _EMPTY), self._tables[Kind.NODE]
        changed = self._changed(old, Kind.NODE)
        names = {key.name for key in changed if _labels_of(before.get(key)) != _labels_of(nodes.get(key))}
        for name in names:
            dirty |= self._holders.get(_Node(name), set())
        for key, pod in self._tables[Kind.POD].items() if names else ():
            if pod.spec.spec.node_name in names and _addresses(pod):
                self._take_workload((Kind.POD, key), pod.meta.labels, dirty)

    def _take_workload_entries(self, old: Mapping[Kind, Table], dirty: set[Source]) -> None:
        for key in self._changed(old, Kind.WORKLOAD_ENTRY):
            now = self._tables[Kind.WORKLOAD_ENTRY].get(key)
            labels = all_labels(now.spec, now.meta) if now is not None else None
            self._take_workload((Kind.WORKLOAD_ENTRY, key), labels, dirty)

    def _take_workload(self, ref: Ref, labels: Labels | None, dirty: set[Source]) -> None:
        for known in (self._workloads.labels(ref), labels or NO_LABELS):
            dirty |= {Source(*owner) for owner in self._selectors.selecting(ref[1].namespace, known)}
        self._workloads.put(ref, labels)
        self._endpoints.pop(ref, None)

    def _take_slices(self, old: Mapping[Kind, Table], dirty: set[Source]) -> None:
        before = old.get(Kind.ENDPOINT_SLICE, _EMPTY)
        for key in self._changed(old, Kind.ENDPOINT_SLICE):
            owner, now = _owner(before.get(key)), _owner(self._tables[Kind.ENDPOINT_SLICE].get(key))
            if owner is not None:
                self._slices[owner].discard(key)
                dirty.add(Source(Kind.SERVICE, owner))
            if now is not None:
                self._slices[now].add(key)
                dirty.add(Source(Kind.SERVICE, now))

    def _take_selectors(self, old: Mapping[Kind, Table], dirty: set[Source]) -> None:
        for kind in (Kind.SERVICE, Kind.SERVICE_ENTRY):
            for key in self._changed(old, kind):
                self._selectors.put((kind, key), _selector(self._tables[kind].get(key)))
                dirty.add(Source(kind, key))

    def _take_peers(self, old: Mapping[Kind, Table], dirty: set[Source]) -> None:
        before, now = old.get(Kind.PEER, _EMPTY), self._tables[Kind.PEER]
        for key in self._changed(old, Kind.PEER):
            was, peer = before.get(key, _NO_PEER), now.get(key, _NO_PEER)
            cluster = peer.cluster or was.cluster
            for record in changed_keys(was.services, peer.services):
                dirty.add(_peer_source(record, cluster))
            for part in changed_keys(was.endpoints, peer.endpoints):
                for kind in (Kind.SERVICE, Kind.SERVICE_ENTRY):
                    source = Source(kind, NamespacedName(part.namespace, part.name), cluster)
                    self._peer_slices[source].pop(part, None)
                    if part in peer.endpoints:
                        self._peer_slices[source][part] = peer.endpoints[part]
                    dirty.add(source)

    def _contributions(self, source: Source) -> Contributions:
        if source.cluster:
            return self._imported(source)
        item = self._tables[source.kind].get(source.key)
        self._release(source)
        if not isinstance(item, Object):
            return ()
        found = self._service(source, item) if source.kind is Kind.SERVICE else self._entry(item)
        consumers = consumers_of(item.meta, self._tables[Kind.SERVICE_EXPORT])
        return found if consumers is None else tuple(_exported(c, consumers, self._place.cluster) for c in found)

    def _service(self, source: Source, item: Object[Any]) -> Contributions:
        names = sorted(self._slices.get(source.key, ()))
        slices = [self._tables[Kind.ENDPOINT_SLICE][name] for name in names]
        workloads = [self._endpoint(ref) for ref in self._chosen(item) if ref[0] is Kind.WORKLOAD_ENTRY]

        def pod_of(endpoint: k8s.SliceEndpoint, address: str) -> Object[k8s.Pod] | None:
            return self._hold_pod(source, endpoint, address)

        def node_labels(name: str) -> Labels:
            self._hold(source, _Node(name))
            return self._node_labels(name)

        return (convert_service(item, slices, workloads, pod_of, node_labels, self._mesh, self._place),)

    def _entry(self, item: Object[Any]) -> Contributions:
        workloads = [self._endpoint(ref) for ref in self._chosen(item)]
        return convert_entry(item, workloads, self._mesh, self._place)

    def _imported(self, source: Source) -> Contributions:
        peer = self._tables[Kind.PEER].get(NamespacedName("", source.cluster), _NO_PEER)
        record = (EntryKey if source.kind is Kind.SERVICE_ENTRY else ServiceRecordKey)(
            source.cluster, source.key.namespace, source.key.name
        )
        exported = peer.services.get(record)
        if exported is None:
            return ()
        slices = sorted(self._peer_slices[source].items(), key=lambda item: item[0].slice)
        found = convert_export(source.cluster, exported, (group for _, group in slices), self._place)
        return (found,) if found is not None else ()

    def _chosen(self, item: Object[Any]) -> list[Ref]:
        return self._workloads.select(item.meta.namespace, _selector(item) or _EMPTY)

    def _endpoint(self, ref: Ref) -> Endpoint:
        found = self._endpoints.get(ref)
        if found is None:
            item = self._tables[ref[0]][ref[1]]
            if ref[0] is Kind.POD:
                found = pod_endpoint(item, self._node_labels, self._mesh, self._place)
            else:
                found = workload_endpoint(item.spec, item.meta.namespace, self._mesh, self._place, item.meta)
            self._endpoints[ref] = found
        return found

    def _hold_pod(self, source: Source, endpoint: k8s.SliceEndpoint, address: str) -> Object[k8s.Pod] | None:
        """The pod behind a slice's endpoint: the one it refers to, else the only one that runs at its address."""
        pods = self._tables[Kind.POD]
        target = endpoint.target_ref
        if target is not None and target.kind == "Pod":
            key = NamespacedName(target.namespace or source.key.namespace, target.name)
            self._hold(source, key)
            if key in pods:
                found: Object[k8s.Pod] = pods[key]
                return found
        self._hold(source, address)
        there = self._pods_at.get(address)
        return pods[next(iter(there))] if there is not None and len(there) == 1 else None

    def _hold(self, source: Source, what: Held) -> None:
        self._holders[what].add(source)
        self._held.setdefault(source, set()).add(what)

    def _release(self, source: Source) -> None:
        for what in self._held.pop(source, ()):
            self._holders[what].discard(source)

    def _node_labels(self, name: str) -> Labels:
        return _labels_of(self._tables[Kind.NODE].get(NamespacedName("", name)))


def _exported(contribution: Contribution, consumers: tuple[str, ...], cluster: str) -> Contribution:
    """The contribution with its own cluster among those that offer the service."""
    return replace(contribution, service=replace(contribution.service, clusters=(cluster,)), consumers=consumers)


def _addresses(pod: Object[k8s.Pod] | None) -> tuple[str, ...]:
    """The addresses of a pod that still runs."""
    if pod is None or pod.spec.status.phase in _FINISHED:
        return ()
    status = pod.spec.status
    return tuple(dict.fromkeys(ip for ip in (status.pod_ip, *(item.ip for item in status.pod_ips)) if ip))


def _labels_of(item: Object[Any] | None) -> Labels:
    return item.meta.labels if item is not None else NO_LABELS


def _owner(part: Object[Any] | None) -> NamespacedName | None:
    name = part.meta.labels.get(SERVICE_NAME_LABEL) if part is not None else None
    return NamespacedName(part.meta.namespace, name) if part is not None and name else None


def _selector(item: Object[Any] | None) -> Mapping[str, str] | None:
    """The workload selector of a Service or ServiceEntry."""
    if item is None:
        return None
    if item.kind == Kind.SERVICE:
        selector: Mapping[str, str] = item.spec.selector
        return selector
    chosen = item.spec.workload_selector
    return chosen.all_labels if chosen is not None else None


def _peer_source(record: ServiceRecordKey | EntryKey, cluster: str) -> Source:
    kind = Kind.SERVICE_ENTRY if isinstance(record, EntryKey) else Kind.SERVICE
    return Source(kind, NamespacedName(record.namespace, record.name), cluster)


_READ = (
    Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.POD, Kind.NODE, Kind.SERVICE_EXPORT, Kind.SERVICE_ENTRY,
    Kind.WORKLOAD_ENTRY, Kind.PEER,
)  # fmt: skip
_NO_PEER = Peer("")
