"""Which objects a class of proxies sees: services, VirtualServices, the DestinationRule in force; Sidecar scopes.

Pure look-ups with results kept per unchanged inputs. Rules: `exportTo` and `Sidecar` references, and Istio's order of
DestinationRules (the client's namespace, then the service's, then the root namespace; one level hides the next).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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

    To a proxy that is `serving` it, rules that select client workloads do not apply.
    """
    table = snapshot.tables.get(Kind.DESTINATION_RULE, _NOTHING)
    if not table:
        return None
    index = _rules(table)
    root = snapshot.mesh.root_namespace
    default = tuple(snapshot.mesh.default_destination_rule_export_to) or ("*",)
    levels = [service.namespace, root]
    if view.namespace != root:
        levels.insert(0, view.namespace)
    for namespace in dict.fromkeys(levels):
        found = index.get(namespace)
        if found is None:
            continue
        chosen = found.best(service.host, view, default, serving)
        if chosen is not None:
            return chosen
    return None


class _NamespaceRules:
    """The rules of one namespace by host, exact ones apart from wildcards."""

    def __init__(self, rules: Iterable[Object[DestinationRule]]) -> None:
        self._exact: dict[str, list[Object[DestinationRule]]] = defaultdict(list)
        self._wild: dict[str, list[Object[DestinationRule]]] = defaultdict(list)
        self._merged: dict[tuple[int, ...], DestinationPolicy] = {}
        for rule in rules:
            host = resolve_short_host(rule.spec.host, rule.meta.namespace)
            (self._wild if host.startswith("*") else self._exact)[host].append(rule)

    def best(
        self, host: str, view: ProxyView, default: tuple[str, ...], serving: bool = False
    ) -> DestinationPolicy | None:
        """The rule of the most specific host that the view sees."""
        hosts = [host] if host in self._exact else []
        hosts += sorted((wild for wild in self._wild if host_matches(wild, host)), key=len, reverse=True)
        for candidate in hosts:
            rules = [r for r in (self._exact.get(candidate) or self._wild[candidate]) if _sees(r, view, default)]
            chosen = _select(rules, view.labels, serving)
            if chosen:
                return self._merge(chosen)
        return None

    def _merge(self, rules: list[Object[DestinationRule]]) -> DestinationPolicy:
        key = tuple(map(id, rules))
        found = self._merged.get(key)
        if found is None:
            subsets: dict[str, Subset] = {}
            for rule in rules:
                for subset in rule.spec.subsets:
                    subsets.setdefault(subset.name, subset)
            policy = next((rule.spec.traffic_policy for rule in rules if rule.spec.traffic_policy is not None), None)
            meta = rules[0].meta
            path = f"/apis/networking.istio.io/v1/namespaces/{meta.namespace}/destination-rule/{meta.name}"
            found = self._merged[key] = DestinationPolicy(policy, subsets, path, rules[0])
        return found


def _sees(rule: Object[DestinationRule], view: ProxyView, default: tuple[str, ...]) -> bool:
    if rule.spec.workload_selector is not None and rule.meta.namespace != view.namespace:
        return False
    return exported(rule.spec.export_to or default, rule.meta.namespace, view.namespace)


def _select(rules: list[Object[DestinationRule]], labels: Labels, serving: bool) -> list[Object[DestinationRule]]:
    """A rule that selects the client's workload stands alone; the others of one host are one rule together."""
    for rule in rules if not serving else ():
        selector = rule.spec.workload_selector
        if selector is not None and labels.selected_by(selector.all_labels):
            return [rule]
    return [rule for rule in rules if rule.spec.workload_selector is None]


@memo(size=2)
def _rules(table: Mapping[Any, Any]) -> dict[str, _NamespaceRules]:
    return {namespace: _NamespaceRules(rules) for namespace, rules in _by_namespace(_valid(table)).items()}


def _valid(table: Mapping[Any, Any]) -> list[Object[Any]]:
    return sorted((item for item in table.values() if isinstance(item, Object)), key=lambda item: item.meta.age_order)


def _by_namespace(items: Iterable[Object[Any]]) -> dict[str, tuple[Object[Any], ...]]:
    groups: dict[str, list[Object[Any]]] = defaultdict(list)
    for item in items:
        groups[item.meta.namespace].append(item)
    return {namespace: tuple(group) for namespace, group in groups.items()}
