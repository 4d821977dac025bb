"""The SNI door of a network: one filter chain that passes mutual TLS on to the upstream named like its server name.

Owns which server names are let in; endpoints and upstreams of the same names are made by `istiod.resolve.clusters`.
Nothing is decrypted here. A server name that is not listed matches no chain, and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Iterator

from federation.model.names import host_matches
from federation.model.service import Service
from istiod.api.gateway import GatewayTLSMode
from istiod.resolve.connection import BLACK_HOLE, MESH_ANY, tcp_proxy
from istiod.resolve.endpoints import upstreams_of
from istiod.resolve.gateway_servers import CROSS_NETWORK_PORT, GatewayServer, OpenPort, implied_cross_network_server
from istiod.resolve.scope import Scope
from istiod.resolve.specs.listener import ChainMatch, FilterChainSpec
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

IMPLIED = "isthmus-eastwest"
CONNECT_ATTEMPTS = 3


def with_implied_server(view: ProxyView, ports: tuple[OpenPort, ...]) -> tuple[OpenPort, ...]:
    """The open ports, and for an east-west gateway that no Gateway object selects the cross-network port."""
    if ports or not view.network or not view.requested_networks:
        return ports
    return (OpenPort(CROSS_NETWORK_PORT, "", (implied_cross_network_server(view),)),)


def passthrough_chain(
    snapshot: Snapshot, view: ProxyView, scope: Scope, server: GatewayServer
) -> FilterChainSpec | None:
    """The chain of an AUTO_PASSTHROUGH server; None while there is no service to let in."""
    names = sorted(
        upstream.name
        for service in services_behind(view, scope, server)
        for upstream in upstreams_of(snapshot, view, service, passthrough=True)
    )
    if not names:
        return None
    match = ChainMatch(server_names=tuple(names), transport_protocol="tls", application_protocols=MESH_ANY)
    handler = tcp_proxy(snapshot, BLACK_HOLE, attempts=CONNECT_ATTEMPTS, stat_prefix="outbound_passthrough")
    return FilterChainSpec("passthrough", match, handler, sni_cluster=True)


def services_behind(view: ProxyView, scope: Scope, server: GatewayServer) -> Iterator[Service]:
    """The mesh services within the hosts of a server; the implied server knows exported ones only."""
    for service in scope.by_host.values():
        if service.external or service.cluster_local:
            continue
        if server.gateway.name == IMPLIED and view.cluster not in service.clusters:
            continue
        if any(host_matches(name, service.host) for name in server.names):
            yield service


def passed_services(view: ProxyView, scope: Scope, ports: tuple[OpenPort, ...]) -> tuple[Service, ...]:
    """All services that some AUTO_PASSTHROUGH server of the router leads to."""
    found = {
        service.key: service
        for port in ports
        for server in port.servers
        if server.mode is GatewayTLSMode.AUTO_PASSTHROUGH
        for service in services_behind(view, scope, server)
    }
    return tuple(found.values())
