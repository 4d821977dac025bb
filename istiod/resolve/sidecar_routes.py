"""The route configurations that a sidecar's listeners name, out of the services and rules in their scope.

Owns virtual hosts: which hosts a port has, their domains and order, and the fallback. One route configuration is made
per (scope, port) and shared by all views that differ only in what cannot matter to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from federation.model.names import ServiceKey, hosts_overlap
from federation.model.service import Protocol, Service, ServicePort
from istiod.memo import memo
from istiod.resolve.defaults import profile
from istiod.resolve.domains import address_domain, service_domains, without_duplicates
from istiod.resolve.hashing import target_policy
from istiod.resolve.headers import counts_attempts, names_forwarded_host
from istiod.resolve.objects import table_of
from istiod.resolve.routes import HTTP_PORT, default_routes, fallback_host, flatten, rule_routes
from istiod.resolve.routes_action import ActionContext, default_retries
from istiod.resolve.routes_match import MESH, Caller
from istiod.resolve.scope import EgressScope, Scope, cluster_domain
from istiod.resolve.specs.route import RouteConfigSpec, RouteSpec, VirtualHostSpec
from istiod.resolve.virtual_services import Rules
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

AUTO = Protocol.AUTO


def mesh_caller(view: ProxyView, port: int) -> Caller:
    """A sidecar as matches see it."""
    return Caller(view.namespace, view.labels, frozenset({MESH}), port)


def action_context(
    snapshot: Snapshot, view: ProxyView, scope: Scope, namespace: str, port: int, tls: bool = False
) -> ActionContext:
    """What actions of rules in `namespace` need to know on a listener port; `tls` if clients speak TLS to it."""
    idempotent, other = default_retries(
        profile(snapshot.mesh.isthmus.defaults), snapshot.mesh.default_http_retry_policy
    )
    return ActionContext(
        namespace=namespace,
        domain=cluster_domain(view),
        listener_port=port,
        only_port=scope.only_port,
        policy=lambda target: target_policy(snapshot, view, scope.by_host.get(target.host), target),
        retry_idempotent=idempotent,
        retry_other=other,
        tls=tls,
        forwarded_host=names_forwarded_host(snapshot, view),
    )


def sidecar_routes(
    snapshot: Snapshot, view: ProxyView, scope: Scope, egress: EgressScope, name: str, port: int, host: str = ""
) -> RouteConfigSpec:
    """The route configuration `name` of a port: all its hosts, or only `host` where the protocol is detected. Behind an
    HTTP proxy are the hosts of all ports.
    """
    if egress.proxies:
        return _proxied_routes(snapshot, view, scope, egress, name)
    hosts = without_duplicates(_hosts(snapshot, view, scope, egress, port, host))
    counted = counts_attempts(snapshot, view)
    if host and len(hosts) == 1:
        (owner, routes), _ = hosts[0]
        return RouteConfigSpec(name, (VirtualHostSpec(owner, ("*",), routes, include_attempt_count=counted),))
    virtual_hosts = [
        VirtualHostSpec(owner, domains, routes, include_attempt_count=counted) for (owner, routes), domains in hosts
    ]
    virtual_hosts.sort(key=lambda virtual_host: virtual_host.name)
    if not any("*" in virtual_host.domains for virtual_host in virtual_hosts):
        virtual_hosts.append(replace(fallback_host(scope.unknown_hosts), include_attempt_count=counted))
    return RouteConfigSpec(name, tuple(virtual_hosts))


# An owner of domains (a virtual host's name and routes) with the domains that it asks for.
Host = tuple[tuple[str, tuple[RouteSpec, ...]], tuple[str, ...]]


def _hosts(
    snapshot: Snapshot, view: ProxyView, scope: Scope, egress: EgressScope, port: int, only_host: str
) -> Iterator[Host]:
    """The hosts of a port as they may claim domains: those of rules in the order of rules, then the services that have
    none. The short forms of a name are left to a service that is called so in full.
    """
    here = {service.host: found for service in egress.services if (found := egress.service_port(service, port))}
    by_rule: dict[Rules, list[Host]] = {}
    without: list[Host] = []
    for service in egress.services:
        found = here.get(service.host)
        if found is None or (only_host and service.host != only_host):
            continue
        if not (found.protocol.is_http or found.protocol is AUTO):
            continue
        domains = service_domains(service, view.dns_domain)
        domains = tuple(domain for domain in domains if domain == service.host or domain not in here)
        for rule in egress.rules.of_http(service.host):
            by_rule.setdefault(rule, [])
        speaker, routes = service_routes(snapshot, view, scope, egress, service, found, port)
        (without if speaker is None else by_rule[speaker]).append(((f"{service.host}:{port}", routes), domains))
    for rule in egress.rules.all:
        own = by_rule.get(rule)
        if not only_host and (own is not None or port == HTTP_PORT):
            yield from _foreign_hosts(snapshot, view, scope, rule, port, here)
        yield from own or ()
    yield from without


def service_routes(
    snapshot: Snapshot,
    view: ProxyView,
    scope: Scope,
    egress: EgressScope,
    service: Service,
    found: ServicePort,
    port: int,
) -> tuple[Rules | None, tuple[RouteSpec, ...]]:
    """Routes of the first rule for the host that has any for this caller, and that rule; else the default ones."""
    for rule in egress.rules.of_http(service.host):
        context = action_context(snapshot, view, scope, rule.key.namespace, port)
        routes = flatten(rule_routes(rule, mesh_caller(view, port), context, service.host))
        if routes:
            return rule, routes
    known = _known_defaults(snapshot.mesh, snapshot.services, table_of(snapshot, "DestinationRule"))
    key = (view, service.key, found, port)
    routes = known.get(key, ())
    if not routes:
        context = action_context(snapshot, view, scope, service.namespace, port)
        routes = known[key] = default_routes(service, found, context)
    return None, routes


@memo(size=2)
def _known_defaults(*_inputs: object) -> dict[tuple[ProxyView, ServiceKey, ServicePort, int], tuple[RouteSpec, ...]]:
    """Default routes by routing class: no VirtualService has a part in them, so its edit makes none of them anew."""
    return {}


def _foreign_hosts(
    snapshot: Snapshot, view: ProxyView, scope: Scope, rule: Rules, port: int, here: Collection[str]
) -> Iterator[Host]:
    """Hosts of a rule that are no services of the port, under no other names than the rule says: on port 80, and beside
    services that the same rule speaks for.
    """
    for name in rule.hosts:
        if name in here or (name.startswith("*") and any(hosts_overlap(name, host) for host in here)):
            continue
        context = action_context(snapshot, view, scope, rule.key.namespace, port)
        routes = flatten(rule_routes(rule, mesh_caller(view, port), context, name))
        if routes:
            yield (f"{name}:{port}", routes), (address_domain(name) or name,)


def _proxied_routes(
    snapshot: Snapshot, view: ProxyView, scope: Scope, egress: EgressScope, name: str
) -> RouteConfigSpec:
    """All hosts of all ports, told apart by the port in the Host header; none means 80."""
    found: list[Host] = []
    ports = sorted({HTTP_PORT, *(port.number for service in egress.services for port in service.ports)})
    for number in ports:
        for owner, domains in _hosts(snapshot, view, scope, egress, number, ""):
            with_port = tuple(f"{domain}:{number}" for domain in domains if not domain.startswith("*"))
            found.append((owner, (*with_port, *(domains if number == HTTP_PORT else ()))))
    hosts = sorted(without_duplicates(found), key=lambda item: item[0][0])
    virtual_hosts = [VirtualHostSpec(owner, domains, routes) for (owner, routes), domains in hosts]
    virtual_hosts.append(fallback_host(scope.unknown_hosts))
    counted = counts_attempts(snapshot, view)
    virtual_hosts = [replace(virtual_host, include_attempt_count=counted) for virtual_host in virtual_hosts]
    return RouteConfigSpec(name, tuple(virtual_hosts), ignore_port_in_host_matching=False)
