"""What a proxy does with headers at its connections: `proxyHeaders` and `gatewayTopology` of ProxyConfig.

Input: what the proxy itself says, else MeshConfig `defaultConfig`. Fills in fields of specs that were made without
them. Rules: ProxyConfig reference; gateways take `forwardClientCertDetails` of their topology alone.
"""

from __future__ import annotations

from dataclasses import replace

from istiod.api.proxysettings import ClientCertParts, ForwardClientCertDetails, ProxyHeaders, Topology
from istiod.resolve.specs.listener import ClientCert, HttpConnection
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

NO_HEADERS = ProxyHeaders()
NO_TOPOLOGY = Topology()
# With these the proxy says something of its own about the peer's certificate.
_SETTING = (ClientCert.APPEND_FORWARD, ClientCert.SANITIZE_SET)


def proxy_headers(snapshot: Snapshot, view: ProxyView) -> ProxyHeaders:
    """The settings of headers in force for a view."""
    return view.proxy_headers or snapshot.mesh.default_config.proxy_headers or NO_HEADERS


def topology(snapshot: Snapshot, view: ProxyView) -> Topology:
    """What stands in front of a gateway."""
    return view.topology or snapshot.mesh.default_config.gateway_topology or NO_TOPOLOGY


def counts_attempts(snapshot: Snapshot, view: ProxyView) -> bool:
    """Whether requests carry the number of their attempt."""
    said = proxy_headers(snapshot, view).attempt_count
    return said is None or not said.disabled


def names_forwarded_host(snapshot: Snapshot, view: ProxyView) -> bool:
    """Whether a rewritten authority is kept in `x-forwarded-host`."""
    said = proxy_headers(snapshot, view).x_forwarded_host
    return said is not None and said.enabled


def keeps_case(snapshot: Snapshot, view: ProxyView) -> bool:
    """Whether names of HTTP/1 headers go on as they came."""
    return bool(proxy_headers(snapshot, view).preserve_http1_header_case)


def with_headers(connection: HttpConnection, snapshot: Snapshot, view: ProxyView) -> HttpConnection:
    """A connection manager with what the settings change in every place."""
    said = proxy_headers(snapshot, view)
    server = said.server
    return replace(
        connection,
        server_name=(server.value if server is not None else "") or connection.server_name,
        server_untouched=server is not None and server.disabled,
        request_ids=said.request_id is None or not said.request_id.disabled,
        debug_headers=said.envoy_debug_headers is None or not said.envoy_debug_headers.disabled,
        forwarded_port=said.x_forwarded_port is not None and said.x_forwarded_port.enabled,
        preserve_header_case=keeps_case(snapshot, view),
    )


def with_caller(connection: HttpConnection, snapshot: Snapshot, view: ProxyView) -> HttpConnection:
    """The connection manager in front of an application, with what it says of the caller's certificate."""
    said = proxy_headers(snapshot, view)
    parts = said.set_current_client_cert_details or ClientCertParts()
    shown = {"subject": True, "uri": True, "dns": True, "cert": False, "chain": False}
    named = tuple(name for name, default in shown.items() if (default if (v := getattr(parts, name)) is None else v))
    return replace(
        with_headers(connection, snapshot, view),
        client_cert=_details(said.forwarded_client_cert, connection.client_cert),
        client_cert_parts=named,
    )


def with_topology(connection: HttpConnection, snapshot: Snapshot, view: ProxyView) -> HttpConnection:
    """The connection manager of a gateway, with what may be believed of those in front of it."""
    said = topology(snapshot, view)
    details = _details(said.forward_client_cert_details, connection.client_cert)
    return replace(
        with_headers(connection, snapshot, view),
        trusted_hops=said.num_trusted_proxies,
        client_cert=details,
        client_cert_parts=("subject", "uri", "dns", "cert") if details in _SETTING else (),
    )


def _details(said: ForwardClientCertDetails, otherwise: ClientCert) -> ClientCert:
    return otherwise if said is ForwardClientCertDetails.UNDEFINED else ClientCert(said.value)
