"""Services: what clients call, independent of the platform it was written for.

Input comes from the registries of each cluster and from federation records; nothing here knows Envoy or Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from federation.model.labels import NO_LABELS, Labels
from federation.model.names import ServiceKey


class Protocol(StrEnum):
    """What a port speaks, in Istio's words; `AUTO` is detected per connection."""

    AUTO = "auto"
    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTP_PROXY = "HTTP_PROXY"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"

    @property
    def is_http(self) -> bool:
        """Whether Envoy handles it with an HTTP connection manager."""
        return self in _HTTP

    @property
    def is_http2(self) -> bool:
        """Whether the upstream side must speak HTTP/2."""
        return self in _HTTP2

    @property
    def is_tls(self) -> bool:
        """Whether the application itself brings TLS, which is passed through."""
        return self in _TLS

    @property
    def is_tcp(self) -> bool:
        """Whether it is handled as opaque TCP (application TLS included)."""
        return self not in _HTTP and self not in (Protocol.AUTO, Protocol.UDP)


_HTTP = frozenset({Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB, Protocol.HTTP_PROXY})
_HTTP2 = frozenset({Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB})
_TLS = frozenset({Protocol.HTTPS, Protocol.TLS})


class Resolution(StrEnum):
    """How a client finds the endpoints of a service."""

    ENDPOINTS = "endpoints"  # we hand out addresses (Kubernetes ClusterIP, ServiceEntry STATIC)
    DNS = "dns"  # Envoy resolves names, all addresses are used
    DNS_ROUND_ROBIN = "dns-round-robin"  # Envoy resolves names, one address at a time
    DYNAMIC_DNS = "dynamic-dns"  # Envoy resolves the name that each request or connection asks for
    PASSTHROUGH = "passthrough"  # the original destination is used (headless, ServiceEntry NONE)


class Origin(StrEnum):
    """Where a service was declared."""

    KUBERNETES = "kubernetes"
    SERVICE_ENTRY = "service-entry"
    FEDERATION = "federation"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a service. `target_port` is the workload's port number, 0 if each endpoint says it by port name."""

    number: int
    name: str
    protocol: Protocol
    target_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A service as seen in one cluster after merging all that is known of it.

    `created` is the RFC 3339 creation time or "" (sorts first); it settles conflicts, oldest first.
    `vips` are CIDRs or addresses a client may dial, `export_to` the namespaces that see it ("*" all, "." its own,
    "~" none).
    `subject_alt_names` are identities declared by the user in addition to those of the endpoints.
    `clusters` are the clusters that export or hold it ("" is never among them).
    `auto_vip`: its owner here gave no address; the one in `vips` is known to workloads whose DNS we answer.
    """

    key: ServiceKey
    name: str
    ports: tuple[ServicePort, ...]
    resolution: Resolution
    origin: Origin
    vips: tuple[str, ...] = ()
    external: bool = False
    created: str = ""
    labels: Labels = NO_LABELS
    export_to: tuple[str, ...] = ("*",)
    subject_alt_names: tuple[str, ...] = ()
    headless: bool = False
    selector: Labels = NO_LABELS
    traffic_distribution: str = ""
    clusters: tuple[str, ...] = ()
    cluster_local: bool = False
    auto_vip: bool = False

    @property
    def dialed_by_member(self) -> bool:
        """Whether clients dial its members themselves, as it has no address and knows which workloads these are."""
        of_selected = self.resolution is Resolution.PASSTHROUGH and not self.vips and bool(self.selector)
        return self.headless or of_selected

    @property
    def host(self) -> str:
        """The host clients use, e.g. `reviews.default.svc.cluster.local`."""
        return self.key.host

    @property
    def namespace(self) -> str:
        """The namespace that owns it."""
        return self.key.namespace

    def port(self, number: int) -> ServicePort | None:
        """The port of that service port number."""
        return next((port for port in self.ports if port.number == number), None)
