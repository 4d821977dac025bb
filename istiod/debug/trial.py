"""What an edit of objects would change in the configuration of proxies, without applying it.

Owns the edit (texts and deletions -> tables) and the comparison class by class. Input: the tables that a control plane
has, the proxies and what they have now. Nothing that is served is touched: the world after the edit is built by a
builder of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName
from istiod.analyze.analysis import analyze
from istiod.api.kinds import KINDS, Kind
from istiod.api.meta import Invalid, Object
from istiod.debug.difference import Pair, changed_resources, describe_change
from istiod.debug.report import ClassChange, DiffReport, ObjectChange, ResourceChange
from istiod.debug.views import findings_report
from istiod.encode.resource import Configuration
from istiod.events import Findings, Upsert
from istiod.pipeline import encode_config
from istiod.registry.contribution import Place
from istiod.resolve.config import resolve_view
from istiod.resolve.reach import reaches
from istiod.snapshot import Snapshot, SnapshotBuilder, changes
from istiod.sources.contents import Contents
from istiod.store import Tables
from istiod.view.classes import view_of
from istiod.view.proxy import Proxy, ProxyView

K = TypeVar("K")
V = TypeVar("V")
Key = tuple[Kind, NamespacedName]
PROXIES_PER_SLICE = 64


@dataclass(frozen=True, slots=True)
class Edit:
    """Objects by key, None for those that are deleted, and what is wrong with the texts."""

    objects: Mapping[Key, Object[object] | Invalid | None]
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether something is wrong that keeps an object from being used."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Group:
    """Proxies of one class, and what they have now (None = what the snapshot says they should)."""

    view: ProxyView
    proxies: tuple[Proxy, ...]
    configuration: Configuration | None = None
    findings: tuple[Finding, ...] = ()


def read_edit(files: Mapping[str, str], deleted: Iterable[str]) -> Edit:
    """Read texts by name with the parser of all sources, and deletions as `Kind/namespace/name`; raises InvalidInput
    for a deletion that cannot be read.
    """
    contents = Contents()
    for name, text in files.items():
        contents.put(name, text)
    objects: dict[Key, Object[object] | Invalid | None] = {}
    findings: list[Finding] = []
    for event in contents.events():
        match event:
            case Upsert(kind, key, value):
                objects[kind, key] = value
            case Findings(_, found):
                findings += found
    for text in deleted:
        objects[_deletion(text)] = None
    return Edit(objects, tuple(sorted(set(findings))))


def _deletion(text: str) -> Key:
    kind, _, rest = text.partition("/")
    namespace, slash, name = rest.partition("/")
    info = KINDS.get(kind)
    if info is None or not (name if slash else namespace):
        message, fix = f"{text[:200]!r} is no object", "write Kind/namespace/name, e.g. VirtualService/shop/reviews"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidQuery", "--delete", "", message, fix)])
    return info.kind, NamespacedName(namespace, name) if slash else NamespacedName("", namespace)


def apply_edit(tables: Tables, edit: Edit) -> tuple[Tables, tuple[ObjectChange, ...]]:
    """The tables after an edit, and what became of each object."""
    by_kind = {kind: dict(table) for kind, table in tables.by_kind.items() if any(kind == k for k, _ in edit.objects)}
    made: list[ObjectChange] = []
    for (kind, key), value in sorted(edit.objects.items(), key=lambda item: item[0]):
        rows = by_kind.setdefault(kind.value, {})
        old = rows.get(key)
        word = "added" if old is None else "same" if old == value else "changed"
        if value is None:
            word = "deleted" if old is not None else "not there"
            rows.pop(key, None)
        elif old != value:
            rows[key] = value
        name = f"{kind.value} {key}" if key.namespace else f"{kind.value} {key.name}"
        made.append(ObjectChange(name, word))
    return replace(tables, by_kind={**tables.by_kind, **by_kind}), tuple(made)


def snapshot_after(before: Snapshot, tables: Tables, place: Place, ledger: Mapping[str, str]) -> Snapshot:
    """The snapshot of edited tables; parts that are equal to those before are the same objects."""
    made = SnapshotBuilder(place, ledger).build(tables)
    services = _kept(before.services, made.services)
    endpoints = _kept(before.endpoints, made.endpoints)
    return replace(
        made,
        mesh=before.mesh if made.mesh == before.mesh else made.mesh,
        services=services,
        endpoints=endpoints,
        hosts=before.hosts if services is before.services else made.hosts,
        addresses=before.addresses if endpoints is before.endpoints else made.addresses,
        gateways=before.gateways if made.gateways == before.gateways else made.gateways,
        peer_domains=before.peer_domains if made.peer_domains == before.peer_domains else made.peer_domains,
        tables={
            kind: _kept(before.tables[kind], table) if kind in before.tables else table
            for kind, table in made.tables.items()
        },
    )


def _kept(old: Mapping[K, V], new: Mapping[K, V]) -> Mapping[K, V]:
    """The new mapping with the values of the old one where they are equal; the old one itself if all are."""
    same = {key: old[key] if key in old and old[key] == value else value for key, value in new.items()}
    unchanged = list(same) == list(old) and all(same[key] is old[key] for key in same)
    return old if unchanged else same


async def compare(
    before: Snapshot, after: Snapshot, groups: Sequence[Group], fields: bool
) -> tuple[tuple[ClassChange, ...], int, frozenset[Finding], frozenset[Finding]]:
    """Proxies that get something else, put together where it is the same, how many keep theirs, and the findings
    before and after. Lets others run between classes.
    """
    changed = changes(before, after)
    found: dict[tuple[int, ...], tuple[tuple[ResourceChange, ...], list[str]]] = {}
    described = _Descriptions(fields)
    unchanged = 0
    said, says = set(before.findings), set(after.findings)
    for group in groups:
        for view, proxies in (await _moved(group.proxies, after)).items():
            touched = changed.config or changed.endpoints or view != group.view
            if not touched and not reaches(before, after, view, changed.objects):
                unchanged += len(proxies)
                continue
            await asyncio.sleep(0)
            old, old_findings = await _now(group, before)
            await asyncio.sleep(0)
            resolved = resolve_view(after, view)
            new = await encode_config(resolved)
            said.update(old_findings)
            says.update(resolved.findings)
            resources = tuple([await described(*item) for item in changed_resources(old, new).items()])
            if resources:
                same = tuple(map(id, resources))
                found.setdefault(same, (resources, []))[1].extend(proxy.id for proxy in proxies)
            else:
                unchanged += len(proxies)
    made = [ClassChange(tuple(sorted(ids)), resources) for resources, ids in found.values()]
    made.sort(key=lambda item: item.proxies)
    return tuple(made), unchanged, frozenset(said), frozenset(says)


class _Descriptions:
    """Changes in words, each made once, as many classes share resources. What takes long is done in a thread."""

    def __init__(self, fields: bool) -> None:
        self._fields = fields
        self._known: dict[tuple[str, ...], ResourceChange] = {}

    async def __call__(self, name: tuple[str, str], pair: Pair) -> ResourceChange:
        key = (*name, *(resource.version if resource is not None else "" for resource in pair))
        known = self._known.get(key)
        if known is None:
            known = await asyncio.to_thread(describe_change, *name, pair, self._fields)
            self._known[key] = known
        return known


async def _now(group: Group, before: Snapshot) -> tuple[Configuration, tuple[Finding, ...]]:
    if group.configuration is not None:
        return group.configuration, group.findings
    resolved = resolve_view(before, group.view)
    return await encode_config(resolved), resolved.findings


async def _moved(proxies: Sequence[Proxy], after: Snapshot) -> dict[ProxyView, list[Proxy]]:
    """The classes that proxies are in after the edit."""
    found: dict[ProxyView, list[Proxy]] = {}
    for count, proxy in enumerate(proxies):
        found.setdefault(view_of(proxy, after), []).append(proxy)
        if count % PROXIES_PER_SLICE == PROXIES_PER_SLICE - 1:
            await asyncio.sleep(0)
    return found


async def diff_report(
    observer: str,
    before: Snapshot,
    tables: Tables,
    place: Place,
    ledger: Mapping[str, str],
    groups: Sequence[Group],
    edit: Edit,
    fields: bool,
) -> DiffReport:
    """Everything that an edit would do; nothing is compared if an object of it cannot be used."""
    edited, objects = apply_edit(tables, edit)
    if edit.refused:
        return DiffReport(observer, True, objects, findings_report(edit.findings), (), (), 0)
    after = snapshot_after(before, edited, place, ledger)
    classes, unchanged, old, new = await compare(before, after, groups, fields)
    old, new = old | set(analyze(before)), new | set(analyze(after))
    kinds = {kind for kind, _ in edit.objects}
    notes = ("what is inside Secrets is not compared",) if Kind.SECRET in kinds else ()
    return DiffReport(
        observer,
        False,
        objects,
        findings_report({*edit.findings, *(new - old)}),
        findings_report(old - new),
        classes,
        unchanged,
        notes,
    )
