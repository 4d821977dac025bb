"""Names that are looked up as they are asked for -> Envoy's dynamic forward proxy: filters and the upstream's type."""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2 import ClusterConfig
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from envoy.extensions.filters.http.dynamic_forward_proxy.v3.dynamic_forward_proxy_pb2 import (
    FilterConfig as HttpFilterConfig,
)
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.sni_dynamic_forward_proxy_pb2 import (
    FilterConfig as SniFilterConfig,
)

from istiod.encode.wire import duration, pack
from istiod.resolve.specs.dns import DnsCacheSpec, SniLookup

CACHE = "dynamic_dns"
HTTP_FILTER = "envoy.filters.http.dynamic_forward_proxy"
SNI_FILTER = "envoy.filters.network.sni_dynamic_forward_proxy"
CLUSTER_TYPE = "envoy.clusters.dynamic_forward_proxy"


def http_lookup(spec: DnsCacheSpec) -> HttpFilterConfig:
    """Looks up the host of requests whose upstream wants it."""
    return HttpFilterConfig(dns_cache_config=_cache(spec))


def sni_lookup(spec: SniLookup) -> SniFilterConfig:
    """Looks up the server name of TLS connections."""
    return SniFilterConfig(dns_cache_config=_cache(spec.cache), port_value=spec.port)


def dynamic_cluster(result: Cluster, spec: DnsCacheSpec, unverified: bool) -> None:
    """Makes an upstream of looked up names; Envoy wants servers to be verified unless it is told otherwise."""
    config = ClusterConfig(dns_cache_config=_cache(spec), allow_insecure_cluster_options=unverified)
    result.cluster_type.name = CLUSTER_TYPE
    result.cluster_type.typed_config.CopyFrom(pack(config))


def _cache(spec: DnsCacheSpec) -> DnsCacheConfig:
    family = Cluster.ALL if spec.ipv4 and spec.ipv6 else Cluster.V4_ONLY if spec.ipv4 else Cluster.V6_ONLY
    result = DnsCacheConfig(name=CACHE, dns_lookup_family=family)
    result.dns_refresh_rate.CopyFrom(duration(spec.refresh_rate))
    return result
