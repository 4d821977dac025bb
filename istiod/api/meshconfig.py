"""MeshConfig and MeshNetworks: settings of a whole control plane.

Fields that are known to Istio but not read here are accepted and named in a finding; unknown ones are errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from federation.model.findings import Severity
from istiod.api import providers, proxytracing
from istiod.api.destinationrule import ClientTLSSettings, LocalityLoadBalancerSetting, TcpKeepalive, TrafficPolicy
from istiod.api.fields import Duration, Model, Port
from istiod.api.formats import format_problem
from istiod.api.gateway import CIPHER_SUITES, TLSProtocol
from istiod.api.problems import Problem, is_network
from istiod.api.providers import DefaultProviders, ExtensionProvider, check_label, check_providers
from istiod.api.proxysettings import ConnectionSettings, ProxyHeaders, Topology
from istiod.api.proxytracing import ProxyTracing, check_proxy_tracing
from istiod.api.rules.destinationrule import check_locality, check_policy
from istiod.api.rules.values import check_duration, is_host, is_ip, is_label
from istiod.api.virtualservice import HTTPRetry


class H2UpgradePolicy(StrEnum):
    """Whether HTTP/1.1 is carried as HTTP/2 between sidecars."""

    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class AccessLogEncoding(StrEnum):
    """Form of access logs."""

    TEXT = "TEXT"
    JSON = "JSON"


class MeshOutboundMode(StrEnum):
    """What happens to calls of unknown destinations. Only the mesh can have the names of requests looked up."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"
    ALLOW_ANY_DYNAMIC_DNS = "ALLOW_ANY_DYNAMIC_DNS"


class MeshOutboundTrafficPolicy(Model):
    """Calls to unknown destinations. They pass where the mesh says nothing, but not where it says {} without a mode.

    `tls` is for those that are looked up.
    """

    mode: MeshOutboundMode = MeshOutboundMode.REGISTRY_ONLY
    tls: ClientTLSSettings | None = None


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


class TLSConfig(Model):
    """TLS of a kind of traffic all over the mesh; suites and curves by OpenSSL's names, none = the proxy's own."""

    min_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    ecdh_curves: tuple[str, ...] = ()
    cipher_suites: tuple[str, ...] = ()


# The groups that Envoy's BoringSSL takes by name.
CURVES = frozenset({"P-224", "P-256", "P-384", "P-521", "X25519", "X25519MLKEM768"})


class LabelOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelExpression(Model):
    """A condition on one label."""

    key: str
    operator: LabelOperator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the condition holds for a set of labels; an absent label is in no list."""
        match self.operator:
            case LabelOperator.IN:
                return labels.get(self.key) in self.values
            case LabelOperator.NOT_IN:
                return labels.get(self.key) not in self.values
            case LabelOperator.EXISTS:
                return self.key in labels
            case LabelOperator.DOES_NOT_EXIST:
                return self.key not in labels


class LabelSelector(Model):
    """Kubernetes' selector: all labels and all conditions must hold; an empty one selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelExpression, ...] = ()

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether all of it holds for a set of labels."""
        said = all(labels.get(key) == value for key, value in self.match_labels.items())
        return said and all(condition.holds(labels) for condition in self.match_expressions)


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
    tracing: ProxyTracing | None = None
    sds: dict[str, Any] | None = None
    envoy_access_log_service: dict[str, Any] | None = None
    envoy_metrics_service: dict[str, Any] | None = None
    gateway_topology: Topology | None = None
    proxy_stats_matcher: dict[str, Any] | None = None
    readiness_probe: dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    private_key_provider: dict[str, Any] | None = None
    proxy_headers: ProxyHeaders | None = None
    connection_settings: ConnectionSettings | None = None
    stats_compression: bool | None = None


class MeshConfig(Model):
    """Istio's MeshConfig, as far as it is followed, and the names of the rest."""

    root_namespace: str = "istio-system"
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    default_config: ProxyConfig = ProxyConfig()
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: AccessLogEncoding = AccessLogEncoding.TEXT
    outbound_traffic_policy: MeshOutboundTrafficPolicy = MeshOutboundTrafficPolicy(mode=MeshOutboundMode.ALLOW_ANY)
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
    disable_envoy_listener_log: bool = False
    mesh_mtls: TLSConfig = Field(default=TLSConfig(), alias="meshMTLS")
    tls_defaults: TLSConfig = TLSConfig()
    default_traffic_policy: TrafficPolicy | None = None
    discovery_selectors: tuple[LabelSelector, ...] = ()
    proxy_http_port: Annotated[int, Field(ge=0, le=65535)] = 0
    inbound_cluster_stat_name: str = ""
    outbound_cluster_stat_name: str = ""
    isthmus: IsthmusSettings = IsthmusSettings()

    # Known to Istio, not followed yet: accepted, and named by `ignored_settings`.
    enable_prometheus_merge: bool | None = None
    ingress_class: str | None = None
    ingress_controller_mode: str | None = None
    ingress_service: str | None = None
    ingress_selector: str | None = None
    proxy_listen_port: Port | None = None
    proxy_inbound_listen_port: Port | None = None
    ca_certificates: tuple[dict[str, Any], ...] = ()
    certificates: tuple[dict[str, Any], ...] = ()
    ca: dict[str, Any] | None = None
    enable_envoy_access_log_service: bool | None = None
    verify_certificate_at_client: bool | None = None
    config_sources: tuple[dict[str, Any], ...] = ()
    service_scope_configs: tuple[dict[str, Any], ...] = ()
    service_entry_visibility: dict[str, Any] | None = None
    hbone_idle_timeout: Duration | None = None
    zone_aware_lb_setting: dict[str, Any] | None = None


_AT_START = "is for whoever starts the proxy; istiod does nothing with it"
_UNUSED = "has no effect yet"
_FOLLOWED = {
    "tracing", "tracing_service_name", "zipkin_address", "gateway_topology", "proxy_headers", "connection_settings",
}  # fmt: skip

# Message -> Python name of the field -> what happens where it is set. docs/compatibility.md is made of it too.
NOT_FOLLOWED: Mapping[type[Model], Mapping[str, str]] = {
    MeshConfig: dict.fromkeys(
        (
            "ca_certificates", "certificates", "ca", "enable_envoy_access_log_service", "ingress_selector",
            "ingress_class", "ingress_controller_mode", "ingress_service",
            "verify_certificate_at_client", "config_sources", "service_scope_configs", "proxy_listen_port",
            "proxy_inbound_listen_port", "enable_prometheus_merge", "service_entry_visibility", "hbone_idle_timeout",
            "zone_aware_lb_setting",
        ),
        _UNUSED,
    ),
    ProxyConfig: {
        **dict.fromkeys(ProxyConfig.model_fields.keys() - _FOLLOWED, _AT_START),
        **dict.fromkeys(("sds", "envoy_access_log_service", "envoy_metrics_service"), _UNUSED),
    },
    ProxyHeaders: {"metadata_exchange_headers": _UNUSED},
    ConnectionSettings: dict.fromkeys(
        (
            "cluster_per_connection_buffer_limit_bytes", "listener_connection_limit",
            "global_downstream_connection_limit",
        ),
        "has no effect, as in Istio, whose istiod does not follow it either",
    ),
    ProxyTracing: dict.fromkeys(proxytracing.NOT_BUILT, _UNUSED),
    ExtensionProvider: dict.fromkeys(providers.NOT_BUILT, _UNUSED),
}  # fmt: skip
_OURS_TOO = {"proxy_listen_port": 15001, "proxy_inbound_listen_port": 15006}


def ignored_settings(mesh: MeshConfig) -> Iterator[Problem]:
    """Settings that were given and that istiod does nothing with."""
    headers = mesh.default_config.proxy_headers or ProxyHeaders()
    connections = mesh.default_config.connection_settings or ConnectionSettings()
    messages: tuple[tuple[Model, str], ...] = (
        (mesh, ""), (mesh.default_config, "defaultConfig."), (headers, "defaultConfig.proxyHeaders."),
        (connections, "defaultConfig.connectionSettings."),
    )  # fmt: skip
    for message, path in messages:
        for name, what in NOT_FOLLOWED[type(message)].items():
            if name not in message.model_fields_set or getattr(message, name) == _OURS_TOO.get(name):
                continue
            severity = Severity.INFO if what == _AT_START else Severity.WARNING
            alias = type(message).model_fields[name].alias
            yield Problem(f"{path}{alias}", what, "do not rely on it", "SettingIgnored", severity)


def validate_mesh(mesh: MeshConfig) -> Iterator[Problem]:
    """Rules beyond types: log formats and tags of spans are such that Envoy takes them."""
    yield from _log_format(mesh)
    yield from _domains(mesh)
    yield from check_duration(mesh.connect_timeout, "connectTimeout")
    if mesh.connect_timeout is not None and mesh.connect_timeout > MAX_CONNECT_SECONDS:
        yield Problem("connectTimeout", "is longer than an hour", "shorten it")
    if mesh.locality_lb_setting is not None:
        yield from check_locality(mesh.locality_lb_setting, "localityLbSetting")
    for index, settings in enumerate(mesh.service_settings):
        for number, host in enumerate(settings.hosts):
            if not is_host(host):
                path = f"serviceSettings[{index}].hosts[{number}]"
                yield Problem(path, f"{host[:100]!r} is no host", "use a DNS name, *.suffix or *")
    if mesh.default_config.tracing is not None:
        yield from check_proxy_tracing(mesh.default_config.tracing)
    yield from check_providers(mesh.extension_providers)
    yield from _tls("meshMTLS", mesh.mesh_mtls)
    yield from _tls("tlsDefaults", mesh.tls_defaults)
    if mesh.mesh_mtls.ecdh_curves:
        message, fix = "have no effect on mutual TLS of the mesh", "use minProtocolVersion, or tlsDefaults"
        yield Problem("meshMTLS.ecdhCurves", message, fix, severity=Severity.WARNING)
    yield from _default_policy(mesh.default_traffic_policy)


MAX_CONNECT_SECONDS = 3600.0


def _default_policy(policy: TrafficPolicy | None) -> Iterator[Problem]:
    """What of a policy holds for all services: connections and passive health checks."""
    yield from check_policy(policy, "defaultTrafficPolicy")
    for name in sorted(policy.model_fields_set - {"connection_pool", "outlier_detection"}) if policy else ():
        message, fix = "has no effect: only connectionPool and outlierDetection have a default", "use DestinationRules"
        path = f"defaultTrafficPolicy.{TrafficPolicy.model_fields[name].alias}"
        yield Problem(path, message, fix, severity=Severity.WARNING)


def _domains(mesh: MeshConfig) -> Iterator[Problem]:
    """Trust domains are DNS names, the root namespace is a namespace."""
    if not is_host(mesh.trust_domain, wildcard=False):
        yield Problem("trustDomain", f"{mesh.trust_domain[:100]!r} is no trust domain", "write e.g. cluster.local")
    for index, domain in enumerate(mesh.trust_domain_aliases):
        if not is_host(domain, wildcard=False):
            path = f"trustDomainAliases[{index}]"
            yield Problem(path, f"{domain[:100]!r} is no trust domain", "write e.g. cluster.local")
    if not is_label(mesh.root_namespace):
        yield Problem("rootNamespace", f"{mesh.root_namespace[:80]!r} is no namespace", "write e.g. istio-system")


def _tls(path: str, config: TLSConfig) -> Iterator[Problem]:
    for field, said, known in (
        ("cipherSuites", config.cipher_suites, CIPHER_SUITES),
        ("ecdhCurves", config.ecdh_curves, CURVES),
    ):
        for index, name in enumerate(said):
            if name not in known:
                message = f"{name[:80]!r} is unknown and left out"
                yield Problem(f"{path}.{field}[{index}]", message, "remove it", severity=Severity.WARNING)


def log_labels(mesh: MeshConfig) -> dict[str, Any] | None:
    """The fields of JSON access logs that `accessLogFormat` gives; None if it gives none."""
    try:
        labels = json.loads(mesh.access_log_format or "null")
    except ValueError:
        return None
    return labels if isinstance(labels, dict) else None


def _log_format(mesh: MeshConfig) -> Iterator[Problem]:
    if str(mesh.access_log_encoding) != "JSON":
        wrong = format_problem(mesh.access_log_format, log=True)
        if wrong:
            yield Problem("accessLogFormat", f"is no format string: {wrong}", "write %% for a percent sign")
        return
    labels = log_labels(mesh)
    if labels is None and mesh.access_log_format:
        message, fix = "is no JSON object: the default fields are logged", "write one, or set accessLogEncoding: TEXT"
        yield Problem("accessLogFormat", message, fix, severity=Severity.WARNING)
    for name, value in (labels or {}).items():
        yield from check_label(value, f"accessLogFormat.{name[:80]}")


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
        for index, endpoints in enumerate(network.endpoints):
            if endpoints.from_registry is not None and not is_label(endpoints.from_registry):
                path = f"networks.{name}.endpoints[{index}].fromRegistry"
                yield Problem(path, f"{endpoints.from_registry[:80]!r} is no name of a cluster", "name a cluster")
        for index, gateway in enumerate(network.gateways):
            path = f"networks.{name}.gateways[{index}]"
            for field, host in (("address", gateway.address), ("registryServiceName", gateway.registry_service_name)):
                if host is not None and not is_host(host, wildcard=False) and not (field == "address" and is_ip(host)):
                    yield Problem(f"{path}.{field}", f"{host[:100]!r} is no address", "give an IP address or a host")
            if (gateway.address is None) == (gateway.registry_service_name is None):
                path = f"networks.{name}.gateways[{index}]"
                yield Problem(path, "needs exactly one of address and registryServiceName", "keep one of them")
