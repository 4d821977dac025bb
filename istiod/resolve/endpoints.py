"""Endpoints of every upstream of a service, as one class of proxies must see them.

Pure: snapshot + view -> `EndpointsSpec`. Order of the filters is Istio's: port, subset, cluster, network view,
health, then networks and gateways, then localities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from federation.model.names import ServiceKey
from federation.model.service import Protocol, Service, ServicePort
from federation.model.sni import OutboundName
from federation.model.workload import Endpoint, Health, NetworkGateway
from istiod.api.destinationrule import Subset, TLSMode, TrafficPolicy
from istiod.resolve.defaults import SIDECAR_HEALTH_PORT, Profile, profile
from istiod.resolve.locality import LocalityPolicy, place
from istiod.resolve.networks import Candidate, GatewayIndex, reach
from istiod.resolve.peerauth import MtlsMode, mtls_mode, peer_policies
from istiod.resolve.policy import effective_policy, locality_of, outlier_of, said_tls_mode
from istiod.resolve.specs.endpoints import EndpointsSpec
from istiod.resolve.telemetry import exchanges
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView
from istiod.view.visibility import DestinationPolicy, destination_policy


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream of a service: a port, maybe a subset, and the policy in force there.

    `tls_mode` is the one that the rule names, which a port level may leave to the top level. `passthrough` is the form
    that an east-west gateway serves: named like the SNI, bytes forwarded unopened.
    """

    service: Service
    port: ServicePort
    subset: str
    subset_labels: Mapping[str, str]
    policy: TrafficPolicy
    config: str
    tls_mode: TLSMode | None = None
    passthrough: bool = False

    @property
    def outbound(self) -> OutboundName:
        """Port, subset and host as a name."""
        return OutboundName(self.port.number, self.subset, self.service.host)

    @property
    def name(self) -> str:
        """The name of the Envoy cluster and of its endpoints."""
        return self.outbound.format_sni() if self.passthrough else self.outbound.format_cluster()


def upstreams_of(
    snapshot: Snapshot, view: ProxyView, service: Service, passthrough: bool = False
) -> Iterator[Upstream]:
    """Every upstream that proxies of this view have for a service: each port, and each subset of its rule."""
    rule = destination_policy(snapshot, view, service)
    subsets = (None, *(rule.subsets.values() if rule is not None else ()))
    for port in service.ports:
        if port.protocol is not Protocol.UDP:
            for subset in subsets:
                yield _upstream(snapshot, service, port, rule, subset, passthrough)


def _upstream(
    snapshot: Snapshot,
    service: Service,
    port: ServicePort,
    rule: DestinationPolicy | None,
    subset: Subset | None,
    passthrough: bool,
) -> Upstream:
    top, own = rule.policy if rule is not None else None, subset.traffic_policy if subset is not None else None
    return Upstream(
        service,
        port,
        subset.name if subset is not None else "",
        subset.labels if subset is not None else {},
        effective_policy(top, own, port.number, snapshot.mesh.default_traffic_policy),
        rule.config if rule is not None else "",
        said_tls_mode(top, own, port.number),
        passthrough,
    )


def endpoints_of(
    snapshot: Snapshot, view: ProxyView, key: ServiceKey, passthrough: bool = False
) -> tuple[EndpointsSpec, ...]:
    """The endpoints of all upstreams of one service for a view; empty if the service is gone."""
    service = snapshot.services.get(key)
    if service is None:
        return ()
    return tuple(
        upstream_endpoints(snapshot, view, upstream) for upstream in upstreams_of(snapshot, view, service, passthrough)
    )


def upstream_endpoints(snapshot: Snapshot, view: ProxyView, upstream: Upstream) -> EndpointsSpec:
    """The endpoints of one upstream by priority and locality."""
    defaults = profile(snapshot.mesh.isthmus.defaults)
    candidates = _candidates(snapshot, view, upstream, defaults)
    if upstream.passthrough:
        candidates = (candidate for candidate in candidates if candidate.mtls)
    reachable = reach(candidates, view.network, gateway_index(snapshot.gateways), facts=exchanges(snapshot))
    if upstream.passthrough and defaults.gateway_health_check is not None:
        reachable = [replace(p, spec=replace(p.spec, health_check_port=SIDECAR_HEALTH_PORT)) for p in reachable]
    return EndpointsSpec(
        upstream.name, place(reachable, view.locality, view.labels, placement(snapshot, upstream, defaults))
    )


def placement(snapshot: Snapshot, upstream: Upstream, defaults: Profile) -> LocalityPolicy:
    """How the endpoints of an upstream are ordered by locality."""
    outlier = outlier_of(upstream.policy, defaults)
    return locality_of(upstream.policy, upstream.service, snapshot.mesh, outlier)


def _candidates(snapshot: Snapshot, view: ProxyView, upstream: Upstream, defaults: Profile) -> Iterator[Candidate]:
    service, subset = upstream.service, upstream.subset_labels
    for endpoint in snapshot.endpoints.get(service.key, ()):
        port = endpoint.port(upstream.port.name)
        if not port or (subset and not endpoint.labels.selected_by(subset)):
            continue
        if service.cluster_local and endpoint.cluster != view.cluster:
            continue
        if view.requested_networks and endpoint.network and endpoint.network not in view.requested_networks:
            continue
        if endpoint.health is Health.DRAINING:
            continue
        yield Candidate(endpoint, port, takes_mutual_tls(snapshot, upstream.tls_mode, service, endpoint, port))


def takes_mutual_tls(snapshot: Snapshot, said: TLSMode | None, service: Service, endpoint: Endpoint, port: int) -> bool:
    """Whether mutual TLS is spoken to an endpoint: a rule's TLS mode decides alone, else its sidecar and
    PeerAuthentication.

    Where a namespace has it off, a policy for single workloads does not bring their callers back to it: as Istio's task
    "Authentication Policy" says, callers need a DestinationRule then.
    """
    if said is not None:
        return said is TLSMode.ISTIO_MUTUAL
    if not endpoint.mtls or peer_policies(snapshot).namespace_mode(service.namespace) is MtlsMode.DISABLE:
        return False
    return mtls_mode(snapshot, endpoint.namespace or service.namespace, endpoint.labels, port) is not MtlsMode.DISABLE


@lru_cache(maxsize=8)
def gateway_index(gateways: tuple[NetworkGateway, ...]) -> GatewayIndex:
    """The gateways of a snapshot by network and cluster."""
    return GatewayIndex(gateways)


def identities_of(snapshot: Snapshot, service: Service) -> tuple[str, ...]:
    """The SPIFFE identities that endpoints of a service may show, declared ones first."""
    seen = dict.fromkeys(service.subject_alt_names)
    seen.update(dict.fromkeys(_identities(snapshot.endpoints.get(service.key, ()))))
    return tuple(seen)


def _identities(endpoints: Iterable[Endpoint]) -> list[str]:
    return sorted({str(endpoint.identity) for endpoint in endpoints if endpoint.identity is not None})
