"""VirtualServices in the order and form that routing needs them: hosts and gateways in full, delegates filled in.

Input: the snapshot's table. Decides which one speaks for a host's requests: an exact name before a wildcard, the longer
wildcard before the shorter, the first among equals (VirtualService reference, `hosts`); their order is the caller's.
For bytes all do, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from federation.model.names import NamespacedName, host_matches, hosts_overlap, resolve_short_host
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Object
from istiod.api.virtualservice import HTTPRoute, VirtualService
from istiod.gatewayapi.names import is_derived
from istiod.resolve.delegates import Find, expand
from istiod.resolve.objects import Table, config_path
from istiod.resolve.routes_match import MESH, qualified_gateways
from istiod.view.visibility import exported


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """One VirtualService that is no delegate. `hosts` (in lower case) and `gateways` are full names, `http` has
    delegates filled in.

    `places` says of each of `http` where it stands, as a field path; a delegate's stand at the route that names it.
    `gateway_api` is set for those translated from the Gateway API, whose routes mean what that says.
    """

    key: NamespacedName
    hosts: tuple[str, ...]
    gateways: frozenset[str]
    http: tuple[HTTPRoute, ...]
    spec: VirtualService
    config: str
    places: tuple[str, ...] = ()
    gateway_api: bool = False

    def bound_to(self, gateways: frozenset[str]) -> bool:
        """Whether it applies at one of these gateways (`mesh` for sidecars)."""
        return not self.gateways.isdisjoint(gateways)

    def destinations(self) -> Iterator[str]:
        """The hosts that it sends anything to, as written."""
        for http in self.http:
            yield from (weighted.destination.host for weighted in http.route)
            yield from (mirror.destination.host for mirror in http.mirrors)
            if http.mirror is not None:
                yield http.mirror.host
        for tls in self.spec.tls:
            yield from (weighted.destination.host for weighted in tls.route)
        for tcp in self.spec.tcp:
            yield from (weighted.destination.host for weighted in tcp.route)


def rules_from(
    services: Iterable[Object[VirtualService]],
    delegates: Find,
    domain: str,
) -> Iterator[Rules]:
    """VirtualServices as rules, in the given order. `delegates` finds the routes of one without hosts; `domain`
    completes names.
    """
    for item in services:
        namespace, spec = item.meta.namespace, item.spec
        if not spec.hosts:
            continue
        expanded = [
            (made, f"spec.http[{index}]" + (".delegate" if root.delegate is not None else ""))
            for index, root in enumerate(spec.http)
            for made in expand((root,), namespace, domain, delegates)
        ]
        yield Rules(
            key=item.meta.key,
            hosts=tuple(resolve_short_host(host.lower(), namespace, domain) for host in spec.hosts),
            gateways=qualified_gateways(spec.gateways or (MESH,), namespace),
            http=tuple(made for made, _ in expanded),
            spec=spec,
            config=config_path("VirtualService", item.meta.key),
            places=tuple(place for _, place in expanded),
            gateway_api=is_derived(item.meta),
        )


def delegate_routes(table: Table, mesh: MeshConfig) -> Find:
    """Finds the routes of delegates: VirtualServices without hosts that are exported to the root's namespace."""

    def find(key: NamespacedName, namespace: str) -> Sequence[HTTPRoute] | None:
        item = table.get(key)
        if not isinstance(item, Object) or not isinstance(item.spec, VirtualService) or item.spec.hosts:
            return None
        shown = item.spec.export_to or mesh.default_virtual_service_export_to or ("*",)
        return item.spec.http if exported(shown, key.namespace, namespace) else None

    return find


class RuleIndex:
    """Rules that apply somewhere, in order, found by the host that they speak for."""

    __slots__ = ("_bytes", "_exact", "_wild", "all")

    def __init__(self, rules: Iterable[Rules]) -> None:
        self.all = tuple(rules)
        self._bytes = tuple(rule for rule in self.all if rule.spec.tls or rule.spec.tcp)
        self._exact: dict[str, list[Rules]] = {}
        wild: list[tuple[str, Rules]] = []
        for rule in self.all:
            for host in rule.hosts:
                if host.startswith("*"):
                    wild.append((host, rule))
                else:
                    self._exact.setdefault(host, []).append(rule)
        self._wild = sorted(wild, key=lambda item: -len(item[0]))

    def of_http(self, host: str) -> tuple[Rules, ...]:
        """The rules whose HTTP routes may hold for a service, best first. Where one names it, whatever routes it has,
        no wildcard counts, and of wildcards the longest alone.
        """
        exact = self._exact.get(host)
        if exact is not None:
            return tuple(exact)
        return tuple(rule for name, rule in self._wild if host_matches(name, host))[:1]

    def of_bytes(self, host: str) -> tuple[Rules, ...]:
        """The rules whose `tls` and `tcp` routes speak for a host: all of them add up, in order. One for a name
        within a wildcard host speaks for that as well.
        """
        return tuple(rule for rule in self._bytes if any(hosts_overlap(name, host) for name in rule.hosts))


NO_RULES = RuleIndex(())
