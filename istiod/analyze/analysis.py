"""All analyzers, and what they say of a snapshot. The entry of the package.

An analyzer is a pure function of a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from federation.model.findings import Finding
from federation.model.labels import Labels
from istiod.analyze import (
    authorization,
    clusters,
    destinationrules,
    gateways,
    metadata,
    policies,
    services,
    sidecars,
    virtualservices,
)
from istiod.analyze.lookup import selected
from istiod.api.kinds import Kind
from istiod.gatewayapi.names import MARK
from istiod.memo import memo
from istiod.resolve.config import resolve_view
from istiod.resolve.credentials import credential_findings
from istiod.resolve.inbound_ports import port_conflicts
from istiod.resolve.objects import table_of
from istiod.resolve.provider_findings import provider_findings
from istiod.resolve.scope import routing_class
from istiod.resolve.unsupported import unsupported_fields
from istiod.snapshot import Snapshot
from istiod.view.classes import view_of
from istiod.view.proxy import Proxy, ProxyType, ProxyView

Analyzer = Callable[[Snapshot], Iterable[Finding]]

ANALYZERS: tuple[Analyzer, ...] = (
    virtualservices.destinations,
    virtualservices.gateways,
    virtualservices.delegates,
    virtualservices.hosts,
    virtualservices.conflicts,
    virtualservices.route_names,
    virtualservices.http_ports,
    virtualservices.subsets_at_gateways,
    virtualservices.claims,
    destinationrules.hosts,
    destinationrules.subsets,
    destinationrules.conflicts,
    destinationrules.mtls,
    destinationrules.certificates,
    destinationrules.ports,
    gateways.selectors,
    gateways.unserved,
    gateways.service_ports,
    gateways.conflicts,
    gateways.duplicate_certificates,
    services.port_names,
    services.selectors,
    services.target_ports,
    services.shared_workloads,
    services.addresses,
    services.several_namespaces,
    sidecars.selectors,
    sidecars.conflicts,
    sidecars.imports,
    policies.selectors,
    policies.root_selectors,
    policies.conflicts,
    policies.peer_ports,
    policies.providers,
    policies.patches,
    policies.target_namespaces,
    authorization.source_namespaces,
    authorization.principals,
    authorization.http_rules,
    authorization.tokens,
    metadata.unknown_annotations,
    metadata.injection_labels,
    clusters.services,
    clusters.networks,
    clusters.exports,
    clusters.registries,
)


@memo(size=2)
def analyze(snapshot: Snapshot) -> tuple[Finding, ...]:
    """What all analyzers say of a snapshot, worst first. Of objects translated from the Gateway API nothing is said:
    those that they were translated of have findings of their own.
    """
    found = (finding for analyzer in ANALYZERS for finding in analyzer(snapshot))
    return worst_first({finding for finding in found if MARK not in finding.object})


def analyze_all(snapshot: Snapshot) -> tuple[Finding, ...]:
    """What sources, registry, resolvers and analyzers say of a snapshot without any proxy, worst first.

    The resolvers are asked for every kind of proxy that the objects speak of.
    """
    found = {*snapshot.findings, *unsupported_fields(snapshot), *provider_findings(snapshot), *analyze(snapshot)}
    secrets_known = bool(table_of(snapshot, Kind.SECRET))
    known: set[ProxyView] = set()
    for proxy in _proxies(snapshot):
        view = view_of(proxy, snapshot)
        kind = routing_class(view)
        if kind in known:  # what it serves itself is all that is new
            found.update(port_conflicts(view))
            continue
        known.add(kind)
        found.update(resolve_view(snapshot, view).findings)
        found.update(credential_findings(snapshot, view) if secrets_known else ())
    return worst_first(found)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order in which people are shown them."""
    return tuple(sorted(findings, key=lambda finding: (-finding.severity, finding)))


def _proxies(snapshot: Snapshot) -> Iterator[Proxy]:
    """A sidecar of every namespace, one of every workload's address, and a gateway of every Gateway's selector."""
    namespaces = {service.namespace for service in snapshot.services.values()}
    namespaces |= {key.namespace for kind in _SCOPING for key in table_of(snapshot, kind)}
    for namespace in sorted(namespaces):
        yield _proxy(ProxyType.SIDECAR, namespace)
    for address, keys in snapshot.addresses.items():
        there = next(endpoint for endpoint in snapshot.endpoints[keys[0]] if endpoint.address == address)
        yield _proxy(ProxyType.SIDECAR, keys[0].namespace, address, there.labels)
    for key, gateway in table_of(snapshot, Kind.GATEWAY).items():
        selector = Labels(gateway.spec.selector)
        for namespace in sorted({pod.key.namespace for pod in selected(snapshot, selector)} or {key.namespace}):
            yield _proxy(ProxyType.ROUTER, namespace, labels=selector)


_SCOPING = (Kind.SIDECAR, Kind.VIRTUAL_SERVICE, Kind.DESTINATION_RULE, Kind.PEER_AUTHENTICATION)


def _proxy(kind: ProxyType, namespace: str, address: str = "192.0.2.1", labels: Labels | None = None) -> Proxy:
    return Proxy(
        f"analyze.{namespace}", kind, "analyze", namespace, "default", f"{namespace}.svc.cluster.local", (address,),
        "cluster", "network", labels=labels or Labels({}),
    )  # fmt: skip
