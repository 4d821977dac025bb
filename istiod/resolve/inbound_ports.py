"""The ports on which a workload takes traffic, and the upstreams that lead from its sidecar to the application.

Input: the view's service targets, or the ingress listeners of its Sidecar resource, which replace them. Knows nothing
of TLS or filter chains. Rules: Istio's Sidecar reference, `ingress`; the oldest service decides on a port that several
claim.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from federation.model.findings import Finding, Severity
from federation.model.locality import NO_LOCALITY
from federation.model.names import ServiceKey
from federation.model.service import Protocol
from istiod.api.destinationrule import ConnectionPoolSettings
from istiod.api.gateway import ServerTLSSettings
from istiod.api.meshconfig import InboundMode, MeshConfig
from istiod.api.sidecar import CaptureMode, Sidecar
from istiod.registry.protocol import protocol_word
from istiod.resolve.defaults import ISTIO
from istiod.resolve.headers import keeps_case
from istiod.resolve.policy import (
    NO_TRAFFIC_POLICY,
    breakers_of,
    connect_timeout_of,
    effective_policy,
    http_of,
    keepalive_of,
    mesh_pool,
)
from istiod.resolve.scope import redirected
from istiod.resolve.specs.cluster import (
    ClusterSpec,
    Discovery,
    LbPolicy,
    LbSpec,
    ServiceRef,
)
from istiod.resolve.specs.endpoints import EndpointSpec, EndpointsSpec, LocalityEndpointsSpec
from istiod.resolve.stat_names import inbound_stat_name
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView, ServiceTarget
from istiod.view.visibility import destination_policy, sidecar_of

INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
# Connections to the application come from here, so that the capture rules let them through.
INBOUND_SOURCE, INBOUND_SOURCE6 = "127.0.0.6", "::6"
CLEANUP_INTERVAL = 60.0


@dataclass(frozen=True, slots=True)
class InboundPort:
    """One captured workload port.

    `service_port` is the port that clients call, `operation` the name of its requests in traces. `default_endpoint` is
    where the application listens when that is said: `ip:port` or `unix://path`, "" = the port itself. `pool` limits the
    connections to the application. A Sidecar's port may not be `captured`, but opened at `bind` ("" = every address),
    and may end TLS of callers from outside (`tls`). `stat_name` is that of the upstream, if not its own.
    """

    number: int
    protocol: Protocol
    service_port: int
    operation: str
    services: tuple[ServiceRef, ...]
    default_endpoint: str = ""
    pool: ConnectionPoolSettings | None = None
    bind: str = ""
    captured: bool = True
    tls: ServerTLSSettings | None = None
    stat_name: str = ""


def inbound_cluster_name(port: int) -> str:
    """`inbound|<port>||` of a workload port."""
    return f"inbound|{port}||"


def inbound_ports(snapshot: Snapshot, view: ProxyView) -> tuple[InboundPort, ...]:
    """One entry per workload port, by number; the oldest service that claims a port says what it speaks."""
    sidecar = sidecar_of(snapshot, view)
    if sidecar is not None and sidecar.spec.ingress:
        return _ingress_ports(snapshot, view, sidecar.spec)
    if not redirected(view):
        return ()  # the application has its ports for itself
    pool = sidecar.spec.inbound_connection_pool if sidecar is not None else None
    here = _loopback(view) if snapshot.mesh.inbound_traffic_policy.mode is InboundMode.LOCALHOST else ""
    ports: dict[int, InboundPort] = {}
    refs: dict[int, list[ServiceRef]] = {}
    for target in view.targets:
        if target.port.protocol is Protocol.UDP or not target.target_port:
            continue
        number = target.target_port
        refs.setdefault(number, []).append(_ref(snapshot, target.service))
        if number not in ports:
            operation = f"{target.service.host}:{target.port.number}/*"
            ports[number] = InboundPort(
                number,
                target.port.protocol,
                target.port.number,
                operation,
                (),
                f"{here}:{number}" if here else "",
                pool or _declared_pool(snapshot, view, target),
                stat_name=_stat_name(snapshot, number, target),
            )
    return tuple(replace(port, services=tuple(dict.fromkeys(refs[number]))) for number, port in sorted(ports.items()))


def _declared_pool(snapshot: Snapshot, view: ProxyView, target: ServiceTarget) -> ConnectionPoolSettings | None:
    """What the service's DestinationRule says of connections, else the mesh: it holds at the server's side too."""
    service = snapshot.services.get(target.service)
    rule = destination_policy(snapshot, view, service, serving=True) if service is not None else None
    policy = rule.policy if rule is not None else None
    return effective_policy(policy, None, target.port.number, snapshot.mesh.default_traffic_policy).connection_pool


def _stat_name(snapshot: Snapshot, number: int, target: ServiceTarget) -> str:
    service = snapshot.services.get(target.service)
    return inbound_stat_name(snapshot.mesh, inbound_cluster_name(number), service, target.port)


def _loopback(view: ProxyView) -> str:
    return "127.0.0.1" if view.ipv4 else "[::1]"


def _ingress_ports(snapshot: Snapshot, view: ProxyView, sidecar: Sidecar) -> tuple[InboundPort, ...]:
    """The Sidecar's own list; services that lead to such a port lend it their names."""
    ports = {}
    for ingress in sidecar.ingress:
        number = ingress.port.number
        serving = [target for target in view.targets if target.target_port == number]
        host = f"{serving[0].service.host}:{serving[0].port.number}" if serving else f":{number}"
        protocol = protocol_word(ingress.port.protocol) or Protocol.AUTO
        pool = ingress.connection_pool or sidecar.inbound_connection_pool
        ports[number] = InboundPort(
            number,
            _AFTER_TLS.get(protocol, protocol) if ingress.tls is not None else protocol,
            serving[0].port.number if serving else number,
            f"{host}/*",
            tuple(dict.fromkeys(_ref(snapshot, target.service) for target in serving)),
            ingress.default_endpoint,
            pool or (_declared_pool(snapshot, view, serving[0]) if serving else mesh_pool(snapshot.mesh)),
            ingress.bind,
            redirected(view) and ingress.capture_mode is not CaptureMode.NONE,
            ingress.tls,
            _stat_name(snapshot, number, serving[0]) if serving else "",
        )
    return tuple(port for _, port in sorted(ports.items()))


# What is left of a protocol when TLS has ended.
_AFTER_TLS = {Protocol.HTTPS: Protocol.HTTP, Protocol.TLS: Protocol.TCP}


def served_by(snapshot: Snapshot, view: ProxyView) -> dict[str, ServiceRef]:
    """The service behind each upstream that leads to the application, the oldest where there are several."""
    ports = inbound_ports(snapshot, view)
    return {inbound_cluster_name(port.number): port.services[0] for port in ports if port.services}


def port_conflicts(view: ProxyView) -> tuple[Finding, ...]:
    """Workload ports that services of different protocols claim; the oldest service is followed."""
    first: dict[int, tuple[ServiceKey, Protocol]] = {}
    findings = []
    for target in view.targets:
        service, protocol = first.setdefault(target.target_port, (target.service, target.port.protocol))
        if target.target_port and protocol.is_http != target.port.protocol.is_http:
            findings.append(
                Finding(
                    Severity.WARNING,
                    "InboundPortConflict",
                    f"Service {target.service}",
                    f"spec.ports[{target.port.name}]",
                    f"workload port {target.target_port} is {protocol} by {service} and {target.port.protocol} here",
                    "declare one protocol for the port in both services",
                )
            )
    return tuple(findings)


def _ref(snapshot: Snapshot, key: ServiceKey) -> ServiceRef:
    service = snapshot.services.get(key)
    return ServiceRef(key.host, service.name if service is not None else key.host.partition(".")[0], key.namespace)


def inbound_clusters(snapshot: Snapshot, view: ProxyView) -> tuple[ClusterSpec, ...]:
    """`inbound|<port>||` per workload port, then `InboundPassthroughCluster` for all others."""
    mesh, ports = snapshot.mesh, inbound_ports(snapshot, view)
    clusters = (*(_cluster(view, mesh, port) for port in ports), _passthrough(view, mesh))
    if not keeps_case(snapshot, view):
        return clusters
    return tuple(replace(item, http=replace(item.http, preserve_header_case=True)) for item in clusters)


def _cluster(view: ProxyView, mesh: MeshConfig, port: InboundPort) -> ClusterSpec:
    name = inbound_cluster_name(port.number)
    address, _, number = port.default_endpoint.rpartition(":")
    if port.default_endpoint.startswith("unix://"):
        return _static(name, mesh, port, EndpointSpec(port.default_endpoint, 0))
    if address in ("127.0.0.1", "[::1]"):
        six = view.ipv6 if address == "[::1]" else not view.ipv4  # the family said, if the pod has it
        return _static(name, mesh, port, EndpointSpec("::1" if six else "127.0.0.1", int(number)))
    return ClusterSpec(
        name=name,
        discovery=Discovery.ORIGINAL_DST,
        connect_timeout=connect_timeout_of(port.pool, mesh),
        lb=LbSpec(LbPolicy.CLUSTER_PROVIDED),
        http=http_of(port.pool, port.protocol),
        breakers=breakers_of(port.pool, NO_TRAFFIC_POLICY, ISTIO),
        keepalive=keepalive_of(port.pool, mesh),
        bind_addresses=_sources(view),
        alt_stat_name=port.stat_name or f"{name};",
        services=port.services,
        cleanup_interval=CLEANUP_INTERVAL,
        original_dst_port=int(number) if number else 0,
    )


def _static(name: str, mesh: MeshConfig, port: InboundPort, endpoint: EndpointSpec) -> ClusterSpec:
    return ClusterSpec(
        name=name,
        discovery=Discovery.STATIC,
        connect_timeout=connect_timeout_of(port.pool, mesh),
        lb=LbSpec(LbPolicy.ROUND_ROBIN),
        http=http_of(port.pool, port.protocol),
        breakers=breakers_of(port.pool, NO_TRAFFIC_POLICY, ISTIO),
        keepalive=keepalive_of(port.pool, mesh),
        endpoints=EndpointsSpec(name, (LocalityEndpointsSpec(NO_LOCALITY, 0, None, (endpoint,)),)),
        alt_stat_name=port.stat_name or f"{name};",
        services=port.services,
    )


def _passthrough(view: ProxyView, mesh: MeshConfig) -> ClusterSpec:
    pool = mesh_pool(mesh)
    return ClusterSpec(
        name=INBOUND_PASSTHROUGH,
        discovery=Discovery.ORIGINAL_DST,
        connect_timeout=connect_timeout_of(pool, mesh),
        lb=LbSpec(LbPolicy.CLUSTER_PROVIDED),
        http=http_of(pool, Protocol.AUTO),
        breakers=breakers_of(pool, NO_TRAFFIC_POLICY, ISTIO),
        keepalive=keepalive_of(pool, mesh),
        bind_addresses=_sources(view),
        alt_stat_name="PassthroughCluster;",  # Istio's name for what passes through in both directions
    )


def _sources(view: ProxyView) -> tuple[str, ...]:
    return (INBOUND_SOURCE,) * view.ipv4 + (INBOUND_SOURCE6,) * view.ipv6
