"""Puts a proxy into its class: the view says all that its configuration may depend on, and nothing else.

Pure: proxy + snapshot -> view. Labels are cut down to keys that some policy selects on, so that replicas of one
Deployment (and often whole namespaces) share a view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from federation.model.labels import Labels
from federation.model.workload import CLUSTER_LABEL, NETWORK_LABEL, Endpoint
from istiod.api.destinationrule import DestinationRule, TrafficPolicy
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Invalid, Object
from istiod.memo import memo
from istiod.registry.build import age_order
from istiod.registry.contribution import REGION_LABEL, SUBZONE_LABEL, ZONE_LABEL
from istiod.snapshot import Snapshot
from istiod.view.proxy import Proxy, ProxyType, ProxyView, ServiceTarget

_SELECTING = (
    Kind.SIDECAR,
    Kind.DESTINATION_RULE,
    Kind.PEER_AUTHENTICATION,
    Kind.REQUEST_AUTHENTICATION,
    Kind.AUTHORIZATION_POLICY,
    Kind.TELEMETRY,
    Kind.ENVOY_FILTER,
    Kind.GATEWAY,
    Kind.VIRTUAL_SERVICE,
)
VERSION_KEY = "ISTIO_VERSION"  # of a node's metadata: the version that patches may ask for
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"  # of pods that serve a Gateway of the Gateway API
_NOTHING: Mapping[Any, Any] = {}


def view_of(proxy: Proxy, snapshot: Snapshot) -> ProxyView:
    """The class of a proxy under a snapshot."""
    keys, asked = looked_at(snapshot)
    families = {":" in address for address in proxy.addresses} or {False}
    return ProxyView(
        type=proxy.type,
        namespace=proxy.namespace,
        dns_domain=proxy.dns_domain,
        cluster=proxy.cluster,
        network=proxy.network,
        locality=proxy.locality,
        labels=Labels({key: value for key, value in proxy.labels.items() if key in keys}),
        targets=targets_of(proxy, snapshot) if proxy.type in (ProxyType.SIDECAR, ProxyType.ROUTER) else (),
        requested_networks=proxy.requested_networks,
        agentless=proxy.agentless,
        dns_capture=proxy.dns_capture,
        http10=proxy.http10,
        interception=proxy.interception,
        ipv4=False in families,
        ipv6=True in families,
        topology=proxy.topology,
        proxy_headers=proxy.proxy_headers,
        connection_settings=proxy.connection_settings,
        envoy_version=proxy.envoy_version,
        metadata=Labels({key: value for key, value in proxy.metadata.items() if key in asked}),
        service_name=service_name_of(proxy, snapshot.mesh),
    )


def service_name_of(proxy: Proxy, mesh: MeshConfig) -> str:
    """The name of a workload in traces, where some provider has to be told it; else "", which more proxies share."""
    if not any(provider.opentelemetry or provider.datadog for provider in mesh.extension_providers):
        return ""
    workload = proxy.metadata.get("WORKLOAD_NAME", "") or proxy.name
    canonical = proxy.labels.get("service.istio.io/canonical-name", "") or workload
    match mesh.default_config.tracing_service_name:
        case "CANONICAL_NAME_ONLY":
            return canonical
        case "CANONICAL_NAME_AND_NAMESPACE":
            return f"{canonical}.{proxy.namespace}"
    return f"{proxy.labels.get('app', '') or workload}.{proxy.namespace}"


def targets_of(proxy: Proxy, snapshot: Snapshot) -> tuple[ServiceTarget, ...]:
    """The service ports that this proxy's own workload serves, services oldest first: those of its own namespace, for
    nobody else may say what its ports speak.
    """
    known = {key for address in proxy.addresses for key in snapshot.addresses.get(address, ())}
    keys = [key for key in known if key.namespace == proxy.namespace]
    found: dict[ServiceTarget, None] = {}
    for service in sorted((snapshot.services[key] for key in keys), key=age_order):
        there = _at(snapshot.endpoints[service.key])
        for endpoint in (e for address in proxy.addresses for e in there.get(address, ())):
            if _elsewhere(endpoint.network, proxy.network):
                continue
            for port in service.ports:
                number = endpoint.port(port.name)
                if number:
                    found[ServiceTarget(service.key, port, number)] = None
    return tuple(found)


@memo(size=4096)
def _at(endpoints: tuple[Endpoint, ...]) -> dict[str, list[Endpoint]]:
    """Endpoints by address, so that a thousand replicas of one service are not each compared with all the others."""
    found: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        found.setdefault(endpoint.address, []).append(endpoint)
    return found


def _elsewhere(network: str, own: str) -> bool:
    """Addresses mean something only inside their network."""
    return bool(network) and bool(own) and network != own


def label_keys(snapshot: Snapshot) -> frozenset[str]:
    """The label keys that some policy of the mesh can look at in a proxy."""
    return _label_keys(snapshot.mesh, *(snapshot.tables.get(kind, _NOTHING) for kind in _SELECTING))


def looked_at(snapshot: Snapshot) -> tuple[frozenset[str], frozenset[str]]:
    """All that decides which proxies are of one class, but the proxies: the keys of labels and of node metadata."""
    return label_keys(snapshot), metadata_keys(snapshot)


def metadata_keys(snapshot: Snapshot) -> frozenset[str]:
    """The keys of node metadata that some patch of the mesh looks at."""
    return _metadata_keys(snapshot.tables.get(Kind.ENVOY_FILTER, _NOTHING))


@memo(size=2)
def _metadata_keys(table: Mapping[Any, Any]) -> frozenset[str]:
    keys: set[str] = set()
    for item in table.values():
        for patch in item.spec.config_patches if isinstance(item, Object) else ():
            if patch.match.proxy is not None:
                keys.update(patch.match.proxy.metadata)
                keys.update({VERSION_KEY} if patch.match.proxy.proxy_version else ())
    return frozenset(keys)


@memo(size=2)
def _label_keys(mesh: Any, *tables: Mapping[Any, Any]) -> frozenset[str]:
    keys = {REGION_LABEL, ZONE_LABEL, SUBZONE_LABEL, CLUSTER_LABEL, NETWORK_LABEL, GATEWAY_LABEL}
    for table in tables:
        for item in table.values():
            keys.update(_selected_keys(item))
    if mesh.locality_lb_setting is not None:
        keys.update(_priority_keys(mesh.locality_lb_setting.failover_priority))
    return frozenset(keys)


def _selected_keys(item: Any) -> Iterator[str]:
    if isinstance(item, Invalid):
        yield from item.selector
    if not isinstance(item, Object):
        return
    spec = item.spec
    for name in ("selector", "workload_selector"):
        selector = getattr(spec, name, None)
        yield from getattr(selector, "all_labels", selector) or ()
    if isinstance(spec, DestinationRule):
        yield from _rule_keys(spec)
    for routes in (getattr(spec, "http", ()), getattr(spec, "tls", ()), getattr(spec, "tcp", ())):
        for route in routes:
            for match in route.match:
                yield from match.source_labels


def _rule_keys(rule: DestinationRule) -> Iterator[str]:
    policies: list[TrafficPolicy | None] = [rule.traffic_policy, *(subset.traffic_policy for subset in rule.subsets)]
    for policy in policies:
        for level in (policy, *(policy.port_level_settings if policy else ())):
            settings = level.load_balancer.locality_lb_setting if level is not None and level.load_balancer else None
            if settings is not None:
                yield from _priority_keys(settings.failover_priority)


def _priority_keys(entries: Iterable[str]) -> Iterator[str]:
    return (entry.partition("=")[0] for entry in entries)
