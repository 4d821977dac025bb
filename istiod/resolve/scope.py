"""What one class of proxies may call, ready for listeners and routes: services and rules per egress listener.

Input: `istiod.view.visibility` (exportTo, Sidecar resources). Adds look-ups by host and no judgement of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from federation.model.labels import NO_LABELS
from federation.model.locality import NO_LOCALITY
from federation.model.names import ServiceKey, resolve_short_host
from federation.model.service import Protocol, Resolution, Service, ServicePort
from federation.model.sni import OutboundName
from istiod.api.meshconfig import MeshConfig, MeshOutboundMode
from istiod.api.meta import Object
from istiod.api.providers import service_of
from istiod.api.sidecar import CaptureMode, IstioEgressListener, OutboundMode, Sidecar
from istiod.memo import memo
from istiod.registry.protocol import protocol_word
from istiod.resolve.connection import BLACK_HOLE, LOOKED_UP, PASSTHROUGH
from istiod.resolve.objects import table_of
from istiod.resolve.routes_match import MESH
from istiod.resolve.specs.cluster import ServiceRef
from istiod.resolve.specs.telemetry import UNKNOWN
from istiod.resolve.virtual_services import RuleIndex, Rules, delegate_routes, rules_from
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.view.visibility import egress_services, egress_virtual_services, one_per_host, sidecar_of


@dataclass(frozen=True, slots=True, eq=False)
class EgressScope:
    """One egress listener of a Sidecar, or the one that every proxy without a Sidecar has.

    One that is not `named` takes every port that no other listener names; a named one has its own `port`, which is 0 at
    a socket. `services` has one service per host, `rules` are bound to the mesh, in order. `bind` is an address or
    `unix://path`, "" = where the services are. `captured` is false for a listener that the application dials itself.
    """

    services: tuple[Service, ...]
    rules: RuleIndex
    named: bool = False
    port: int = 0
    protocol: Protocol = Protocol.AUTO
    bind: str = ""
    captured: bool = True

    def service_port(self, service: Service, number: int) -> ServicePort | None:
        """The port that a listener port means: the same number, or, at a socket, the only one there is."""
        if self.named and not number and len(service.ports) == 1:
            return service.ports[0]
        return service.port(number)

    @property
    def proxies(self) -> bool:
        """Whether clients name host and port of what they call, as of an HTTP proxy: all ports are behind it."""
        return self.named and (self.protocol is Protocol.HTTP_PROXY or (self.protocol.is_http and not self.port))


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """All that a class of proxies may call. `strangers` is the upstream that everything else goes to, `unknown_hosts`
    the one for requests to hosts that nobody declared.

    `gateway_rules` are those that a router may bind, of whatever Gateway. `dynamic` are hosts whose calls are looked up
    in DNS one by one.
    """

    listeners: tuple[EgressScope, ...]
    services: tuple[Service, ...]
    by_key: Mapping[ServiceKey, Service]
    by_host: Mapping[str, Service]
    strangers: str
    unknown_hosts: str
    gateway_rules: tuple[Rules, ...] = ()
    dynamic: frozenset[str] = frozenset()

    @property
    def looks_up(self) -> bool:
        """Whether some requests are sent to the name that they ask for."""
        return bool(self.dynamic) or self.unknown_hosts == LOOKED_UP

    def only_port(self, host: str) -> int:
        """The port of a service that has exactly one, else 0."""
        service = self.by_host.get(host)
        return service.ports[0].number if service is not None and len(service.ports) == 1 else 0


def routing_class(view: ProxyView) -> ProxyView:
    """The view without what cannot matter to outbound listeners and routes, so that more proxies share them."""
    return replace(
        view,
        targets=(),
        network="",
        cluster="",
        locality=NO_LOCALITY,
        requested_networks=(),
        envoy_version=None,
        metadata=NO_LABELS,
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
    sidecar = sidecar_of(snapshot, view)
    said: tuple[IstioEgressListener | None, ...] = (sidecar.spec.egress if sidecar is not None else ()) or (None,)
    listeners = (*(_egress(snapshot, view, item) for item in said), *_http_proxy(snapshot, view))
    everything = {service.host: service for service in egress_services(snapshot, view, None)}
    # Of one host in several listeners the first one's service counts: each has chosen among namespaces already.
    by_host = {
        service.host: service
        for service in one_per_host((s for listener in listeners for s in listener.services), namespace="")
    }
    for host in (*_destinations(listeners, cluster_domain(view)), *_provider_hosts(snapshot.mesh)):
        if host in everything:
            by_host.setdefault(host, everything[host])
    strangers = _strangers(snapshot, view, sidecar)
    return Scope(
        listeners,
        tuple(by_host.values()),
        {service.key: service for service in by_host.values()},
        by_host,
        strangers,
        LOOKED_UP if view.type is ProxyType.SIDECAR and _looked_up(snapshot, sidecar) else strangers,
        _rules(snapshot, view, None) if view.type is ProxyType.ROUTER else (),
        frozenset(host for host, service in by_host.items() if service.resolution is Resolution.DYNAMIC_DNS),
    )


def _strangers(snapshot: Snapshot, view: ProxyView, sidecar: Object[Sidecar] | None) -> str:
    """Where calls of nothing known go: nowhere, where the caller wanted to, or to the Sidecar's `egressProxy`."""
    said = sidecar.spec.outbound_traffic_policy if sidecar is not None else None
    mode = said.mode if said is not None else snapshot.mesh.outbound_traffic_policy.mode
    if mode in (OutboundMode.REGISTRY_ONLY, MeshOutboundMode.REGISTRY_ONLY):
        return BLACK_HOLE
    if sidecar is None or said is None or said.egress_proxy is None:
        return PASSTHROUGH
    proxy = said.egress_proxy
    host = resolve_short_host(proxy.host, sidecar.meta.namespace, cluster_domain(view))
    return OutboundName(proxy.port.number if proxy.port else 0, proxy.subset, host).format_cluster()


def _looked_up(snapshot: Snapshot, sidecar: Object[Sidecar] | None) -> bool:
    """Whether requests to unknown hosts are sent where DNS says: the mesh's word, unless a Sidecar has one."""
    said = sidecar.spec.outbound_traffic_policy if sidecar is not None else None
    return said is None and snapshot.mesh.outbound_traffic_policy.mode is MeshOutboundMode.ALLOW_ANY_DYNAMIC_DNS


def _rules(snapshot: Snapshot, view: ProxyView, listener: IstioEgressListener | None) -> tuple[Rules, ...]:
    """The rules of a view in Istio's order, in which the first speaks for a host in the mesh and all add up at a
    gateway: private ones of its own namespace, then those exported to it by name, then public ones; each oldest first.
    """
    delegates = delegate_routes(table_of(snapshot, "VirtualService"), snapshot.mesh)
    default = snapshot.mesh.default_virtual_service_export_to or ("*",)

    def reach(rule: Rules) -> int:
        if "*" in (rule.spec.export_to or default):
            return 2
        return 0 if rule.key.namespace == view.namespace else 1

    rules = rules_from(egress_virtual_services(snapshot, view, listener), delegates, cluster_domain(view))
    return tuple(sorted(rules, key=reach))


def _egress(snapshot: Snapshot, view: ProxyView, said: IstioEgressListener | None) -> EgressScope:
    services = egress_services(snapshot, view, said)
    rules = RuleIndex(rule for rule in _rules(snapshot, view, said) if MESH in rule.gateways)
    if said is None:
        return EgressScope(services, rules, bind="" if redirected(view) else _loopback(view), captured=redirected(view))
    captured = redirected(view) and said.capture_mode is not CaptureMode.NONE and not said.bind.startswith(SOCKET)
    bind = said.bind or ("" if captured else _loopback(view))
    if said.port is None:
        return EgressScope(services, rules, bind=bind, captured=captured)
    protocol = protocol_word(said.port.protocol) or Protocol.AUTO
    return EgressScope(services, rules, True, said.port.number, protocol, bind, captured)


def _http_proxy(snapshot: Snapshot, view: ProxyView) -> Iterator[EgressScope]:
    """The mesh's `proxyHttpPort`: applications that are told of an HTTP proxy find it at the loopback address."""
    port = snapshot.mesh.proxy_http_port
    if port and view.type is ProxyType.SIDECAR:
        sidecar = sidecar_of(snapshot, view)
        last = sidecar.spec.egress[-1] if sidecar is not None and sidecar.spec.egress else None
        whole = _egress(snapshot, view, last)
        yield replace(whole, named=True, port=port, protocol=Protocol.HTTP_PROXY, bind=_loopback(view), captured=False)


SOCKET = "unix://"


def redirected(view: ProxyView) -> bool:
    """Whether connections come to the proxy by the pod's capture rules; else everything is dialled at a port."""
    return view.interception != "NONE"


def _loopback(view: ProxyView) -> str:
    return "127.0.0.1" if view.ipv4 else "::1"


def called_by(scope: Scope) -> Callable[[str], ServiceRef | None]:
    """Finds the service behind an upstream by its name; strangers are known by the upstream alone."""

    def service(name: str) -> ServiceRef | None:
        if name in (PASSTHROUGH, BLACK_HOLE, LOOKED_UP):
            return ServiceRef(UNKNOWN, name, UNKNOWN)
        found = scope.by_host.get(name.rpartition("|")[2])
        return ServiceRef(found.host, found.name, found.namespace) if found is not None else None

    return service


def _provider_hosts(mesh: MeshConfig) -> Iterator[str]:
    """Hosts of the mesh's extension providers, which proxies call themselves."""
    return (service_of(provider)[0].rpartition("/")[2] for provider in mesh.extension_providers)


def _destinations(listeners: Iterable[EgressScope], domain: str) -> Iterator[str]:
    """Hosts that imported rules send to: they are needed even where the Sidecar does not list them."""
    for listener in listeners:
        for rule in listener.rules.all:
            for host in rule.destinations():
                yield resolve_short_host(host, rule.key.namespace, domain)
