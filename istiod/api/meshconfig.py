"""MeshConfig and MeshNetworks: settings of a whole control plane.

Fields that are known to Istio but not read here are accepted and named in a finding; unknown ones are errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pydantic import Field

from istiod.api.destinationrule import LocalityLoadBalancerSetting, TcpKeepalive
from istiod.api.fields import Duration, Model, Port
from istiod.api.formats import format_problem
from istiod.api.problems import Problem, is_network
from istiod.api.providers import DefaultProviders, ExtensionProvider, check_providers
from istiod.api.sidecar import OutboundMode
from istiod.api.virtualservice import HTTPRetry


class H2UpgradePolicy(StrEnum):
    """Whether HTTP/1.1 is carried as HTTP/2 between sidecars."""

    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class AccessLogEncoding(StrEnum):
    """Form of access logs."""

    TEXT = "TEXT"
    JSON = "JSON"


class MeshOutboundTrafficPolicy(Model):
    """Calls to unknown destinations; the mesh's default lets them pass."""

    mode: OutboundMode = OutboundMode.ALLOW_ANY


class InboundMode(StrEnum):
    """What happens to inbound connections to ports no service lists."""

    PASSTHROUGH = "PASSTHROUGH"
    LOCALHOST = "LOCALHOST"


class InboundTrafficPolicy(Model):
    """Inbound connections to unlisted ports."""

    mode: InboundMode = InboundMode.PASSTHROUGH


class PathNormalization(Model):
    """How request paths are normalised before policies see them."""

    normalization: str = "DEFAULT"


class ServiceSettings(Model):
    """Settings of hosts."""

    settings: dict[str, bool] = {}
    hosts: tuple[str, ...] = ()


class Defaults(StrEnum):
    """What applies where the user is silent."""

    RESILIENT = "resilient"
    ISTIO = "istio"


class IsthmusSettings(Model):
    """What Isthmus adds to MeshConfig."""

    defaults: Defaults = Defaults.RESILIENT


class ProxyConfig(Model):
    """Defaults of proxies. Configuration depends on few of them; the rest is for whoever starts the proxy."""

    discovery_address: str = ""
    drain_duration: Duration | None = None
    termination_drain_duration: Duration | None = None
    proxy_metadata: dict[str, str] = {}

    config_path: str | None = None
    binary_path: str | None = None
    service_cluster: str | None = None
    custom_config_file: str | None = None
    tracing_service_name: str | None = None
    parent_shutdown_duration: Duration | None = None
    discovery_refresh_delay: Duration | None = None
    concurrency: int | None = None
    stat_name_length: int | None = None
    status_port: int | None = None
    proxy_admin_port: int | None = None
    control_plane_auth_policy: str | None = None
    availability_zone: str | None = None
    zipkin_address: str | None = None
    statsd_udp_address: str | None = None
    mesh_id: str | None = None
    hold_application_until_proxy_starts: bool | None = None
    extra_stat_tags: tuple[str, ...] = ()
    ca_certificates_pem: tuple[str, ...] = ()
    proxy_bootstrap_template_path: str | None = None
    interception_mode: str | None = None
    file_flush_interval: Duration | None = None
    file_flush_min_size_kb: int | None = None
    runtime_values: dict[str, str] = {}
    tracing: dict[str, Any] | None = None
    sds: dict[str, Any] | None = None
    envoy_access_log_service: dict[str, Any] | None = None
    envoy_metrics_service: dict[str, Any] | None = None
    gateway_topology: dict[str, Any] | None = None
    proxy_stats_matcher: dict[str, Any] | None = None
    readiness_probe: dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    private_key_provider: dict[str, Any] | None = None
    proxy_headers: dict[str, Any] | None = None


class MeshConfig(Model):
    """Istio's MeshConfig, as far as it is followed, and the names of the rest."""

    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    default_config: ProxyConfig = ProxyConfig()
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: AccessLogEncoding = AccessLogEncoding.TEXT
    outbound_traffic_policy: MeshOutboundTrafficPolicy = MeshOutboundTrafficPolicy()
    inbound_traffic_policy: InboundTrafficPolicy = InboundTrafficPolicy()
    enable_auto_mtls: bool = True
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    default_service_export_to: tuple[str, ...] = ("*",)
    default_virtual_service_export_to: tuple[str, ...] = ("*",)
    default_destination_rule_export_to: tuple[str, ...] = ("*",)
    default_http_retry_policy: HTTPRetry | None = None
    protocol_detection_timeout: Duration | None = None
    h2_upgrade_policy: H2UpgradePolicy = H2UpgradePolicy.DO_NOT_UPGRADE
    service_settings: tuple[ServiceSettings, ...] = ()
    dns_refresh_rate: Duration | None = None
    path_normalization: PathNormalization = PathNormalization()
    extension_providers: tuple[ExtensionProvider, ...] = ()
    default_providers: DefaultProviders = DefaultProviders()
    enable_tracing: bool = False
    isthmus: IsthmusSettings = IsthmusSettings()

    # Known to Istio, not followed yet: accepted, and named by `ignored_settings`.
    enable_prometheus_merge: bool | None = None
    disable_envoy_listener_log: bool | None = None
    ingress_class: str | None = None
    ingress_controller_mode: str | None = None
    ingress_service: str | None = None
    ingress_selector: str | None = None
    proxy_listen_port: Port | None = None
    proxy_inbound_listen_port: Port | None = None
    proxy_http_port: int | None = None
    ca_certificates: tuple[dict[str, Any], ...] = ()
    certificates: tuple[dict[str, Any], ...] = ()
    ca: dict[str, Any] | None = None
    discovery_selectors: tuple[dict[str, Any], ...] = ()
    mesh_mtls: dict[str, Any] | None = Field(default=None, alias="meshMTLS")
    tls_defaults: dict[str, Any] | None = None
    enable_envoy_access_log_service: bool | None = None
    verify_certificate_at_client: bool | None = None
    config_sources: tuple[dict[str, Any], ...] = ()
    inbound_cluster_stat_name: str | None = None
    outbound_cluster_stat_name: str | None = None
    service_scope_configs: tuple[dict[str, Any], ...] = ()
    default_traffic_policy: dict[str, Any] | None = None


_NOT_FOLLOWED = (
    "extension_providers", "default_providers", "enable_tracing", "ca_certificates", "certificates", "ca",
    "discovery_selectors", "mesh_mtls", "tls_defaults", "enable_envoy_access_log_service", "default_traffic_policy",
    "ingress_selector",
)  # fmt: skip


def ignored_settings(mesh: MeshConfig) -> tuple[str, ...]:
    """Settings that were given and have no effect yet, as Istio spells them."""
    given = mesh.model_fields_set
    return tuple(str(MeshConfig.model_fields[name].alias) for name in _NOT_FOLLOWED if name in given)


def validate_mesh(mesh: MeshConfig) -> Iterator[Problem]:
    """Rules beyond types: a text log format is one that Envoy takes."""
    wrong = format_problem(mesh.access_log_format) if str(mesh.access_log_encoding) != "JSON" else ""
    if wrong:
        yield Problem("accessLogFormat", f"is no format string: {wrong}", "write %% for a percent sign")
    yield from check_providers(mesh.extension_providers)


class NetworkEndpoints(Model):
    """Which endpoints belong to a network."""

    from_cidr: str | None = None
    from_registry: str | None = None


class NetworkGateway(Model):
    """A gateway that leads into a network."""

    address: str | None = None
    registry_service_name: str | None = None
    port: Port
    locality: str = ""


class Network(Model):
    """One network."""

    endpoints: tuple[NetworkEndpoints, ...] = ()
    gateways: tuple[NetworkGateway, ...] = ()


class MeshNetworks(Model):
    """Istio's MeshNetworks."""

    networks: dict[str, Network] = {}


def validate_networks(mesh: MeshNetworks) -> Iterator[Problem]:
    """Rules beyond types: an endpoint is of a CIDR or of a registry, a gateway has an address or a service."""
    for name, network in mesh.networks.items():
        for index, endpoints in enumerate(network.endpoints):
            path = f"networks.{name}.endpoints[{index}]"
            if (endpoints.from_cidr is None) == (endpoints.from_registry is None):
                yield Problem(path, "needs exactly one of fromCidr and fromRegistry", "keep one of them")
            elif endpoints.from_cidr is not None and not is_network(endpoints.from_cidr):
                yield Problem(f"{path}.fromCidr", f"{endpoints.from_cidr!r} is no CIDR", "write 10.0.0.0/8")
        for index, gateway in enumerate(network.gateways):
            if (gateway.address is None) == (gateway.registry_service_name is None):
                path = f"networks.{name}.gateways[{index}]"
                yield Problem(path, "needs exactly one of address and registryServiceName", "keep one of them")
