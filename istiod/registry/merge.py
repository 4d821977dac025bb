"""Many contributions to one host -> one service. Pure, and the same whatever order they come in.

Rules: in one namespace the oldest declaration of a host decides, a Kubernetes Service before a ServiceEntry (Istio's
service registry). Endpoints of its ServiceEntries stand side by side; their ports and addresses are a union as far as
resolution and exportTo are the same. What other clusters export joins the local service of the
same host and namespace (sameness) in the same way, but for the local virtual address, which is kept. Between clusters
the older export wins, then the cluster's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from federation.model.findings import Finding, Severity
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint, is_address
from istiod.registry.contribution import Contribution


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """One service with all its endpoints. `local` is the part that this cluster declares itself, if it does."""

    service: Service
    endpoints: tuple[Endpoint, ...]
    local: Contribution | None
    findings: tuple[Finding, ...] = ()


def merge(contributions: Sequence[Contribution]) -> Merged:
    """One service out of all that claim its key, with endpoints that can be dialled. At least one is given."""
    return _dialled(_joined(contributions))


def _dialled(merged: Merged) -> Merged:
    """Without endpoints that are host names where addresses are handed out: Envoy refuses all endpoints with them."""
    if merged.service.resolution is not Resolution.ENDPOINTS:
        return merged
    kept = tuple(endpoint for endpoint in merged.endpoints if _can_be_handed_out(endpoint.address))
    if len(kept) == len(merged.endpoints):
        return merged
    names = sorted({endpoint.address for endpoint in merged.endpoints} - {endpoint.address for endpoint in kept})
    message = f"{', '.join(names)[:300]} is no address: left out"
    fix = "give IP addresses, or a ServiceEntry with resolution DNS"
    key = merged.service.key
    found = Finding(Severity.ERROR, "EndpointIsAName", f"Service {key}", "endpoints", message, fix)
    return replace(merged, endpoints=kept, findings=(*merged.findings, found))


def _can_be_handed_out(address: str) -> bool:
    """An IP address, a socket's path, or nothing: what only gateways reach."""
    return not address or address.startswith("unix://") or is_address(address)


def _joined(contributions: Sequence[Contribution]) -> Merged:
    own = sorted((c for c in contributions if not c.peer), key=_own_order)
    peers = sorted((c for c in contributions if c.peer), key=lambda c: (c.service.created, c.peer, c.service.name))
    local = _together(own) if own else None
    first = local or peers[0]
    others = peers if local is not None else peers[1:]
    if not others:
        return Merged(first.service, first.endpoints, local, first.findings)
    joined = [first, *others]
    whole = _union_of(joined, joined)
    return Merged(whole.service, whole.endpoints, local, whole.findings)


def _together(own: Sequence[Contribution]) -> Contribution:
    """All that this cluster declares of one service, the deciding declaration first."""
    first = own[0]
    if first.service.origin is not Origin.SERVICE_ENTRY:
        return replace(first, findings=(*first.findings, *(_shadowed(lost, first) for lost in own[1:])))
    fitting = [first, *(other for other in own[1:] if _fits(other.service, first.service))]
    whole = _union_of(own, fitting)
    vips = _union([c.service.vips for c in fitting])
    shadowed = tuple(_shadowed(lost, first) for lost in own if lost not in fitting)
    return replace(whole, service=replace(whole.service, vips=vips), findings=(*whole.findings, *shadowed))


def _fits(service: Service, first: Service) -> bool:
    """Whether a ServiceEntry may add ports and addresses to the first one."""
    return service.resolution is first.resolution and set(service.export_to) == set(first.export_to)


def _union_of(joined: Sequence[Contribution], declaring: Sequence[Contribution]) -> Contribution:
    """The first contribution with the endpoints of all, and the ports that some of them declare."""
    first = joined[0]
    ports, conflicts = _ports(declaring)
    service = replace(
        first.service,
        ports=ports,
        subject_alt_names=_union([c.service.subject_alt_names for c in joined]),
        clusters=_union([c.service.clusters for c in joined]),
    )
    endpoints = tuple(endpoint for c in joined for endpoint in _renamed(c, ports))
    if service.resolution is Resolution.DNS_ROUND_ROBIN:
        endpoints = _first_of_each_port(endpoints)
    return replace(
        first, service=service, endpoints=endpoints, findings=(*(f for c in joined for f in c.findings), *conflicts)
    )


def _first_of_each_port(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Endpoints where a port can have only one: each port at the first that has it."""
    taken: set[str] = set()
    kept = []
    for endpoint in endpoints:
        ports = tuple((name, number) for name, number in endpoint.ports if name not in taken)
        taken.update(name for name, _ in ports)
        if ports:
            kept.append(replace(endpoint, ports=ports))
    return tuple(kept)


def _own_order(contribution: Contribution) -> tuple[bool, str, str]:
    service = contribution.service
    return (service.origin is not Origin.KUBERNETES, service.created, contribution.source)


def _union(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for group in groups for value in group))


def _ports(contributions: Sequence[Contribution]) -> tuple[tuple[ServicePort, ...], list[Finding]]:
    ports: dict[tuple[int, bool], tuple[ServicePort, Contribution]] = {}
    names: set[str] = set()
    findings = []
    for contribution in contributions:
        for port in contribution.service.ports:
            place = (port.number, port.protocol is Protocol.UDP)
            known = ports.get(place)
            if known is None and port.name not in names:
                ports[place] = (port, contribution)
                names.add(port.name)
            elif known is None or (known[0].name, known[0].protocol) != (port.name, port.protocol):
                findings.append(_conflict(port, contribution, known))
    return tuple(port for port, _ in ports.values()), findings


def _renamed(contribution: Contribution, ports: Sequence[ServicePort]) -> tuple[Endpoint, ...]:
    """A contribution's endpoints under the names that the merged service gives their ports: clients dial numbers.

    A port that lost its place is left out, so that its name cannot be taken for another's.
    """
    names = {(port.number, port.protocol is Protocol.UDP): port.name for port in ports}
    renamed = {
        port.name: names.get((port.number, port.protocol is Protocol.UDP)) for port in contribution.service.ports
    }
    if all(old == new for old, new in renamed.items()):
        return contribution.endpoints
    return tuple(
        replace(
            endpoint,
            ports=tuple(sorted((new, number) for name, number in endpoint.ports if (new := renamed.get(name)))),
        )
        for endpoint in contribution.endpoints
    )


def _conflict(port: ServicePort, loser: Contribution, known: tuple[ServicePort, Contribution] | None) -> Finding:
    winner = (
        f"{known[0].name or '(no name)'}/{known[0].protocol} from {known[1].source}"
        if known
        else "another port of that name"
    )
    return Finding(
        Severity.WARNING,
        "PortConflict",
        f"Service {loser.service.namespace}/{loser.service.name}",
        f"ports[{port.number}]",
        f"{loser.source} declares {port.name or '(no name)'}/{port.protocol}, {winner} stands",
        "give the port one name and protocol in all clusters",
    )


def _shadowed(lost: Contribution, winner: Contribution) -> Finding:
    return Finding(
        Severity.WARNING,
        "DuplicateHost",
        lost.source,
        "spec.hosts",
        f"{lost.service.host} is already declared by {winner.source}, which is older or a Kubernetes Service",
        "use each host once in a namespace",
    )
