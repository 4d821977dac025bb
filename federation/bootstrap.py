"""The start configuration of an Envoy of ours: who it is and how it finds its control plane. Everything else comes
by xDS.

Pure: values in, plain JSON-able data out; used for sidecars (`isthmus proxy bootstrap`) and by the east-west
gateway. There is
no agent: Envoy dials istiod itself, shows a service account token from a file, and gets its certificate on the same
stream. Form and names are Istio's where Istio has them (node id, metadata, static upstream `xds-grpc`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from federation.model.locality import NO_LOCALITY, Locality

HEALTH_PORT = 15021
STATS_PORT = 15090
TOKEN_SDS_FILE = "xds-token.sds.json"
_TYPE = "type.googleapis.com/"
ISTIO_VERSION = "1.32.0"  # whose API is meant: patches may be for proxies of some versions only
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_DOWNSTREAM_LIMIT = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProxyBootstrap:
    """One Envoy. `type` is sidecar or router; `xds_host`/`xds_port` istiod's TLS address; `server_name` what its
    certificate says, or, where it is known, `server_identity`: a name that only this cluster's CA can sign.

    `token_file` and `root_file` are watched and may be replaced; `directory` is where the token's SDS file will lie.
    """

    type: str
    name: str
    namespace: str
    service_account: str
    address: str
    cluster: str
    network: str
    mesh: str
    xds_host: str
    xds_port: int
    server_name: str
    root_file: Path
    token_file: Path
    directory: Path
    admin_socket: Path
    locality: Locality = NO_LOCALITY
    labels: Mapping[str, str] = field(default_factory=dict)
    requested_networks: tuple[str, ...] = ()
    domain: str = "cluster.local"
    extra_addresses: tuple[str, ...] = ()
    health_port: int = HEALTH_PORT
    stats_port: int = STATS_PORT
    sotw: bool = False
    server_identity: str = ""


def render_bootstrap(proxy: ProxyBootstrap) -> Json:
    """The bootstrap as data for `envoy -c`."""
    from_ads = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {
        "node": _node(proxy),
        "admin": {"address": {"pipe": {"path": str(proxy.admin_socket), "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": from_ads,
            "cds_config": from_ads,
            "ads_config": {
                "api_type": "GRPC" if proxy.sotw else "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc", "retry_policy": _RECONNECT}}],
            },
        },
        "static_resources": {
            "clusters": [_xds_cluster(proxy), _admin_cluster(proxy)],
            "listeners": [_health_listener(proxy), _stats_listener(proxy)],
        },
        "stats_config": _stats(),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}]},
        "bootstrap_extensions": [_typed("envoy.bootstrap.internal_listener", _INTERNAL)],
        "overload_manager": {
            "resource_monitors": [
                {
                    **_typed("envoy.resource_monitors.global_downstream_max_connections", _DOWNSTREAM_LIMIT),
                    "typed_config": {"@type": _TYPE + _DOWNSTREAM_LIMIT, "max_active_downstream_connections": 100_000},
                }
            ]
        },
    }


# Envoy's own 500 ms to 30 s leave a proxy without its control plane long after that is back. Both ends are jittered.
_RECONNECT = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}
# Envoy refuses all routes for one expression above 100 steps, of which a UUID has more. Istio has this limit too.
_RUNTIME = {"re2.max_program_size.error_level": 32_768}
_INTERNAL = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"


def render_token_sds(proxy: ProxyBootstrap) -> Json:
    """The file that tells Envoy where the token lies; it belongs beside the bootstrap as `xds-token.sds.json`."""
    return {
        "resources": [
            {
                "@type": _TYPE + "envoy.extensions.transport_sockets.tls.v3.Secret",
                "name": "xds-token",
                "generic_secret": {"secret": {"filename": str(proxy.token_file)}},
            }
        ]
    }


def node_id(proxy: ProxyBootstrap) -> str:
    """Istio's `type~address~name.namespace~namespace.svc.domain`."""
    return f"{proxy.type}~{proxy.address}~{proxy.name}.{proxy.namespace}~{proxy.namespace}.svc.{proxy.domain}"


def _node(proxy: ProxyBootstrap) -> Json:
    labels = {
        **proxy.labels,
        "topology.istio.io/cluster": proxy.cluster,
        "topology.istio.io/network": proxy.network,
    }
    workload = proxy.labels.get("app", proxy.name)
    metadata: Json = {
        "NAME": proxy.name,
        "NAMESPACE": proxy.namespace,
        "SERVICE_ACCOUNT": proxy.service_account,
        "WORKLOAD_NAME": workload,
        "CLUSTER_ID": proxy.cluster,
        "NETWORK": proxy.network,
        "MESH_ID": proxy.mesh,
        "LABELS": labels,
        "INSTANCE_IPS": ",".join((proxy.address, *proxy.extra_addresses)),
        "INTERCEPTION_MODE": "REDIRECT",
        "DNS_CAPTURE": "true",
        "ISTHMUS_SDS": "true",
        "ISTIO_VERSION": ISTIO_VERSION,
    }
    if proxy.requested_networks:
        metadata["REQUESTED_NETWORK_VIEW"] = ",".join(proxy.requested_networks)
    place = proxy.locality
    return {
        "id": node_id(proxy),
        "cluster": f"{workload}.{proxy.namespace}",
        "locality": {"region": place.region, "zone": place.zone, "sub_zone": place.subzone},
        "metadata": metadata,
    }


def _xds_cluster(proxy: ProxyBootstrap) -> Json:
    injector = "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"
    generic = "envoy.extensions.http.injected_credentials.generic.v3.Generic"
    codec = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    credential = {
        "@type": _TYPE + generic,
        "header": "authorization",
        "header_value_prefix": "Bearer ",
        "credential": {
            "name": "xds-token",
            "sds_config": {
                "path_config_source": {
                    "path": str(proxy.directory / TOKEN_SDS_FILE),
                    "watched_directory": {"path": str(proxy.token_file.parent)},
                },
                "resource_api_version": "V3",
            },
        },
    }
    return {
        "name": "xds-grpc",
        "type": "STATIC" if _is_ip(proxy.xds_host) else "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": _assignment("xds-grpc", _socket(proxy.xds_host, proxy.xds_port)),
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 10, "keepalive_interval": 5, "keepalive_probes": 3}
        },
        "circuit_breakers": {
            "thresholds": [{"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000}]
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": _TYPE + _HTTP_OPTIONS,
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
                },
                "http_filters": [
                    {
                        "name": "envoy.filters.http.credential_injector",
                        "typed_config": {
                            "@type": _TYPE + injector,
                            "overwrite": True,
                            "credential": {
                                "name": "envoy.http.injected_credentials.generic",
                                "typed_config": credential,
                            },
                        },
                    },
                    _typed("envoy.filters.http.upstream_codec", codec),
                ],
            }
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": _TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": proxy.server_name,
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_2",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "validation_context": {
                        "trusted_ca": {"filename": str(proxy.root_file)},
                        "match_typed_subject_alt_names": [_server(proxy)],
                    },
                },
            },
        },
    }


def istiod_identity(trust_domain: str) -> str:
    """The identity of a cluster's control plane."""
    return f"spiffe://{trust_domain}/ns/istio-system/sa/istiod"


def _server(proxy: ProxyBootstrap) -> Json:
    """What must stand in istiod's certificate. All clusters give theirs the same DNS names; name constraints bind
    URIs.
    """
    if proxy.server_identity:
        return {"san_type": "URI", "matcher": {"exact": proxy.server_identity}}
    return {"san_type": "DNS", "matcher": {"exact": proxy.server_name}}


def _admin_cluster(proxy: ProxyBootstrap) -> Json:
    return {
        "name": "prometheus_stats",
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "load_assignment": _assignment("prometheus_stats", {"pipe": {"path": str(proxy.admin_socket)}}),
    }


def _health_listener(proxy: ProxyBootstrap) -> Json:
    check = {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"prefix": "/healthz/ready"}}],
        },
    }
    return _http_listener("health", proxy.health_port, [check], {"direct_response": {"status": 404}})


def _stats_listener(proxy: ProxyBootstrap) -> Json:
    return _http_listener(
        "prometheus", proxy.stats_port, [], {"route": {"cluster": "prometheus_stats"}}, "/stats/prometheus"
    )


def _http_listener(name: str, port: int, filters: list[Json], action: Json, prefix: str = "/") -> Json:
    hcm = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = _typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")
    return {
        "name": name,
        "address": _socket("0.0.0.0", port),
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {
                            "@type": _TYPE + hcm,
                            "stat_prefix": name,
                            "http_filters": [*filters, router],
                            "route_config": {
                                "virtual_hosts": [
                                    {
                                        "name": name,
                                        "domains": ["*"],
                                        "routes": [{"match": {"prefix": prefix}, **action}],
                                    }
                                ]
                            },
                        },
                    }
                ]
            }
        ],
    }


def _stats() -> Json:
    """Only what is read: Envoy's first configuration of 1,000 upstreams takes a third of the time without the rest."""
    prefixes = (
        "cluster_manager",
        "listener_manager",
        "server",
        "cluster.xds-grpc",
        "http.inbound",
        "http.outbound",
        "tcp.outbound_passthrough",
        "istio.",
    )
    suffixes = (
        "upstream_cx_total",
        "upstream_cx_connect_fail",
        "upstream_rq_total",
        "upstream_rq_retry",
        "ejections_active",
        "membership_healthy",
        "membership_total",
        "ssl.fail_verify_error",
        "ssl.fail_verify_san",
        "no_filter_chain_match",
        "downstream_cx_active",
    )
    patterns = [{"prefix": prefix} for prefix in prefixes] + [{"suffix": suffix} for suffix in suffixes]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        "use_all_default_tags": False,
        "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in _TAGS],
    }


# Envoy's own rules end a name at its first dot; ours are host names, ended by Istio's semicolon (`alt_stat_name`).
_NAMES = r"((?:outbound|inbound)[^;]*;|[^.;]+)"
_TAGS = (
    ("cluster_name", rf"^cluster\.({_NAMES}\.)"),
    ("http_conn_manager_prefix", rf"^http\.({_NAMES}\.)"),
    ("tcp_prefix", r"^tcp\.((.+?)\.)"),
    ("listener_address", r"^listener\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"),
    ("response_code_class", r"_rq(_(\dxx))$"),
    ("response_code", r"_rq(_(\d{3}))$"),
)


def _typed(name: str, kind: str) -> Json:
    return {"name": name, "typed_config": {"@type": _TYPE + kind}}


def _socket(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _assignment(name: str, address: Json) -> Json:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def _is_ip(host: str) -> bool:
    return host.replace(".", "").isdigit() or ":" in host
