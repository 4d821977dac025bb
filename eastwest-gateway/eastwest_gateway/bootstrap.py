"""The files that a gateway's Envoy starts from. Owns where they lie; their content is `federation.bootstrap`'s."""

from __future__ import annotations

import json
import socket

from eastwest_gateway.settings import NAMESPACE, SERVICE_ACCOUNT, Settings
from federation.bootstrap import (
    TOKEN_SDS_FILE,
    ProxyBootstrap,
    istiod_identity,
    render_bootstrap,
    render_token_sds,
)
from federation.runtime.atomic import write_atomic


def write_bootstrap(settings: Settings) -> list[str]:
    """Write the start configuration into the state directory; returns Envoy's command line."""
    proxy = proxy_bootstrap(settings, own_address(settings.xds.host, settings.xds.port))
    path = settings.state / "bootstrap.json"
    write_atomic(path, json.dumps(render_bootstrap(proxy)).encode())
    write_atomic(settings.state / TOKEN_SDS_FILE, json.dumps(render_token_sds(proxy)).encode())
    settings.admin_socket.unlink(missing_ok=True)
    return [
        settings.envoy,
        *("--config-path", str(path)),
        *("--concurrency", str(settings.concurrency)),
        *("--drain-time-s", str(max(1, round(settings.drain)))),
        *("--log-level", "warning"),
        "--disable-hot-restart",
    ]


def proxy_bootstrap(settings: Settings, address: str) -> ProxyBootstrap:
    """The gateway as its control plane is to know it: a router that looks at its own network alone."""
    gateway = settings.gateway
    return ProxyBootstrap(
        type="router",
        name=settings.name,
        namespace=NAMESPACE,
        service_account=SERVICE_ACCOUNT,
        address=address,
        cluster=gateway.cluster,
        network=gateway.network,
        mesh=settings.mesh,
        xds_host=settings.xds.host,
        xds_port=settings.xds.port,
        server_name=settings.xds_server_name,
        server_identity=istiod_identity(settings.trust_domain) if settings.trust_domain else "",
        root_file=settings.root_cert,
        token_file=settings.token_file,
        directory=settings.state,
        admin_socket=settings.admin_socket,
        locality=gateway.locality,
        labels={"app": "istio-eastwestgateway", "istio": "eastwestgateway"},
        requested_networks=(gateway.network,),
    )


def own_address(host: str, port: int) -> str:
    """The address that packets to the control plane leave from. Sends nothing. Raises OSError if there is no way
    there.
    """
    family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])
