"""Filter chains for outbound bytes: TCP ports, TLS ports by server name, and VirtualService `tcp` and `tls` routes.

Input: one service port and the rules that speak for its host. Decides which connections go to which upstreams;
listeners are put together in `istiod.resolve.outbound`. Rules: VirtualService reference, `TLSRoute` and `TCPRoute`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from federation.model.sni import OutboundName
from istiod.api.destinationrule import Tunnel
from istiod.api.virtualservice import L4MatchAttributes, RouteDestination, TLSMatchAttributes
from istiod.resolve.connection import dns_cache, tcp_proxy
from istiod.resolve.defaults import profile
from istiod.resolve.hashing import hash_policies
from istiod.resolve.routes_action import ActionContext
from istiod.resolve.routes_match import MESH, Caller, qualified_gateways
from istiod.resolve.scope import Scope
from istiod.resolve.specs.dns import DnsCacheSpec, SniLookup
from istiod.resolve.specs.listener import ChainMatch, FilterChainSpec, TcpProxy, TunnelSpec
from istiod.resolve.virtual_services import Rules
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

Contexts = Callable[[str], ActionContext]  # by the namespace of a rule


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """What TCP proxies of this view have in common. `attempts` tries to connect, None = Envoy's one.

    Hosts that are `dynamic` are looked up by the server name of each connection.
    """

    snapshot: Snapshot
    attempts: int | None
    cache: DnsCacheSpec
    dynamic: frozenset[str]
    named: bool = False  # connections name a server in TLS that ends here


def tcp_settings(snapshot: Snapshot, view: ProxyView, scope: Scope) -> TcpSettings:
    """The settings of a view."""
    attempts = profile(snapshot.mesh.isthmus.defaults).tcp_connect_attempts
    return TcpSettings(snapshot, attempts, dns_cache(snapshot.mesh, view), scope.dynamic)


def default_chain(
    settings: TcpSettings, target: OutboundName, match: ChainMatch, context: ActionContext
) -> FilterChainSpec:
    """Bytes to the service itself."""
    return _chain(settings, match, [(target, 1)], context)


def tls_chains(
    settings: TcpSettings, rules: Sequence[Rules], caller: Caller, contexts: Contexts, destinations: tuple[str, ...]
) -> Iterator[FilterChainSpec]:
    """Chains by server name, from `tls` routes. The first rule that claims a server name keeps it."""
    taken: set[tuple[tuple[str, ...], str]] = set()
    for rule in rules:
        for index, route in enumerate(rule.spec.tls or ()):
            for match in route.match or ():
                if not _holds(match, caller, rule.key.namespace):
                    continue
                within = tuple(match.destination_subnets or ()) or destinations
                names = tuple(name for name in match.sni_hosts or () if (within, name) not in taken)
                taken.update((within, name) for name in names)
                if names:
                    chain = ChainMatch(destinations=within, server_names=server_names(names), transport_protocol="tls")
                    made = _forward(settings, chain, route.route or (), contexts(rule.key.namespace))
                    yield replace(made, config=rule.config, origin=f"spec.tls[{index}]")


def tcp_chains(
    settings: TcpSettings, rules: Sequence[Rules], caller: Caller, contexts: Contexts, destinations: tuple[str, ...]
) -> Iterator[FilterChainSpec]:
    """Chains from `tcp` routes, up to the first that takes every connection."""
    taken: set[ChainMatch] = set()
    for rule in rules:
        for index, route in enumerate(rule.spec.tcp):
            matches: Sequence[L4MatchAttributes | None] = route.match or (None,)
            for match in matches:
                if match is not None and not _holds(match, caller, rule.key.namespace):
                    continue
                within = match.destination_subnets if match is not None else ()
                sources = (match.source_subnet,) if match is not None and match.source_subnet else ()
                chain = ChainMatch(destinations=within or destinations, sources=sources)
                if chain not in taken:
                    taken.add(chain)
                    made = _forward(settings, chain, route.route, contexts(rule.key.namespace))
                    yield replace(made, config=rule.config, origin=f"spec.tcp[{index}]")
                if not within and not sources:
                    return


def server_names(names: Sequence[str]) -> tuple[str, ...]:
    """Server names as Envoy matches them, each once: `*` alone is no pattern there, it is the absence of one."""
    return () if "*" in names else tuple(dict.fromkeys(names))


def _forward(
    settings: TcpSettings, match: ChainMatch, destinations: Sequence[RouteDestination], context: ActionContext
) -> FilterChainSpec:
    chosen = [d for d in destinations if d.weight] or list(destinations[:1])
    targets = [(context.target(destination.destination), destination.weight or 1) for destination in chosen]
    return _chain(settings, match, targets, context)


def _chain(
    settings: TcpSettings, match: ChainMatch, targets: Sequence[tuple[OutboundName, int]], context: ActionContext
) -> FilterChainSpec:
    """Bytes to destinations; of several none can be looked up, as there is one name to look up."""
    (first, _), several = targets[0], len(targets) > 1
    named = settings.named or match.transport_protocol == "tls"
    looked_up = named and first.host in settings.dynamic and not several
    lookup = SniLookup(settings.cache, first.port) if looked_up else None
    return FilterChainSpec("", match, _proxy(settings, targets, context), sni_lookup=lookup)


def _proxy(settings: TcpSettings, targets: Sequence[tuple[OutboundName, int]], context: ActionContext) -> TcpProxy:
    """Bytes to destinations by weight. What Envoy keeps per proxy is the first destination's that says it."""
    policies = [context.policy(target) for target, _ in targets]
    pools = [p.connection_pool.tcp for p in policies if p.connection_pool is not None and p.connection_pool.tcp]
    hashing = (found for policy in policies for found in hash_policies(policy) if found.source_ip)
    return tcp_proxy(
        settings.snapshot,
        tuple((target.format_cluster(), weight) for target, weight in targets),
        idle_timeout=next((pool.idle_timeout for pool in pools if pool.idle_timeout is not None), None),
        max_duration=next((pool.max_connection_duration for pool in pools if pool.max_connection_duration), None),
        attempts=settings.attempts,
        hash_policy=next(hashing, None),
        tunnel=next((_tunnel(policy.tunnel) for policy in policies if policy.tunnel is not None), None),
    )


def _tunnel(said: Tunnel) -> TunnelSpec:
    host = f"[{said.target_host}]" if ":" in said.target_host else said.target_host
    return TunnelSpec(f"{host}:{said.target_port}", post=said.protocol == "POST")


def _holds(match: TLSMatchAttributes | L4MatchAttributes, caller: Caller, vs_namespace: str) -> bool:
    """Whether all that a match asks of the caller holds; unlike in `http`, gateways do not replace the rest. Labels and
    namespace are asked of sidecars: by Istio's reference they apply with the gateway `mesh` only.
    """
    if match.port not in (None, caller.port):
        return False
    if match.gateways and caller.gateways.isdisjoint(qualified_gateways(match.gateways, vs_namespace)):
        return False
    if MESH not in caller.gateways:
        return True
    return caller.labels.selected_by(match.source_labels) and match.source_namespace in ("", caller.namespace)
