"""Which servers of which Gateway resources a router opens, put together by the port that it listens on.

Input: the snapshot's Gateways and the router's labels and service targets. Rules: Gateway reference (`selector`,
`servers`, `hosts`); several Gateways on one port add up, the oldest decides on the protocol and on a server name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName, host_matches, hosts_overlap, resolve_short_host
from federation.model.service import Protocol
from istiod.api.gateway import Gateway, GatewayTLSMode, Server
from istiod.api.meta import Meta, Object
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
    def takes_plain_http(self) -> bool:
        """Whether requests come in plaintext."""
        return self.mode is None and self.protocol.is_http

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts without their namespace part, each once."""
        return tuple(dict.fromkeys(host for _, host in self.hosts))

    def accepts(self, namespace: str, hosts: Iterable[str], any_namespace: bool = False) -> tuple[str, ...]:
        """What a VirtualService of `namespace` for `hosts` gets here: of each pair that overlaps, the narrower host."""
        names = [name for allowed, name in self.hosts if allowed in ("*", namespace) or any_namespace]
        pairs = ((name, host) for name in dict.fromkeys(names) for host in hosts)
        narrower = (name if host_matches(host, name) else host for name, host in pairs if hosts_overlap(name, host))
        return tuple(dict.fromkeys(narrower))


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
    """The ports of a router, by number. A server that an older one keeps out is left out."""
    found: dict[tuple[int, str], list[GatewayServer]] = {}
    for item, _, server in _servers(table, view):
        for port in _target_ports(view, item.meta, server.number):
            if port not in STATIC_PORTS:
                found.setdefault((port, server.server.bind or ""), []).append(server)
    return tuple(
        OpenPort(port, bind, tuple(server for server, older in admit(servers) if older is None))
        for (port, bind), servers in sorted(found.items())
    )


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


def _target_ports(view: ProxyView, gateway: Meta, number: int) -> list[int]:
    """The router's own ports behind a Service port; the number itself where no Service of the router has it. Istio's
    Gateways select routers, not Services, and take the oldest Service.
    """
    served = (target for target in view.targets if target.port.number == number and target.target_port)
    ports = list(dict.fromkeys(target.target_port for target in served)) or [number]
    return ports if is_derived(gateway) else ports[:1]


def admit(servers: Iterable[GatewayServer]) -> Iterator[tuple[GatewayServer, GatewayServer | None]]:
    """The servers of a port, oldest first, each with the older one that keeps it out.

    Plaintext HTTP takes more plaintext HTTP only, plain TCP nothing more; TLS is told apart by server name and takes
    one of these beside it. A server whose `tls` names a host that an older one has is out with all its hosts.
    """
    plain: GatewayServer | None = None
    owners: dict[tuple[str, str], GatewayServer] = {}
    for server in servers:
        both_http = plain is not None and plain.takes_plain_http and server.takes_plain_http
        older = None if both_http else plain
        if older is None and server.server.tls is not None:
            older = next((owners[host] for host in server.hosts if host in owners), None)
            if older is None:
                owners.update(dict.fromkeys(server.hosts, server))
        if older is None and server.mode is None:
            plain = plain or server
        yield server, older


def _servers(table: Table, view: ProxyView) -> Iterator[tuple[Object[Gateway], int, GatewayServer]]:
    """All servers of the Gateways that select a router, with their Gateway and place in it."""
    for item in valid_objects(table, Gateway):
        if selects(item, view):
            for index, server in enumerate(item.spec.servers):
                yield item, index, _server(item.meta.key, server, view)


def port_findings(table: Table, view: ProxyView) -> tuple[Finding, ...]:
    """Servers that are not served: on a port of the proxy itself, or kept out of theirs by an older one."""
    findings = []
    shared: dict[tuple[int, str], list[tuple[Object[Gateway], int, GatewayServer]]] = {}
    for item, index, server in _servers(table, view):
        if STATIC_PORTS.isdisjoint(_target_ports(view, item.meta, server.number)):
            shared.setdefault((server.number, server.server.bind or ""), []).append((item, index, server))
            continue
        message, fix = "is a port that every proxy listens on itself, so it is not opened", "use another port"
        where = f"spec.servers[{index}].port.number"
        findings.append(Finding(Severity.ERROR, "ReservedPort", str(item), where, message, fix))
    for on_port in shared.values():
        admitted = admit(server for _, _, server in on_port)
        for (item, index, _), (server, older) in zip(on_port, admitted, strict=True):
            if older is not None:
                findings.append(_kept_out(item, index, server, older))
    return tuple(findings)


def _kept_out(item: Object[Gateway], index: int, server: GatewayServer, older: GatewayServer) -> Finding:
    where = f"spec.servers[{index}]"
    same = [name for namespace, name in server.hosts if (namespace, name) in older.hosts]
    if same and server.server.tls is not None and older.server.tls is not None:
        message = f"{', '.join(same)} on port {server.number} belongs to {older.gateway}, so this server is not served"
        return Finding(
            Severity.ERROR, "GatewayHostConflict", str(item), f"{where}.hosts", message, "list a host once per port"
        )
    message = f"{server.protocol} on port {server.number}, where {older.gateway} has {older.protocol}"
    fix = "use one protocol per port, or another port"
    return Finding(Severity.ERROR, "GatewayPortConflict", str(item), f"{where}.port.protocol", message, fix)


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
