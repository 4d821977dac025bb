"""Which objects a class of proxies sees: services, VirtualServices, the DestinationRule in force; Sidecar scopes.

Pure look-ups with results kept per unchanged inputs. Rules: `exportTo` and `Sidecar` references, and Istio's order of
DestinationRules (the client's namespace, then the service's, then the root namespace; one level hides the next).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation.model.labels import Labels
from federation.model.names import ServiceKey, host_matches, resolve_short_host
from federation.model.service import Origin, Service
from istiod.api.destinationrule import DestinationRule, Subset, TrafficPolicy
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.sidecar import IstioEgressListener, Sidecar
from istiod.api.virtualservice import VirtualService
from istiod.memo import memo
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView

_NOTHING: Mapping[Any, Any] = {}


@dataclass(frozen=True, slots=True, eq=False)
class DestinationPolicy:
    """The rule in force for one service: its top-level policy, its subsets by name, and its telemetry path."""

    policy: TrafficPolicy | None
    subsets: Mapping[str, Subset]
    config: str
    rule: Object[DestinationRule]


def sidecar_of(snapshot: Snapshot, view: ProxyView) -> Object[Sidecar] | None:
    """The Sidecar that scopes a view: one that selects its labels, else its namespace's, else the root namespace's.

    A selector without labels selects every workload of its namespace. Routers have none.
    """
    if view.type is ProxyType.ROUTER:
        return None
    index = _sidecars(snapshot.tables.get(Kind.SIDECAR, _NOTHING))
    own = index.get(view.namespace, ())
    for sidecar in own:
        selector = sidecar.spec.workload_selector
        if selector is not None and view.labels.selected_by(selector.all_labels):
            return sidecar
    return _whole(own) or _whole(index.get(snapshot.mesh.root_namespace, ()))


def _whole(sidecars: Sequence[Object[Sidecar]]) -> Object[Sidecar] | None:
    return next((s for s in sidecars if s.spec.workload_selector is None), None)


@memo(size=2)
def _sidecars(table: Mapping[Any, Any]) -> dict[str, tuple[Object[Sidecar], ...]]:
    return _by_namespace(_valid(table))


def visible_services(snapshot: Snapshot, namespace: str) -> tuple[Service, ...]:
    """Every service that `exportTo` shows to a namespace, oldest first."""
    return _visible_services(snapshot.services).get(namespace)


class _ByNamespace:
    """Visible services per namespace, found when first asked for."""

    def __init__(self, services: Mapping[ServiceKey, Service]) -> None:
        self._services = tuple(services.values())
        self._known: dict[str, tuple[Service, ...]] = {}

    def get(self, namespace: str) -> tuple[Service, ...]:
        found = self._known.get(namespace)
        if found is None:
            found = tuple(s for s in self._services if exported(s.export_to, s.namespace, namespace))
            self._known[namespace] = found
        return found


@memo(size=2)
def _visible_services(services: Mapping[ServiceKey, Service]) -> _ByNamespace:
    return _ByNamespace(services)


def exported(export_to: Sequence[str], owner: str, namespace: str) -> bool:
    """Whether an `exportTo` list of an object in `owner` shows it to `namespace`."""
    return any(entry == "*" or entry == namespace or (entry == "." and owner == namespace) for entry in export_to)


def one_per_host(services: Iterable[Service], namespace: str) -> tuple[Service, ...]:
    """One service for each host: the namespace's own, else a Kubernetes Service, else the oldest."""
    best: dict[str, Service] = {}
    for service in services:
        known = best.get(service.host)
        if known is None or _preference(service, namespace) < _preference(known, namespace):
            best[service.host] = service
    return tuple(best.values())


def _preference(service: Service, namespace: str) -> tuple[bool, bool]:
    return (service.namespace != namespace, service.origin is not Origin.KUBERNETES)


def visible_virtual_services(snapshot: Snapshot, namespace: str) -> tuple[Object[VirtualService], ...]:
    """Every VirtualService that `exportTo` shows to a namespace, oldest first; delegates are among them."""
    table = snapshot.tables.get(Kind.VIRTUAL_SERVICE, _NOTHING)
    return _visible_virtual_services(table, snapshot.mesh, namespace)


@memo(size=512)
def _visible_virtual_services(
    table: Mapping[Any, Any], mesh: Any, namespace: str
) -> tuple[Object[VirtualService], ...]:
    default = mesh.default_virtual_service_export_to or ("*",)
    return tuple(v for v in _valid(table) if exported(v.spec.export_to or default, v.meta.namespace, namespace))


def egress_admits(hosts: Sequence[str], sidecar_namespace: str, owner: str, host: str, rule: bool = False) -> bool:
    """Whether a Sidecar's egress host patterns (`namespace/host`) let in an object of `owner` for `host`.

    A pattern takes in what it covers whole; a `rule` for a wildcard host also where it covers part of it. Entries with
    `~` before the namespace take out again what they cover, whatever lets it in; `~` alone is every namespace.
    """
    admitted = False
    for entry in hosts:
        namespace, _, pattern = entry.partition("/")
        excludes = namespace.startswith("~")
        place = (namespace[1:] or "*") if excludes else namespace
        if place not in ("*", owner) and not (place == "." and owner == sidecar_namespace):
            continue
        covered = host_matches(pattern, host)
        if excludes and covered:
            return False
        admitted = admitted or (not excludes and (covered or (rule and host_matches(host, pattern))))
    return admitted


def egress_services(snapshot: Snapshot, view: ProxyView, listener: IstioEgressListener | None) -> tuple[Service, ...]:
    """The services of one egress listener, or of a proxy without a Sidecar; one per host."""
    services = visible_services(snapshot, view.namespace)
    if listener is not None:
        services = tuple(s for s in services if egress_admits(listener.hosts, view.namespace, s.namespace, s.host))
    return one_per_host(services, view.namespace)


def egress_virtual_services(
    snapshot: Snapshot, view: ProxyView, listener: IstioEgressListener | None
) -> tuple[Object[VirtualService], ...]:
    """The VirtualServices of one egress listener, or of a proxy without a Sidecar, oldest first."""
    visible = visible_virtual_services(snapshot, view.namespace)
    if listener is None:
        return visible
    return tuple(
        item
        for item in visible
        if any(
            egress_admits(
                listener.hosts,
                view.namespace,
                item.meta.namespace,
                resolve_short_host(host, item.meta.namespace),
                rule=True,
            )
            for host in item.spec.hosts
        )
    )


def destination_policy(
    snapshot: Snapshot, view: ProxyView, service: Service, serving: bool = False
) -> DestinationPolicy | None:
    """The DestinationRule in force for a service as seen by a view; None if nobody wrote one.

    Where a level has a rule for the host, it hides the next levels, even when it selects other workloads only. To a
    proxy that is `serving` it, rules that select client workloads do not apply.
    """
    table = snapshot.tables.get(Kind.DESTINATION_RULE, _NOTHING)
    if not table:
        return None
    index = _rules(table, "." in snapshot.mesh.default_destination_rule_export_to)
    root = snapshot.mesh.root_namespace
    own = (index.local if view.namespace != root else index.private).get(view.namespace)
    merged = own.most_specific(service.host) if own is not None else ()
    for namespace in (service.namespace, root):
        if merged:
            break
        level = index.exported.get(namespace)
        found = level.most_specific(service.host) if level is not None else ()
        merged = tuple(rule for rule in found if rule.reaches(view.namespace))
    return _applying(merged, view.labels, serving)


@dataclass(frozen=True, slots=True)
class _MergedRule:
    """Rules of one namespace and host that are one rule: they reach the same namespaces and workloads."""

    export_to: frozenset[str]
    selector: Mapping[str, str] | None
    policy: DestinationPolicy

    def reaches(self, namespace: str) -> bool:
        """Whether it is exported to another namespace than its own."""
        return not self.export_to or "*" in self.export_to or namespace in self.export_to


def _applying(rules: Sequence[_MergedRule], labels: Labels, serving: bool) -> DestinationPolicy | None:
    """The first rule that selects the client's workload stands alone; else the last one that selects nobody."""
    for rule in rules if not serving else ():
        if rule.selector is not None and labels.selected_by(rule.selector):
            return rule.policy
    return next((rule.policy for rule in reversed(rules) if rule.selector is None), None)


class _HostRules:
    """Rules of one namespace by host, those that are one rule merged."""

    def __init__(self, rules: Iterable[Object[DestinationRule]]) -> None:
        by_host: dict[str, list[Object[DestinationRule]]] = defaultdict(list)
        for rule in rules:
            by_host[resolve_short_host(rule.spec.host, rule.meta.namespace)].append(rule)
        self._by_host = {host: _merged(found) for host, found in by_host.items()}
        self._wild = sorted((host for host in by_host if host.startswith("*")), key=len, reverse=True)

    def most_specific(self, host: str) -> Sequence[_MergedRule]:
        """The rules of the most specific host that covers this one."""
        if host in self._by_host:
            return self._by_host[host]
        return next((self._by_host[wild] for wild in self._wild if host_matches(wild, host)), ())


@dataclass(frozen=True, slots=True)
class _RuleIndex:
    """Rules by namespace: what its own proxies see, what others see, and what nobody else sees."""

    local: Mapping[str, _HostRules]
    exported: Mapping[str, _HostRules]
    private: Mapping[str, _HostRules]


@memo(size=2)
def _rules(table: Mapping[Any, Any], private_by_default: bool) -> _RuleIndex:
    groups = _by_namespace(_valid(table))

    def private(rule: Object[DestinationRule]) -> bool:
        said = _export_to(rule)
        return said <= {".", rule.meta.namespace} if said else private_by_default

    return _RuleIndex(
        local=_host_rules(groups, _is_local),
        exported=_host_rules(groups, lambda rule: not private(rule)),
        private=_host_rules(groups, private),
    )


def _host_rules(
    groups: Mapping[str, Sequence[Object[DestinationRule]]], kept: Callable[[Object[DestinationRule]], bool]
) -> dict[str, _HostRules]:
    return {namespace: _HostRules(filter(kept, rules)) for namespace, rules in groups.items()}


def _is_local(rule: Object[DestinationRule]) -> bool:
    said = _export_to(rule)
    return not said or not said.isdisjoint({"*", ".", rule.meta.namespace})


def _export_to(rule: Object[DestinationRule]) -> frozenset[str]:
    """A rule that selects workloads is for those of its own namespace, whatever it says."""
    return frozenset(rule.spec.export_to if rule.spec.workload_selector is None else (".",))


def _merged(rules: Iterable[Object[DestinationRule]]) -> tuple[_MergedRule, ...]:
    """One host's rules, those that select workloads first, oldest first.

    A rule joins an older one of the same selector if it is exported to the same namespaces or to these and more.
    """
    groups: list[tuple[frozenset[str], Mapping[str, str] | None, list[Object[DestinationRule]]]] = []
    for rule in sorted(rules, key=lambda rule: rule.spec.workload_selector is None):
        export_to, selector = _export_to(rule), rule.spec.workload_selector
        labels = selector.all_labels if selector is not None else None
        joined = False
        for reach, selected, members in groups:
            if selected == labels and (reach == export_to or (reach and reach < export_to)):
                members.append(rule)
                joined = True
        if not joined:
            groups.append((export_to, labels, [rule]))
    return tuple(_MergedRule(reach, selected, _as_one(members)) for reach, selected, members in groups)


def _as_one(rules: Sequence[Object[DestinationRule]]) -> DestinationPolicy:
    """The subsets of all, the first of a name; the top-level policy of the first that has one."""
    subsets: dict[str, Subset] = {}
    for rule in rules:
        for subset in rule.spec.subsets:
            subsets.setdefault(subset.name, subset)
    policy = next((rule.spec.traffic_policy for rule in rules if rule.spec.traffic_policy is not None), None)
    meta = rules[0].meta
    path = f"/apis/networking.istio.io/v1/namespaces/{meta.namespace}/destination-rule/{meta.name}"
    return DestinationPolicy(policy, subsets, path, rules[0])


def _valid(table: Mapping[Any, Any]) -> list[Object[Any]]:
    return sorted((item for item in table.values() if isinstance(item, Object)), key=lambda item: item.meta.age_order)


def _by_namespace(items: Iterable[Object[Any]]) -> dict[str, tuple[Object[Any], ...]]:
    groups: dict[str, list[Object[Any]]] = defaultdict(list)
    for item in items:
        groups[item.meta.namespace].append(item)
    return {namespace: tuple(group) for namespace, group in groups.items()}
