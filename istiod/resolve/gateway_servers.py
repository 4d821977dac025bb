"""Which servers of which Gateway resources a router opens, put together by the port that it listens on.

Input: the snapshot's Gateways and the router's labels and service targets. Rules: Gateway reference (`selector`,
`servers`, `hosts`); several Gateways on one port add up, the oldest decides on the protocol and on a server name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName, host_matches, resolve_short_host
from federation.model.service import Protocol
from istiod.api.gateway import Gateway, GatewayTLSMode, Server
from istiod.api.meta import Object
from istiod.gatewayapi.names import is_derived
from istiod.registry.protocol import protocol_word
from istiod.resolve.connection import STATIC_PORTS
from istiod.resolve.objects import Table, valid_objects
from istiod.view.proxy import ProxyView

CROSS_NETWORK_PORT = 15443


@dataclass(frozen=True, slots=True, eq=False)
class GatewayServer:
    """One server of a Gateway. `hosts` are (namespace part, host): namespaces of VirtualServices that may bind (`*` =
    any).
    """

    gateway: NamespacedName
    server: Server
    number: int
    name: str
    protocol: Protocol
    mode: GatewayTLSMode | None
    hosts: tuple[tuple[str, str], ...]

    @property
    def terminates(self) -> bool:
        """Whether TLS ends here."""
        return self.mode not in (None, GatewayTLSMode.PASSTHROUGH, GatewayTLSMode.AUTO_PASSTHROUGH)

    @property
    def is_http(self) -> bool:
        """Whether requests are routed, in plaintext or out of TLS that ends here."""
        return self.protocol.is_http or (self.protocol is Protocol.HTTPS and self.terminates)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts without their namespace part, each once."""
        return tuple(dict.fromkeys(host for _, host in self.hosts))

    def accepts(self, namespace: str, host: str, any_namespace: bool = False) -> tuple[str, ...]:
        """The hosts that a VirtualService of `namespace` for `host` gets here: of each pair the narrower."""
        names = [name for allowed, name in self.hosts if allowed in ("*", namespace) or any_namespace]
        if any(host_matches(name, host) for name in names):
            return (host,)
        return tuple(dict.fromkeys(name for name in names if host_matches(host, name)))


@dataclass(frozen=True, slots=True, eq=False)
class OpenPort:
    """A port that the router listens on, with all servers on it, oldest Gateway first. `bind` "" = every address."""

    port: int
    bind: str
    servers: tuple[GatewayServer, ...]

    @property
    def gateways(self) -> frozenset[str]:
        """The Gateways that have a server here, as `namespace/name`."""
        return frozenset(str(server.gateway) for server in self.servers)


def selects(item: Object[Gateway], view: ProxyView) -> bool:
    """Whether a Gateway is for a router. Those of the Gateway API are for routers of their own namespace."""
    if is_derived(item.meta) and item.meta.namespace != view.namespace:
        return False
    return view.labels.selected_by(item.spec.selector or {})


def open_ports(table: Table, view: ProxyView) -> tuple[OpenPort, ...]:
    """The ports of a router, by number. A server whose protocol does not fit the first one's is left out."""
    found: dict[tuple[int, str], list[GatewayServer]] = {}
    for item in valid_objects(table, Gateway):
        if not selects(item, view):
            continue
        for server in item.spec.servers:
            converted = _server(item.meta.key, server, view)
            for port in _target_ports(view, converted.number):
                if port not in STATIC_PORTS:
                    found.setdefault((port, server.bind or ""), []).append(converted)
    return tuple(OpenPort(port, bind, tuple(_fitting(servers))) for (port, bind), servers in sorted(found.items()))


def gateways_of(table: Table, view: ProxyView) -> frozenset[str]:
    """The Gateways that select a router, as `namespace/name`."""
    return frozenset(str(item.meta.key) for item in valid_objects(table, Gateway) if selects(item, view))


def _server(gateway: NamespacedName, server: Server, view: ProxyView) -> GatewayServer:
    domain = view.dns_domain.partition(".svc.")[2] or "cluster.local"
    protocol = protocol_word(server.port.protocol) or Protocol.TCP
    mode = server.tls.mode if server.tls is not None and not protocol.is_http else None
    hosts = []
    for host in server.hosts:
        namespace, slash, name = host.partition("/")
        if not slash:
            namespace, name = "*", host
        if namespace == ".":
            namespace = gateway.namespace
        hosts.append((namespace, resolve_short_host(name, gateway.namespace, domain)))
    return GatewayServer(gateway, server, server.port.number, server.port.name or "", protocol, mode, tuple(hosts))


def _target_ports(view: ProxyView, number: int) -> list[int]:
    """The router's own ports behind a Service port; the number itself where no Service of the router has it."""
    targets = {target.target_port for target in view.targets if target.port.number == number and target.target_port}
    return sorted(targets) or [number]


def _fitting(servers: Iterable[GatewayServer]) -> Iterable[GatewayServer]:
    first: GatewayServer | None = None
    for server in servers:
        first = first or server
        if _family(server) == _family(first):
            yield server


def _family(server: GatewayServer) -> str:
    """What can share a port: plaintext HTTP, TLS of any kind told apart by server name, or plain TCP."""
    if server.mode is not None:
        return "tls"
    return "http" if server.protocol.is_http else "tcp"


def port_findings(table: Table, view: ProxyView) -> tuple[Finding, ...]:
    """Servers that share a port with an older one of another protocol, and so are not served."""
    findings = []
    seen: dict[tuple[int, str], GatewayServer] = {}
    for item in valid_objects(table, Gateway):
        if not selects(item, view):
            continue
        for index, server in enumerate(item.spec.servers):
            converted = _server(item.meta.key, server, view)
            if not STATIC_PORTS.isdisjoint(_target_ports(view, converted.number)):
                message, fix = "is a port that every proxy listens on itself, so it is not opened", "use another port"
                where = f"spec.servers[{index}].port.number"
                findings.append(Finding(Severity.ERROR, "ReservedPort", str(item), where, message, fix))
                continue
            first = seen.setdefault((converted.number, server.bind or ""), converted)
            if _family(first) != _family(converted):
                findings.append(
                    Finding(
                        Severity.ERROR,
                        "GatewayPortConflict",
                        str(item),
                        f"spec.servers[{index}].port.protocol",
                        f"{converted.protocol} on port {converted.number}, where {first.gateway} has {first.protocol}",
                        "use one protocol per port, or another port",
                    )
                )
    return tuple(findings)


def implied_cross_network_server(view: ProxyView) -> GatewayServer:
    """What an east-west gateway without a Gateway object serves: every exported service by its SNI on port 15443."""
    server = Server.model_validate(
        {
            "port": {"number": CROSS_NETWORK_PORT, "name": "tls", "protocol": "TLS"},
            "hosts": ["*"],
            "tls": {"mode": "AUTO_PASSTHROUGH"},
        }
    )
    return _server(NamespacedName(view.namespace, "isthmus-eastwest"), server, view)
