"""Gateways against the workloads and Services that they need, and against one another.

Rules: Istio's analyzers of Gateways; servers of several Gateways on one port add up (`istiod.resolve.gateway_servers`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from federation.model.findings import Finding
from federation.model.names import hosts_overlap
from istiod.analyze import codes
from istiod.analyze.lookup import Workload, labels_text, named, selected, workloads
from istiod.api.gateway import Gateway, Server
from istiod.api.kinds import Kind
from istiod.api.kubernetes import ServiceSpec
from istiod.api.meta import Object
from istiod.gatewayapi.names import MARK
from istiod.resolve.objects import table_of, valid_objects
from istiod.snapshot import Snapshot

Gw = Object[Gateway]


def gateways(snapshot: Snapshot) -> list[Gw]:
    """All valid Gateways, oldest first."""
    return valid_objects(table_of(snapshot, Kind.GATEWAY), Gateway)


def selectors(snapshot: Snapshot) -> Iterator[Finding]:
    """Gateways that no workload serves. Nothing is said where no workload is known."""
    if not workloads(snapshot):
        return
    for gateway in gateways(snapshot):
        if not any(selected(snapshot, gateway.spec.selector)):
            message = f"no workload has the labels {labels_text(gateway.spec.selector)}"
            yield codes.SELECTOR_MATCHES_NOTHING.at(gateway, "spec.selector", message)


def unserved(snapshot: Snapshot) -> Iterator[Finding]:
    """Gateways of the Gateway API that no workload of their namespace serves, as nothing is deployed for them."""
    if not workloads(snapshot):
        return
    bare: dict[tuple[str, str], Finding] = {}
    for gateway in gateways(snapshot):
        owner, mark, _ = gateway.meta.name.partition(MARK)
        if mark and not any(selected(snapshot, gateway.spec.selector, gateway.meta.namespace)):
            message = f"no workload has the labels {labels_text(gateway.spec.selector)}"
            found = codes.SELECTOR_MATCHES_NOTHING.at(gateway, "spec", message, "start a gateway with these labels")
            bare[gateway.meta.namespace, owner] = replace(found, object=f"Gateway {gateway.meta.namespace}/{owner}")
    yield from bare.values()


def service_ports(snapshot: Snapshot) -> Iterator[Finding]:
    """Ports that no Service of the gateway's workloads leads to, where there is such a Service at all."""
    services = [item for item in table_of(snapshot, Kind.SERVICE).values() if item.spec.selector]
    for gateway in gateways(snapshot):
        pods = list(selected(snapshot, gateway.spec.selector))
        leading = [service for service in services if _leads_to(service, pods)]
        numbers = {port.port for service in leading for port in service.spec.ports}
        numbers |= {p.target_port for s in leading for p in s.spec.ports if isinstance(p.target_port, int)}
        for index, server in enumerate(gateway.spec.servers):
            if leading and server.port.number not in numbers:
                message = f"{named(leading)} has no port {server.port.number}"
                path = f"spec.servers[{index}].port.number"
                yield codes.GATEWAY_PORT_NOT_IN_SERVICE.at(gateway, path, message)


def _leads_to(service: Object[ServiceSpec], pods: Sequence[Workload]) -> bool:
    return any(
        pod.key.namespace == service.meta.namespace and pod.labels.selected_by(service.spec.selector) for pod in pods
    )


def conflicts(snapshot: Snapshot) -> Iterator[Finding]:
    """Servers of different Gateways for the same workloads, port and host, of which the younger loses.

    Hosts are only the same in the same namespaces of VirtualServices; a wildcard beside a name of it is no conflict, as
    the more specific one wins.
    """
    known: dict[tuple[int, str, str], list[tuple[Gw, str]]] = defaultdict(list)
    for gateway in gateways(snapshot):
        for index, server in enumerate(gateway.spec.servers):
            for number, host in enumerate(_hosts(server, gateway)):
                place = (server.port.number, server.bind, host.rpartition("/")[2])
                namespace = host.partition("/")[0]
                rivals = (other for other, theirs in known[place] if _meet(theirs, namespace))
                rival = next((other for other in rivals if _same_workloads(other, gateway)), None)
                if rival is not None and rival is not gateway:
                    message = f"{host!r} on port {server.port.number} is also served by {rival}"
                    path = f"spec.servers[{index}].hosts[{number}]"
                    yield codes.GATEWAY_CONFLICT.at(gateway, path, message)
                known[place].append((gateway, namespace))


def _hosts(server: Server, gateway: Gw) -> list[str]:
    """The hosts of a server, each as `namespace/host`."""
    hosts = []
    for host in server.hosts:
        namespace, slash, name = host.partition("/")
        if not slash:
            namespace, name = "*", host
        hosts.append(f"{gateway.meta.namespace if namespace == '.' else namespace}/{name}")
    return hosts


def _meet(one: str, other: str) -> bool:
    return one == other or "*" in (one, other)


def _same_workloads(one: Gw, other: Gw) -> bool:
    """Whether one selector is part of the other."""
    first, second = one.spec.selector.items(), other.spec.selector.items()
    return first <= second or second <= first


def duplicate_certificates(snapshot: Snapshot) -> Iterator[Finding]:
    """One certificate at several Gateways of the same workloads and port, for different hosts.

    A client may use one HTTP/2 connection for all names of a certificate, and each Gateway knows only its own.
    """
    known: dict[tuple[str, int], list[tuple[Gw, Server]]] = defaultdict(list)
    for gateway in gateways(snapshot):
        for index, server in enumerate(gateway.spec.servers):
            tls = server.tls
            certificate = (tls.credential_name or tls.server_certificate) if tls is not None else ""
            if not certificate:
                continue
            rival = next(
                (
                    other
                    for other, theirs in known[certificate, server.port.number]
                    if other is not gateway and _same_workloads(other, gateway) and not _same_hosts(theirs, server)
                ),
                None,
            )
            if rival is not None:
                path = f"spec.servers[{index}].tls"
                message = f"the certificate {certificate!r} is also that of {rival}"
                yield codes.DUPLICATE_CERTIFICATE.at(gateway, path, message)
            known[certificate, server.port.number].append((gateway, server))


def _same_hosts(one: Server, other: Server) -> bool:
    return any(hosts_overlap(a.rpartition("/")[2], b.rpartition("/")[2]) for a in one.hosts for b in other.hosts)
