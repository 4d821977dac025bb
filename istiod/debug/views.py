"""What a control plane knows, as reports for `/debug/status` and `/debug/config`. Reads; changes nothing.

Private keys never leave through here: of secrets only names, versions and what certificates say openly are shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.names import ServiceKey
from federation.model.service import Origin, Service
from federation.model.workload import Endpoint, Health
from federation.table import Peer
from istiod.api.kinds import Kind
from istiod.debug.report import (
    ConfigReport,
    Endpoints,
    FindingReport,
    Gateway,
    ProxyReport,
    ResourceReport,
    ServiceReport,
    TypeReport,
)
from istiod.encode.decode import decode_resource, describe_secret
from istiod.encode.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from istiod.gatewayapi.status import ObjectStatus
from istiod.snapshot import Snapshot
from istiod.view.proxy import Proxy
from istiod.xds.session import TypeStatus
from istiod.xds.stream import Stream

TYPES = {
    CLUSTER: "clusters",
    ENDPOINTS: "endpoints",
    LISTENER: "listeners",
    ROUTES: "routes",
    EXTENSION: "extensions",
    SECRET: "secrets",
}
NODE = "bootstrap"


def services_report(snapshot: Snapshot | None, cluster: str) -> tuple[ServiceReport, ...]:
    """Every service with its endpoints by cluster, and those that peers keep from us."""
    if snapshot is None:
        return ()
    offers = _offers(snapshot, cluster)
    known = [_service(snapshot, service, offers.get(key, {}), cluster) for key, service in snapshot.services.items()]
    kept = [_withheld(key, found) for key, found in sorted(offers.items()) if key not in snapshot.services]
    return (*known, *kept)


def _offers(snapshot: Snapshot, cluster: str) -> dict[ServiceKey, dict[str, tuple[bool, bool, str]]]:
    """By service and peer: whether this cluster may use what the peer exports, whether it is an entry, its name."""
    offers: dict[ServiceKey, dict[str, tuple[bool, bool, str]]] = defaultdict(dict)
    peers: Iterable[Peer] = snapshot.tables.get(Kind.PEER, {}).values()
    for peer in peers:
        for exported in peer.services.values():
            said = (exported.admits(cluster), exported.entry, exported.service.name)
            offers[exported.service.key][peer.cluster] = said
    return offers


def _service(
    snapshot: Snapshot, service: Service, offers: Mapping[str, tuple[bool, bool, str]], cluster: str
) -> ServiceReport:
    local = snapshot.local.get(service.key)
    from_entry = any(entry for _, entry, _ in offers.values())
    return ServiceReport(
        host=service.host,
        namespace=service.namespace,
        name=service.name,
        entry=service.origin is Origin.SERVICE_ENTRY or (local is None and from_entry),
        local=local is not None,
        external=service.external,
        exported_to=local.consumers if local is not None else None,
        imported_from=tuple(sorted(peer for peer, (admitted, _, _) in offers.items() if admitted)),
        withheld_by=tuple(sorted(peer for peer, (admitted, _, _) in offers.items() if not admitted)),
        endpoints=_by_cluster(snapshot.endpoints.get(service.key, ()), cluster),
    )


def _withheld(key: ServiceKey, offers: Mapping[str, tuple[bool, bool, str]]) -> ServiceReport:
    _, entry, name = next(iter(offers.values()))
    return ServiceReport(key.host, key.namespace, name, entry, False, False, None, (), tuple(sorted(offers)), {})


def _by_cluster(endpoints: Sequence[Endpoint], own: str) -> dict[str, Endpoints]:
    """Workloads by cluster; a group behind a gateway counts as many as its weight says."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for endpoint in endpoints:
        number = 1 if endpoint.address else endpoint.weight
        count = counts[endpoint.cluster or own]
        count[0] += number if endpoint.health is Health.HEALTHY else 0
        count[1] += number
    return {cluster: Endpoints(*counts[cluster]) for cluster in sorted(counts)}


def unconnected_report(snapshot: Snapshot | None, streams: Iterable[Stream]) -> tuple[str, ...]:
    """Healthy workloads of this cluster whose sidecar should be connected and is not."""
    connected = {address for stream in streams if stream.proxy is not None for address in stream.proxy.addresses}
    return tuple(
        sorted(
            {
                f"{endpoint.workload or endpoint.address}.{endpoint.namespace or item.service.namespace}"
                for item in (snapshot.local.values() if snapshot is not None else ())
                if not item.service.external
                for endpoint in item.endpoints
                if endpoint.mtls and endpoint.health is Health.HEALTHY and endpoint.address not in connected
            }
        )
    )


def gateways_report(snapshot: Snapshot | None) -> tuple[Gateway, ...]:
    """The gateways of MeshNetworks; those that peers announce stand with the peers."""
    found = (gateway for gateway in (snapshot.gateways if snapshot else ()) if not gateway.cluster)
    return tuple(Gateway("", f"{g.address}:{g.port}", f"configured for {g.network}", g.weight) for g in found)


def gateway_api_view(snapshot: Snapshot | None) -> tuple[ObjectStatus, ...]:
    """The status conditions of all objects of the Gateway API that are ours to answer."""
    return snapshot.gateway_api.statuses if snapshot is not None else ()


def findings_report(findings: Iterable[Finding]) -> tuple[FindingReport, ...]:
    """Findings, worst first."""
    ordered = sorted(findings, key=lambda found: (-found.severity, found))
    return tuple(FindingReport(f.severity.name.lower(), f.code, f.object, f.path, f.message, f.fix) for f in ordered)


def proxy_report(stream: Stream, now: float, wall: float) -> ProxyReport:
    """One connected proxy. `now` is monotonic, `wall` Unix seconds."""
    status = stream.status(now, wall)
    return ProxyReport(
        id=status.id,
        name=stream.proxy.name if stream.proxy is not None else "",
        kind=status.type,
        namespace=status.namespace,
        cluster=status.cluster,
        network=status.network,
        identity=status.identity,
        protocol="delta" if status.delta else "sotw",
        state=status.state,
        connected_seconds=round(status.connected, 1),
        behind_seconds=round(status.behind, 3),
        certificate_seconds_left=_rounded(status.certificate_seconds_left),
        certificate_life_seconds=_rounded(status.certificate_life_seconds),
        types=tuple(_type(item) for item in status.types),
    )


def _type(status: TypeStatus) -> TypeReport:
    state = "nack" if status.refused else "stale" if status.pending else "synced"
    return TypeReport(
        TYPES[status.type_url], state, status.sent_revision, status.acked_revision, status.nacks, status.refused
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def config_report(
    streams: Iterable[Stream], wanted: str, kind: str, observer: str, now: float, wall: float
) -> ConfigReport:
    """What the proxy of this node id, pod name or `pod.namespace` is to have; `kind` is one of `TYPES` or "" for all.

    Raises InvalidInput if no connected proxy, or more than one, is meant.
    """
    if kind and kind not in (*TYPES.values(), NODE):
        raise _wrong(f"{kind!r} is no type: {', '.join((*TYPES.values(), NODE))}", "")
    stream = find_stream(streams, wanted)
    resources = {
        TYPES[url]: tuple(_resource(url, resource) for _, resource in sorted(found.items()))
        for url, found in stream.subscribed().items()
        if not kind or TYPES[url] == kind
    }
    node = node_report(stream.proxy) if stream.proxy is not None and kind in ("", NODE) else None
    return ConfigReport(observer, proxy_report(stream, now, wall), resources, node)


def node_report(proxy: Proxy) -> dict[str, object]:
    """What a proxy says of itself (the node of its bootstrap), as far as it is read here."""
    return {
        "id": proxy.id,
        "type": proxy.type.value,
        "name": proxy.name,
        "namespace": proxy.namespace,
        "serviceAccount": proxy.service_account,
        "dnsDomain": proxy.dns_domain,
        "addresses": list(proxy.addresses),
        "cluster": proxy.cluster,
        "network": proxy.network,
        "locality": str(proxy.locality),
        "labels": dict(proxy.labels),
        "interceptionMode": proxy.interception,
        "envoyVersion": ".".join(map(str, proxy.envoy_version or ())),
        "metadata": dict(proxy.metadata),
    }


def find_stream(known: Iterable[Stream], wanted: str) -> Stream:
    """The stream of the proxy that a node id, pod name or `pod.namespace` means; InvalidInput unless it is one."""
    streams = list(known)
    found = [stream for stream in streams if stream.proxy is not None and wanted in _names(stream)]
    if len(found) == 1:
        return found[0]
    ids = sorted(stream.proxy.id for stream in found or streams if stream.proxy is not None)
    shown = ", ".join(ids[:20]) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")
    if found:
        raise _wrong(f"{len(found)} connections are called {wanted!r}: {shown}", "name one of them")
    raise _wrong(f"no connected proxy is called {wanted!r}; connected: {shown or 'none'}", "see isthmus proxy status")


def _names(stream: Stream) -> set[str]:
    proxy = stream.proxy
    return {proxy.id, proxy.name, f"{proxy.name}.{proxy.namespace}"} if proxy is not None else set()


def _resource(type_url: str, resource: Resource) -> ResourceReport:
    content = describe_secret(resource) if type_url == SECRET else decode_resource(resource)
    return ResourceReport(resource.name, resource.version, content)


def _wrong(message: str, fix: str) -> InvalidInput:
    return InvalidInput([Finding(Severity.ERROR, "InvalidQuery", "proxy", "", message, fix)])
