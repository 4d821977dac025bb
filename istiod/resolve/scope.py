"""What one class of proxies may call, ready for listeners and routes: services and rules per egress listener.

Input: `istiod.view.visibility` (exportTo, Sidecar resources). Adds look-ups by host and no judgement of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from federation.model.locality import NO_LOCALITY
from federation.model.names import ServiceKey, host_matches, resolve_short_host
from federation.model.service import Origin, Protocol, Service, ServicePort
from istiod.api.sidecar import CaptureMode, IstioEgressListener, OutboundMode
from istiod.memo import memo
from istiod.resolve.objects import table_of
from istiod.resolve.routes_match import MESH
from istiod.resolve.virtual_services import RuleIndex, Rules, delegate_routes, rules_from
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.view.visibility import sidecar_of, visible_services, visible_virtual_services


@dataclass(frozen=True, slots=True, eq=False)
class EgressScope:
    """One egress listener of a Sidecar, or the one that every proxy without a Sidecar has.

    `port` 0 takes every port that no other listener names. `services` has one service per host, `rules` are bound to the mesh,
    oldest first. `captured` is false for a listener that the application dials itself.
    """

    services: tuple[Service, ...]
    rules: RuleIndex
    port: int = 0
    protocol: Protocol = Protocol.AUTO
    bind: str = ""
    captured: bool = True

    def service_port(self, service: Service, number: int) -> ServicePort | None:
        """The port that a listener port means: the same number, or the only one there is where the Sidecar names the port."""
        found = service.port(number)
        if found is None and self.port and len(service.ports) == 1:
            return service.ports[0]
        return found

    def covers_service(self, host: str) -> bool:
        """Whether some service of this listener is covered by a host of a rule, which may be a wildcard."""
        if not host.startswith("*"):
            return any(service.host == host for service in self.services)
        return any(host_matches(host, service.host) for service in self.services)


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """All that a class of proxies may call. `allow_any` says what happens to everything else.

    `gateway_rules` are those that a router may bind, of whatever Gateway.
    """

    listeners: tuple[EgressScope, ...]
    services: tuple[Service, ...]
    by_key: Mapping[ServiceKey, Service]
    by_host: Mapping[str, Service]
    allow_any: bool
    gateway_rules: tuple[Rules, ...] = ()

    def only_port(self, host: str) -> int:
        """The port of a service that has exactly one, else 0."""
        service = self.by_host.get(host)
        return service.ports[0].number if service is not None and len(service.ports) == 1 else 0


def routing_class(view: ProxyView) -> ProxyView:
    """The view without what cannot matter to outbound listeners and routes, so that more proxies share them."""
    return replace(
        view, targets=(), network="", cluster="", locality=NO_LOCALITY, requested_networks=(), envoy_version=None
    )


def scope_of(snapshot: Snapshot, view: ProxyView) -> Scope:
    """The scope of a view: its Sidecar's for workloads, everything that is exported to it otherwise."""
    known = _known_scopes(
        snapshot.mesh, snapshot.services, table_of(snapshot, "VirtualService"), table_of(snapshot, "Sidecar")
    )
    key = routing_class(view)
    found = known.get(key)
    if found is None:
        found = known[key] = _scope(snapshot, key)
    return found


@memo(size=2)
def _known_scopes(*_inputs: object) -> dict[ProxyView, Scope]:
    return {}


def cluster_domain(view: ProxyView) -> str:
    """The DNS domain of the view's cluster, e.g. `cluster.local`."""
    return view.dns_domain.partition(".svc.")[2] or "cluster.local"


def _scope(snapshot: Snapshot, view: ProxyView) -> Scope:
    visible = tuple(visible_services(snapshot, view))
    delegates = delegate_routes(table_of(snapshot, "VirtualService"))
    rules = tuple(rules_from(visible_virtual_services(snapshot, view), delegates, cluster_domain(view)))
    bound = tuple(rule for rule in rules if MESH in rule.gateways)
    by_host = _one_per_host(visible, view.namespace)
    sidecar = sidecar_of(snapshot, view) if view.type is not ProxyType.ROUTER else None
    mode = snapshot.mesh.outbound_traffic_policy.mode
    if sidecar is not None and sidecar.spec.outbound_traffic_policy is not None:
        mode = sidecar.spec.outbound_traffic_policy.mode
    if sidecar is None or not sidecar.spec.egress:
        listeners: tuple[EgressScope, ...] = (EgressScope(tuple(by_host.values()), RuleIndex(bound)),)
        chosen = by_host
    else:
        listeners = tuple(_egress(item, sidecar.meta.namespace, visible, bound, view) for item in sidecar.spec.egress)
        chosen = _one_per_host((s for listener in listeners for s in listener.services), view.namespace)
        for host in _destinations(listeners, cluster_domain(view)):
            if host in by_host:
                chosen.setdefault(host, by_host[host])
    services = tuple(chosen.values())
    by_key = {service.key: service for service in services}
    return Scope(listeners, services, by_key, chosen, mode is OutboundMode.ALLOW_ANY, rules)


def _one_per_host(services: Iterable[Service], namespace: str) -> dict[str, Service]:
    """Of services that share a host: the client's own namespace, then Kubernetes, then the oldest."""
    best: dict[str, Service] = {}
    for service in services:
        known = best.setdefault(service.host, service)
        if _rank(service, namespace) < _rank(known, namespace):
            best[service.host] = service
    return best


def _rank(service: Service, namespace: str) -> tuple[bool, bool]:
    return service.namespace != namespace, service.origin is not Origin.KUBERNETES


def _egress(
    said: IstioEgressListener, own: str, visible: Sequence[Service], rules: Sequence[Rules], view: ProxyView
) -> EgressScope:
    patterns = [_pattern(host, own) for host in said.hosts]
    services = (s for s in visible if any(_imports(pattern, s.namespace, s.host) for pattern in patterns))
    imported = (
        rule
        for rule in rules
        if any(_imports(pattern, rule.key.namespace, host) for pattern in patterns for host in rule.hosts)
    )
    port = said.port
    return EgressScope(
        tuple(_one_per_host(services, view.namespace).values()),
        RuleIndex(imported),
        port.number if port is not None else 0,
        _PROTOCOLS.get(port.protocol.upper(), Protocol.AUTO) if port is not None else Protocol.AUTO,
        said.bind,
        said.capture_mode is not CaptureMode.NONE,
    )


_PROTOCOLS = {protocol.value.upper(): protocol for protocol in Protocol}


def _pattern(text: str, own: str) -> tuple[str, str]:
    namespace, _, host = text.partition("/")
    namespace = own if namespace == "." else namespace
    return namespace, resolve_short_host(host, namespace)


def _imports(pattern: tuple[str, str], namespace: str, host: str) -> bool:
    wanted, name = pattern
    return wanted in ("*", namespace) and (
        host_matches(name, host) or (host.startswith("*") and host_matches(host, name))
    )


def _destinations(listeners: Iterable[EgressScope], domain: str) -> Iterator[str]:
    """Hosts that imported rules send to: they are needed even where the Sidecar does not list them."""
    for listener in listeners:
        for rule in listener.rules.all:
            for host in rule.destinations():
                yield resolve_short_host(host, rule.key.namespace, domain)
