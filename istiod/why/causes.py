"""Names in specs -> the objects behind them, as findings name objects. Pure look-up in a snapshot.

Specs carry Istio's path-like names, policy names in rules and the names of services; what was translated from the
Gateway API is traced back to the user's own objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from federation.model.names import NamespacedName
from federation.model.service import Origin, Service
from istiod.api.destinationrule import DestinationRule
from istiod.api.kinds import Kind
from istiod.api.meta import Invalid, Object
from istiod.api.requestauthentication import RequestAuthentication
from istiod.gatewayapi.names import PARENTS, is_derived
from istiod.resolve.attachment import broken_for, policies_for
from istiod.resolve.gateway_servers import GatewayServer, OpenPort
from istiod.resolve.objects import table_of
from istiod.resolve.peerauth import MtlsMode, peer_policies
from istiod.resolve.scope import scope_of
from istiod.resolve.specs.authz import RuleSpec
from istiod.resolve.specs.patch import PatchSpec
from istiod.resolve.specs.route import RouteSpec
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from istiod.view.visibility import sidecar_of
from istiod.why.answer import Cause

_CONFIG = re.compile(r"/apis/[^/]+/[^/]+/namespaces/([^/]*)/([^/]+)/(.+)")
_PLACE = re.compile(r"spec\.http\[(\d+)\](\.delegate)?")
_SNAKE = re.compile(r"[A-Z]")
_RULE = re.compile(r"ns\[([^\]]*)\]-policy\[([^\]]*)\]-rule\[(\d+)\]")
_KINDS = {"virtual-service": Kind.VIRTUAL_SERVICE, "destination-rule": Kind.DESTINATION_RULE}


def of_config(snapshot: Snapshot, config: str, field: str = "") -> tuple[Cause, ...]:
    """The object behind one of Istio's path-like names."""
    found = _CONFIG.fullmatch(config)
    kind = _KINDS.get(found[2]) if found is not None else None
    if found is None or kind is None:
        return ()
    return of_object(snapshot, kind, NamespacedName(found[1], found[3]), field)


def of_object(snapshot: Snapshot, kind: Kind, key: NamespacedName, field: str = "") -> tuple[Cause, ...]:
    """The object of a key, or those of the Gateway API that it was made of."""
    item = table_of(snapshot, kind).get(key)
    if isinstance(item, Object) and is_derived(item.meta):
        parents = [text for text in item.meta.annotations.get(PARENTS, "").split(",") if text]
        return tuple(map(_parent, parents))
    return (Cause(f"{kind.value} {key}", field),)


def _parent(text: str) -> Cause:
    """`Kind/name.namespace`, or `Gateway/name/listener.namespace`."""
    kind, _, rest = text.partition("/")
    name, _, namespace = rest.rpartition(".")
    name, slash, listener = name.partition("/")
    return Cause(f"{kind} {namespace}/{name}", f"spec.listeners[{listener}]" if slash else "")


def of_destination(snapshot: Snapshot, config: str, subset: str) -> tuple[Cause, ...]:
    """The DestinationRule of an upstream, and which part of it is in force."""
    found = of_config(snapshot, config)
    match = _CONFIG.fullmatch(config)
    item = table_of(snapshot, Kind.DESTINATION_RULE).get(NamespacedName(match[1], match[3])) if match else None
    if not isinstance(item, Object) or not isinstance(item.spec, DestinationRule) or is_derived(item.meta):
        return found
    fields = ["spec.trafficPolicy"] if item.spec.traffic_policy is not None else []
    fields += [f"spec.subsets[{i}]" for i, said in enumerate(item.spec.subsets) if subset and said.name == subset]
    return tuple(Cause(found[0].object, field) for field in fields) or found


def of_service(service: Service, number: int = 0) -> tuple[Cause, ...]:
    """The Service or ServiceEntry, and the port of it."""
    kind = "ServiceEntry" if service.origin is Origin.SERVICE_ENTRY else "Service"
    index = next((index for index, port in enumerate(service.ports) if port.number == number), None)
    field = f"spec.ports[{index}]" if index is not None else ""
    return (Cause(f"{kind} {service.namespace}/{service.name}", field),)


def of_rules(rules: Iterable[RuleSpec]) -> tuple[Cause, ...]:
    """The AuthorizationPolicies that rules are of."""
    found = (_RULE.search(rule.name) for rule in rules)
    causes = (Cause(f"AuthorizationPolicy {m[1]}/{m[2]}", f"spec.rules[{m[3]}]") for m in found if m is not None)
    return tuple(dict.fromkeys(causes))


def of_tokens(snapshot: Snapshot, view: ProxyView, issuer: str) -> tuple[Cause, ...]:
    """The RequestAuthentications in force: of an issuer, or all of them if none of them has it."""
    broken: tuple[Invalid, ...] = broken_for(snapshot, Kind.REQUEST_AUTHENTICATION, view)
    if broken:
        return tuple(Cause(f"{item.kind} {item.meta.key}") for item in broken)
    every = [
        (Cause(str(policy), f"spec.jwtRules[{index}]"), rule.issuer)
        for policy in policies_for(snapshot, Kind.REQUEST_AUTHENTICATION, RequestAuthentication, view)
        for index, rule in enumerate(policy.spec.jwt_rules)
    ]
    return tuple(cause for cause, said in every if said == issuer) or tuple(cause for cause, _ in every)


def of_mutual_tls(snapshot: Snapshot, view: ProxyView, port: int) -> tuple[MtlsMode, tuple[Cause, ...]]:
    """The mode of a workload's port, and the PeerAuthentication that says so (none: the default)."""
    mode, policy = peer_policies(snapshot).decision(view.namespace, view.labels, port)
    if policy is None:
        return mode, ()
    own = any(number == port and said is not MtlsMode.UNSET for number, said in policy.ports)
    field = f"spec.portLevelMtls[{port}].mode" if own else "spec.mtls.mode"
    return mode, (Cause(f"PeerAuthentication {policy.name}", field),)


def of_sidecar(snapshot: Snapshot, view: ProxyView, port: int, ingress: bool = False) -> tuple[Cause, ...]:
    """The Sidecar that scopes a view, and its listener of a port."""
    item = sidecar_of(snapshot, view)
    if item is None or (ingress and not item.spec.ingress):
        return ()
    name = "ingress" if ingress else "egress"
    ports = [one.port for one in (item.spec.ingress if ingress else item.spec.egress) or ()]
    named = [index for index, said in enumerate(ports) if said is not None and said.number == port]
    rest = [index for index, said in enumerate(ports) if said is None]
    index = next(iter((*named, *rest)), None)
    return (Cause(str(item), f"spec.{name}[{index}]" if index is not None else ""),)


def of_strangers(snapshot: Snapshot, view: ProxyView) -> tuple[Cause, ...]:
    """Who decides on calls of hosts that are not known: a Sidecar, else the mesh."""
    item = sidecar_of(snapshot, view)
    if item is not None and item.spec.outbound_traffic_policy is not None:
        return (Cause(str(item), "spec.outboundTrafficPolicy"),)
    return (Cause("MeshConfig", "outboundTrafficPolicy.mode"),)


def of_virtual_host(snapshot: Snapshot, view: ProxyView, name: str) -> tuple[Cause, ...]:
    """The service that a virtual host (`host:port`) of a sidecar stands for, if it stands for one."""
    host, _, port = name.rpartition(":")
    service = scope_of(snapshot, view).by_host.get(host) if view.type is ProxyType.SIDECAR else None
    return of_service(service, int(port)) if service is not None and port.isdigit() else ()


def of_route(snapshot: Snapshot, route: RouteSpec, *names: str) -> tuple[Cause, ...]:
    """The fields of a VirtualService's route that are behind a route and that the user did set; none of them: nobody.

    A delegate's and those of the Gateway API are named as a whole.
    """
    match = _CONFIG.fullmatch(route.config)
    place = _PLACE.match(route.origin)
    item = table_of(snapshot, Kind.VIRTUAL_SERVICE).get(NamespacedName(match[1], match[3])) if match else None
    if not isinstance(item, Object) or place is None or place[2] or is_derived(item.meta):
        return of_config(snapshot, route.config, place[0] if place is not None else "")
    http = item.spec.http[int(place[1])]
    said = [name for name in names if getattr(http, _SNAKE.sub(lambda upper: f"_{upper[0].lower()}", name), None)]
    return tuple(Cause(str(item), f"{place[0]}.{name}") for name in said)


def of_servers(snapshot: Snapshot, ports: Iterable[OpenPort], number: int, wanted: str) -> tuple[Cause, ...]:
    """The servers of Gateways behind a port of a router: those that have the host, else all."""
    servers = [server for port in ports if port.port == number for server in port.servers]
    fitting = [server for server in servers if server.accepts("", (wanted,), any_namespace=True)] if wanted else []
    return tuple(dict.fromkeys(cause for server in fitting or servers for cause in _server(snapshot, server)))


def _server(snapshot: Snapshot, server: GatewayServer) -> Iterator[Cause]:
    item = table_of(snapshot, Kind.GATEWAY).get(server.gateway)
    said = item.spec.servers if isinstance(item, Object) else ()
    index = next((index for index, one in enumerate(said) if one is server.server), None)
    yield from of_object(snapshot, Kind.GATEWAY, server.gateway, f"spec.servers[{index}]" if index is not None else "")


def of_patches(patches: Iterable[PatchSpec]) -> tuple[Cause, ...]:
    """The EnvoyFilters whose patches may change a resource."""
    found = (Cause(patch.ref.object, f"spec.configPatches[{patch.ref.index}]") for patch in patches)
    return tuple(dict.fromkeys(found))
