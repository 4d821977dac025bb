"""Upstreams towards services: what a proxy of one class needs to reach everything that it sees.

Pure: snapshot + view -> `ClusterSpec`. Inbound upstreams belong to `istiod.resolve.inbound`. Names are Istio's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from federation.model.service import Origin, Resolution, Service
from istiod.api.destinationrule import TLSMode
from istiod.api.meshconfig import H2UpgradePolicy
from istiod.resolve.defaults import GATEWAY_OUTLIER, Profile, profile
from istiod.resolve.endpoints import Upstream, identities_of, placement, upstream_endpoints, upstreams_of
from istiod.resolve.policy import balancing_of, breakers_of, http_of, keepalive_of, outlier_of, upgrades_http
from istiod.resolve.specs.cluster import (
    BreakerSpec,
    ClusterSpec,
    Discovery,
    HttpUpstream,
    HttpVersion,
    LbPolicy,
    LbSpec,
    ServiceRef,
)
from istiod.resolve.specs.tls import UpstreamTls
from istiod.resolve.tls import from_settings, mutual_tls
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.view.visibility import destination_policy

PASSTHROUGH = "PassthroughCluster"
BLACKHOLE = "BlackHoleCluster"

_DISCOVERY = {
    Resolution.ENDPOINTS: Discovery.EDS,
    Resolution.DNS: Discovery.STRICT_DNS,
    Resolution.DNS_ROUND_ROBIN: Discovery.LOGICAL_DNS,
    Resolution.PASSTHROUGH: Discovery.ORIGINAL_DST,
}


def outbound_clusters(snapshot: Snapshot, view: ProxyView, services: Iterable[Service]) -> list[ClusterSpec]:
    """One upstream per port and subset of each service, and the two fixed ones every sidecar has."""
    clusters = [
        cluster_of(snapshot, view, upstream)
        for service in services
        for upstream in upstreams_of(snapshot, view, service)
    ]
    clusters.append(blackhole())
    if view.type is ProxyType.SIDECAR:
        clusters.append(passthrough(profile(snapshot.mesh.isthmus.defaults)))
    return clusters


def passthrough_clusters(snapshot: Snapshot, view: ProxyView, services: Iterable[Service]) -> list[ClusterSpec]:
    """What an east-west gateway forwards to, named like the SNI of the connections; no TLS of its own."""
    defaults = profile(snapshot.mesh.isthmus.defaults)
    return [
        _forwarding(snapshot, upstream, defaults)
        for service in services
        if not service.external
        for upstream in upstreams_of(snapshot, view, service, passthrough=True)
    ]


def cluster_of(snapshot: Snapshot, view: ProxyView, upstream: Upstream) -> ClusterSpec:
    """One upstream of a sidecar, ingress gateway or gRPC client."""
    mesh, service, policy = snapshot.mesh, upstream.service, upstream.policy
    defaults = profile(mesh.isthmus.defaults)
    upgrade = mesh.h2_upgrade_policy is H2UpgradePolicy.UPGRADE and not service.external
    discovery = _discovery(view, service)
    outlier = outlier_of(policy, defaults) if discovery is Discovery.EDS or policy.outlier_detection else None
    balancing = balancing_of(policy, placement(snapshot, upstream, defaults), outlier, defaults)
    if balancing.original_dst:
        discovery = Discovery.ORIGINAL_DST
    pool = policy.connection_pool
    http = http_of(pool, upstream.port.protocol, upgrades_http(pool, upgrade))
    tls, auto = _tls(snapshot, view, upstream, http.version, discovery)
    inline = discovery in (Discovery.STRICT_DNS, Discovery.LOGICAL_DNS)
    return ClusterSpec(
        name=upstream.name,
        discovery=discovery,
        connect_timeout=_connect_timeout(snapshot, upstream, defaults),
        lb=_balancer(view, discovery, balancing.lb),
        http=replace(http, auto_sni=tls.auto_sni, auto_san_validation=tls.auto_san_validation) if tls else http,
        breakers=breakers_of(pool, policy, defaults),
        outlier=outlier if discovery is not Discovery.ORIGINAL_DST else None,
        tls=tls,
        auto_mtls=auto,
        proxy_protocol=policy.proxy_protocol.version.value if policy.proxy_protocol else "",
        endpoints=upstream_endpoints(snapshot, view, upstream) if inline else None,
        ignore_health_on_host_removal=defaults.ignore_health_on_host_removal,
        keepalive=keepalive_of(pool, mesh),
        dns_refresh_rate=(mesh.dns_refresh_rate or 60.0) if inline else None,
        alt_stat_name=f"{upstream.name};",
        services=(ServiceRef(service.host, service.name, service.namespace),),
        subset=upstream.subset,
        config=upstream.config,
    )


def _discovery(view: ProxyView, service: Service) -> Discovery:
    if service.resolution is Resolution.PASSTHROUGH and service.headless and view.type is not ProxyType.SIDECAR:
        return Discovery.EDS  # a gateway has no original destination to go to
    return _DISCOVERY[service.resolution]


def _tls(
    snapshot: Snapshot, view: ProxyView, upstream: Upstream, version: HttpVersion, discovery: Discovery
) -> tuple[UpstreamTls | None, bool]:
    said = upstream.policy.tls
    identities = identities_of(snapshot, upstream.service)
    if said is not None and said.mode is not None:
        if said.credential_name and not _may_use_credentials(snapshot, view, upstream.service):
            said = said.model_copy(update={"credential_name": ""})
        of_mesh = said.mode is TLSMode.ISTIO_MUTUAL or upstream.service.origin is Origin.SERVICE_ENTRY
        return from_settings(view, said, upstream.outbound, identities if of_mesh else (), version), False
    endpoints = snapshot.endpoints.get(upstream.service.key, ())
    if upstream.service.external or snapshot.mesh.enable_auto_mtls is False:
        return None, False
    if discovery is Discovery.ORIGINAL_DST:
        everywhere = bool(endpoints) and all(endpoint.mtls for endpoint in endpoints)
        return (mutual_tls(view, upstream.outbound, identities, version), False) if everywhere else (None, False)
    return mutual_tls(view, upstream.outbound, identities, version), True


def _may_use_credentials(snapshot: Snapshot, view: ProxyView, service: Service) -> bool:
    """`credentialName` counts at gateways, and at sidecars only in a rule with a workloadSelector."""
    rule = destination_policy(snapshot, view, service)
    return view.type is ProxyType.ROUTER or (rule is not None and rule.rule.spec.workload_selector is not None)


def _connect_timeout(snapshot: Snapshot, upstream: Upstream, defaults: Profile) -> float:
    pool = upstream.policy.connection_pool
    if pool is not None and pool.tcp is not None and pool.tcp.connect_timeout:
        return pool.tcp.connect_timeout
    if snapshot.mesh.connect_timeout:
        return snapshot.mesh.connect_timeout
    if upstream.service.external:
        return 10.0
    return defaults.gateway_connect_timeout if snapshot.gateways else defaults.connect_timeout


def _forwarding(snapshot: Snapshot, upstream: Upstream, defaults: Profile) -> ClusterSpec:
    outlier = GATEWAY_OUTLIER if defaults.outlier is not None else None
    return ClusterSpec(
        name=upstream.name,
        discovery=Discovery.EDS,
        connect_timeout=defaults.gateway_connect_timeout,
        lb=LbSpec(
            LbPolicy.LEAST_REQUEST,
            panic_threshold=defaults.panic_threshold,
            update_merge_window=defaults.update_merge_window,
        ),
        http=HttpUpstream(HttpVersion.NONE),
        breakers=breakers_of(None, upstream.policy, defaults),
        outlier=outlier,
        ignore_health_on_host_removal=defaults.ignore_health_on_host_removal,
        close_connections_on_host_health_failure=defaults.outlier is not None,
        health_checks=(defaults.gateway_health_check,) if defaults.gateway_health_check else (),
        keepalive=keepalive_of(None, snapshot.mesh),
        services=(ServiceRef(upstream.service.host, upstream.service.name, upstream.service.namespace),),
        subset=upstream.subset,
        config=upstream.config,
    )


def blackhole() -> ClusterSpec:
    """The upstream without hosts: connections to it are closed."""
    return ClusterSpec(BLACKHOLE, Discovery.STATIC, 10.0, LbSpec(LbPolicy.ROUND_ROBIN), HttpUpstream(HttpVersion.NONE))


def passthrough(defaults: Profile) -> ClusterSpec:
    """The upstream that goes where the application wanted to go."""
    return ClusterSpec(
        PASSTHROUGH,
        Discovery.ORIGINAL_DST,
        max(defaults.connect_timeout, 10.0),
        LbSpec(LbPolicy.CLUSTER_PROVIDED),
        HttpUpstream(HttpVersion.DOWNSTREAM),
        breakers=BreakerSpec(),
    )


_GRPC_BALANCERS = (LbPolicy.ROUND_ROBIN, LbPolicy.RING_HASH)  # gRPC clients refuse an upstream with another one


def _balancer(view: ProxyView, discovery: Discovery, lb: LbSpec) -> LbSpec:
    if discovery is Discovery.ORIGINAL_DST:
        return _original_dst(lb)
    if view.type is ProxyType.GRPC and lb.policy not in _GRPC_BALANCERS:
        return replace(lb, policy=LbPolicy.ROUND_ROBIN)
    return lb


def _original_dst(lb: LbSpec) -> LbSpec:
    return LbSpec(LbPolicy.CLUSTER_PROVIDED, panic_threshold=lb.panic_threshold)
