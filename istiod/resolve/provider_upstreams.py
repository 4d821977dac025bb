"""Where the server of an extension provider is found: an upstream that the proxy has. Pure look-up.

Input: `[namespace/]host` and a port, as MeshConfig spells them. Rules: Istio's extension providers; without a
namespace the host must be one namespace's alone. `istiod.resolve.scope` sees to it that proxies with a Sidecar have
the upstream too.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation.model.service import Resolution, Service, ServicePort
from federation.model.sni import OutboundName
from istiod.resolve.scope import Scope
from istiod.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ProviderUpstream:
    """A provider's server: its service, the port of it, and the name of the upstream."""

    service: Service
    port: ServicePort

    @property
    def name(self) -> str:
        """`outbound|<port>||<host>`."""
        return OutboundName(self.port.number, "", self.service.host).format_cluster()


def find_upstream(snapshot: Snapshot, scope: Scope, said: str, port: int) -> ProviderUpstream | str:
    """The upstream of `[namespace/]host` for proxies of a scope, or what is wrong (`… is not known`)."""
    namespace, slash, host = said.rpartition("/")
    owners = [key.namespace for key in snapshot.hosts.get(host, ()) if not slash or key.namespace == namespace]
    if not owners:
        return f"service {said[:200]!r} is not known"
    if len(owners) > 1:
        return f"service {said[:200]!r} is in several namespaces ({', '.join(sorted(owners))[:200]})"
    service = scope.by_host.get(host)
    if service is None or service.namespace != owners[0]:
        return f"service {said[:200]!r} is not visible"
    found = service.port(port)
    if found is None:
        return f"service {said[:200]!r} has no port {port}"
    if service.resolution is Resolution.PASSTHROUGH:
        return f"service {said[:200]!r} has no endpoints of its own to call"
    return ProviderUpstream(service, found)
