"""Filter chains for outbound bytes: TCP ports, TLS ports by server name, and VirtualService `tcp` and `tls` routes.

Input: one service port and the rules that speak for its host. Decides which connections go to which upstreams;
listeners are put together in `istiod.resolve.outbound`. Rules: VirtualService reference, `TLSRoute` and `TCPRoute`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from federation.model.sni import OutboundName
from istiod.api.destinationrule import Tunnel
from istiod.api.virtualservice import L4MatchAttributes, RouteDestination, TLSMatchAttributes
from istiod.resolve.connection import tcp_proxy
from istiod.resolve.hashing import hash_policies
from istiod.resolve.routes_action import ActionContext
from istiod.resolve.routes_match import Caller, qualified_gateways
from istiod.resolve.specs.listener import ChainMatch, FilterChainSpec, TcpProxy, TunnelSpec
from istiod.resolve.virtual_services import Rules
from istiod.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """What TCP proxies of this view have in common. `attempts` tries to connect, None = Envoy's one."""

    snapshot: Snapshot
    attempts: int | None


def default_chain(
    settings: TcpSettings, target: OutboundName, match: ChainMatch, context: ActionContext
) -> FilterChainSpec:
    """Bytes to the service itself."""
    return FilterChainSpec("", match, _proxy(settings, [(target, 1)], context))


def tls_chains(
    settings: TcpSettings, rules: Sequence[Rules], caller: Caller, context: ActionContext, destinations: tuple[str, ...]
) -> Iterator[FilterChainSpec]:
    """Chains by server name, from `tls` routes. The first rule that claims a server name keeps it."""
    taken: set[tuple[tuple[str, ...], str]] = set()
    for rule in rules:
        for route in rule.spec.tls or ():
            for match in route.match or ():
                if not _tls_holds(match, caller, rule.key.namespace):
                    continue
                within = tuple(match.destination_subnets or ()) or destinations
                names = tuple(name for name in match.sni_hosts or () if (within, name) not in taken)
                taken.update((within, name) for name in names)
                if names:
                    chain = ChainMatch(destinations=within, server_names=server_names(names), transport_protocol="tls")
                    yield _forward(settings, chain, route.route or (), context)


def tcp_chains(
    settings: TcpSettings, rules: Sequence[Rules], caller: Caller, context: ActionContext, destinations: tuple[str, ...]
) -> Iterator[FilterChainSpec]:
    """Chains from `tcp` routes, up to the first that takes every connection."""
    taken: set[tuple[str, ...]] = set()
    for rule in rules:
        for route in rule.spec.tcp or ():
            matches: Sequence[L4MatchAttributes | None] = route.match or (None,)
            for match in matches:
                if match is not None and not _l4_holds(match, caller, rule.key.namespace):
                    continue
                within = tuple(match.destination_subnets or ()) if match is not None else ()
                if (within or destinations) in taken:
                    continue
                taken.add(within or destinations)
                yield _forward(settings, ChainMatch(destinations=within or destinations), route.route or (), context)
                if not within:
                    return


def server_names(names: Sequence[str]) -> tuple[str, ...]:
    """Server names as Envoy matches them: `*` alone is no pattern there, it is the absence of one."""
    return () if "*" in names else tuple(names)


def _forward(
    settings: TcpSettings, match: ChainMatch, destinations: Sequence[RouteDestination], context: ActionContext
) -> FilterChainSpec:
    chosen = [d for d in destinations if d.weight] or list(destinations[:1])
    targets = [(context.target(destination.destination), destination.weight or 1) for destination in chosen]
    return FilterChainSpec("", match, _proxy(settings, targets, context))


def _proxy(settings: TcpSettings, targets: Sequence[tuple[OutboundName, int]], context: ActionContext) -> TcpProxy:
    """Bytes to destinations by weight. What Envoy keeps per proxy is the first destination's that says it."""
    policies = [context.policy(target) for target, _ in targets]
    pools = [policy.connection_pool.tcp for policy in policies if policy.connection_pool is not None]
    hashing = (found for policy in policies for found in hash_policies(policy) if found.source_ip)
    return tcp_proxy(
        settings.snapshot,
        tuple((target.format_cluster(), weight) for target, weight in targets),
        idle_timeout=next((pool.idle_timeout for pool in pools if pool and pool.idle_timeout is not None), None),
        attempts=settings.attempts,
        hash_policy=next(hashing, None),
        tunnel=next((_tunnel(policy.tunnel) for policy in policies if policy.tunnel is not None), None),
    )


def _tunnel(said: Tunnel) -> TunnelSpec:
    host = f"[{said.target_host}]" if ":" in said.target_host else said.target_host
    return TunnelSpec(f"{host}:{said.target_port}", post=said.protocol == "POST")


def _tls_holds(match: TLSMatchAttributes, caller: Caller, vs_namespace: str) -> bool:
    return _holds(match.port, match.gateways or (), match.source_labels, match.source_namespace, caller, vs_namespace)


def _l4_holds(match: L4MatchAttributes, caller: Caller, vs_namespace: str) -> bool:
    return _holds(match.port, match.gateways or (), match.source_labels, match.source_namespace, caller, vs_namespace)


def _holds(
    port: int | None,
    gateways: Sequence[str],
    labels: Mapping[str, str] | None,
    namespace: str | None,
    caller: Caller,
    vs_namespace: str,
) -> bool:
    if port and port != caller.port:
        return False
    if gateways:
        return not caller.gateways.isdisjoint(qualified_gateways(gateways, vs_namespace))
    return caller.labels.selected_by(labels or {}) and (not namespace or namespace == caller.namespace)
