"""Upstreams towards services: what a proxy of one class needs to reach everything that it sees.

Pure: snapshot + view -> `ClusterSpec`. Inbound upstreams belong to `istiod.resolve.inbound`. Names are Istio's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.sni import OutboundName
from istiod.api.destinationrule import TLSMode
from istiod.api.meshconfig import H2UpgradePolicy, MeshConfig, MeshOutboundMode
from istiod.resolve.connection import LOOKED_UP, dns_cache
from istiod.resolve.defaults import GATEWAY_OUTLIER, ISTIO, Profile, profile
from istiod.resolve.endpoints import Upstream, identities_of, placement, upstream_endpoints, upstreams_of
from istiod.resolve.headers import keeps_case
from istiod.resolve.peerauth import MtlsMode, peer_policies
from istiod.resolve.policy import (
    NO_TRAFFIC_POLICY,
    balancing_of,
    breakers_of,
    connect_timeout_of,
    http_of,
    keepalive_of,
    mesh_pool,
    outlier_of,
    upgrades_http,
)
from istiod.resolve.server_tls import known_curves, known_suites
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
from istiod.resolve.specs.telemetry import UNKNOWN
from istiod.resolve.specs.tls import UpstreamTls
from istiod.resolve.stat_names import outbound_stat_name
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
    Resolution.DYNAMIC_DNS: Discovery.DYNAMIC,
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
        clusters.append(passthrough(snapshot.mesh))
        if snapshot.mesh.outbound_traffic_policy.mode is MeshOutboundMode.ALLOW_ANY_DYNAMIC_DNS:
            clusters.append(_looked_up(snapshot, view))
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
    upgrade = mesh.h2_upgrade_policy is H2UpgradePolicy.UPGRADE
    discovery = _discovery(view, service)
    outlier = outlier_of(policy, defaults) if discovery is Discovery.EDS or policy.outlier_detection else None
    balancing = balancing_of(policy, placement(snapshot, upstream, defaults), outlier, defaults)
    if balancing.original_dst:
        discovery = Discovery.ORIGINAL_DST
    pool = policy.connection_pool
    http = http_of(pool, upstream.port.protocol, upgrades_http(pool, upgrade))
    http = replace(http, preserve_header_case=keeps_case(snapshot, view))
    tls, auto = _tls(snapshot, view, upstream, http.version, discovery)
    inline, dynamic = discovery in (Discovery.STRICT_DNS, Discovery.LOGICAL_DNS), discovery is Discovery.DYNAMIC
    unverified = dynamic and policy.tls is not None and bool(policy.tls.insecure_skip_verify)
    return ClusterSpec(
        name=upstream.name,
        discovery=discovery,
        connect_timeout=_connect_timeout(snapshot, upstream, defaults),
        lb=_balancer(view, discovery, balancing.lb),
        http=_named(http, tls, dynamic, not unverified),
        breakers=breakers_of(pool, policy, defaults),
        outlier=outlier if discovery not in _WITHOUT_ENDPOINTS else None,
        tls=tls,
        auto_mtls=auto,
        proxy_protocol=policy.proxy_protocol.version.value if policy.proxy_protocol else "",
        endpoints=upstream_endpoints(snapshot, view, upstream) if inline else None,
        ignore_health_on_host_removal=defaults.ignore_health_on_host_removal,
        keepalive=keepalive_of(pool, mesh),
        dns_refresh_rate=(mesh.dns_refresh_rate or 60.0) if inline else None,
        alt_stat_name=outbound_stat_name(mesh, upstream.name, service, upstream.port, upstream.subset),
        services=(ServiceRef(service.host, service.name, service.namespace),),
        external=service.external,
        subset=upstream.subset,
        config=upstream.config,
        dns_cache=dns_cache(snapshot.mesh, view) if dynamic else None,
        unverified=unverified,
        original_dst_port=_dialled_port(service, upstream.port),
    )


_WITHOUT_ENDPOINTS = (Discovery.ORIGINAL_DST, Discovery.DYNAMIC)


def _dialled_port(service: Service, port: ServicePort) -> int:
    """The port that a ServiceEntry of resolution NONE names for servers, if not the one that clients dial."""
    entry = service.origin is Origin.SERVICE_ENTRY and service.resolution is Resolution.PASSTHROUGH
    return port.target_port if entry and port.target_port != port.number else 0


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
            return None, False  # as Istio's istiod has it; `istiod.resolve.credentials` says so in a finding
        of_mesh = said.mode is TLSMode.ISTIO_MUTUAL or upstream.service.origin is Origin.SERVICE_ENTRY
        tls = from_settings(view, said, upstream.outbound, identities if of_mesh else (), version)
        if tls is not None and said.mode is not TLSMode.ISTIO_MUTUAL:
            defaults = snapshot.mesh.tls_defaults
            suites, curves = known_suites(defaults.cipher_suites), known_curves(defaults.ecdh_curves)
            tls = replace(tls, cipher_suites=suites, ecdh_curves=curves)
        return tls, False
    endpoints = snapshot.endpoints.get(upstream.service.key, ())
    off = peer_policies(snapshot).namespace_mode(upstream.service.namespace) is MtlsMode.DISABLE
    if upstream.service.external or snapshot.mesh.enable_auto_mtls is False or discovery is Discovery.DYNAMIC or off:
        return None, False
    if upstream.tls_mode not in (None, TLSMode.ISTIO_MUTUAL):
        return None, False  # the top level's word, where a port level has none: no mutual TLS
    if discovery is Discovery.ORIGINAL_DST:
        everywhere = bool(endpoints) and all(endpoint.mtls for endpoint in endpoints)
        return (mutual_tls(view, upstream.outbound, identities, version), False) if everywhere else (None, False)
    return mutual_tls(view, upstream.outbound, identities, version), True


def _named(http: HttpUpstream, tls: UpstreamTls | None, dynamic: bool, verified: bool) -> HttpUpstream:
    """What is done with the request's host towards the server: Envoy insists on it where names are looked up."""
    if dynamic:
        return replace(http, auto_sni=True, auto_san_validation=verified)
    if tls is None:
        return http
    return replace(http, auto_sni=tls.auto_sni, auto_san_validation=tls.auto_san_validation)


def _may_use_credentials(snapshot: Snapshot, view: ProxyView, service: Service) -> bool:
    """`credentialName` counts at gateways, and at sidecars only in a rule with a workloadSelector."""
    rule = destination_policy(snapshot, view, service)
    return view.type is ProxyType.ROUTER or (rule is not None and rule.rule.spec.workload_selector is not None)


def _connect_timeout(snapshot: Snapshot, upstream: Upstream, defaults: Profile) -> float:
    inside = defaults.gateway_connect_timeout if snapshot.gateways else defaults.connect_timeout
    default = 10.0 if upstream.service.external else inside
    return connect_timeout_of(upstream.policy.connection_pool, snapshot.mesh, default)


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
    return ClusterSpec(
        BLACKHOLE,
        Discovery.STATIC,
        10.0,
        LbSpec(LbPolicy.ROUND_ROBIN),
        HttpUpstream(HttpVersion.NONE),
        alt_stat_name=f"{BLACKHOLE};",
        services=(ServiceRef(UNKNOWN, BLACKHOLE, UNKNOWN),),
        external=True,
    )


def passthrough(mesh: MeshConfig) -> ClusterSpec:
    """The upstream that goes where the application wanted to go, within the limits of the mesh's default policy."""
    pool = mesh_pool(mesh)
    return ClusterSpec(
        PASSTHROUGH,
        Discovery.ORIGINAL_DST,
        connect_timeout_of(pool, mesh),
        LbSpec(LbPolicy.CLUSTER_PROVIDED),
        http_of(pool, Protocol.AUTO),
        breakers=breakers_of(pool, NO_TRAFFIC_POLICY, ISTIO),
        keepalive=keepalive_of(pool, mesh),
        alt_stat_name=f"{PASSTHROUGH};",
        services=(ServiceRef(UNKNOWN, PASSTHROUGH, UNKNOWN),),
        external=True,
    )


def _looked_up(snapshot: Snapshot, view: ProxyView) -> ClusterSpec:
    """The upstream that goes to the name that a request asks for, with the mesh's TLS for such calls if it has any."""
    said = snapshot.mesh.outbound_traffic_policy.tls
    tls = from_settings(view, said, OutboundName(0, "", ""), (), HttpVersion.DOWNSTREAM) if said is not None else None
    unverified = said is not None and bool(said.insecure_skip_verify)
    return ClusterSpec(
        LOOKED_UP,
        Discovery.DYNAMIC,
        snapshot.mesh.connect_timeout or 10.0,
        LbSpec(LbPolicy.CLUSTER_PROVIDED),
        _named(HttpUpstream(HttpVersion.DOWNSTREAM), tls, dynamic=True, verified=not unverified),
        breakers=BreakerSpec(),
        tls=tls,
        services=(ServiceRef(UNKNOWN, LOOKED_UP, UNKNOWN),),
        external=True,
        dns_cache=dns_cache(snapshot.mesh, view),
        unverified=unverified,
    )


_GRPC_BALANCERS = (LbPolicy.ROUND_ROBIN, LbPolicy.RING_HASH)  # gRPC clients refuse an upstream with another one


def _balancer(view: ProxyView, discovery: Discovery, lb: LbSpec) -> LbSpec:
    if discovery in _WITHOUT_ENDPOINTS:
        return _original_dst(lb)
    if view.type is ProxyType.GRPC and lb.policy not in _GRPC_BALANCERS:
        return replace(lb, policy=LbPolicy.ROUND_ROBIN)
    return lb


def _original_dst(lb: LbSpec) -> LbSpec:
    return LbSpec(LbPolicy.CLUSTER_PROVIDED, panic_threshold=lb.panic_threshold)
