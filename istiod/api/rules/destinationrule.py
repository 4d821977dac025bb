"""What Istio's validator says of a DestinationRule, and what Envoy would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isqrt

from federation.model.findings import Severity
from istiod.api.destinationrule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    ConsistentHashLB,
    DestinationRule,
    H2Upgrade,
    Http2KeepAlive,
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    PortTrafficPolicy,
    TLSMode,
    TrafficPolicy,
    Tunnel,
)
from istiod.api.fields import PolicySelector
from istiod.api.problems import Problem, check_distinct, check_export_to
from istiod.api.rules.values import check_duration, check_milliseconds, is_host, is_ip, is_label
from istiod.api.workloadentry import check_labels

MAX_MAGLEV_TABLE = 5_000_011
HASH_KEYS = "httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName"
TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")


def validate(rule: DestinationRule) -> Iterator[Problem]:
    """Istio's rules for DestinationRule beyond types."""
    if not rule.host:
        yield Problem("spec.host", "is empty", "name the host of a service")
    elif not is_host(rule.host):
        yield Problem("spec.host", f"{rule.host[:100]!r} is no host", "use a DNS name, or *.suffix")
    yield from check_policy(rule.traffic_policy, "spec.trafficPolicy")
    names = ((f"spec.subsets[{index}].name", subset.name) for index, subset in enumerate(rule.subsets))
    yield from check_distinct(names, "subset name")
    yield from check_export_to(rule.export_to, nobody=False)
    yield from _selector(rule.workload_selector, rule.export_to)
    for index, subset in enumerate(rule.subsets):
        path = f"spec.subsets[{index}]"
        if not is_label(subset.name):
            yield Problem(f"{path}.name", f"{subset.name[:80]!r} is no name", "use letters, digits and '-'")
        yield from check_labels(subset.labels, f"{path}.labels")
        yield from check_policy(subset.traffic_policy, f"{path}.trafficPolicy")


def _selector(selector: PolicySelector | None, export_to: tuple[str, ...]) -> Iterator[Problem]:
    if selector is None:
        return
    if not selector.all_labels:
        message, fix = "selects nothing", "name labels, or remove it"
        yield Problem("spec.workloadSelector", message, fix, severity=Severity.WARNING)
    for key, value in selector.all_labels.items():
        if not key or "*" in key or "*" in value:
            path = f"spec.workloadSelector.matchLabels.{key[:100]}"
            yield Problem(path, "has a wildcard or no key, which labels do not know", "name the label and its value")
    if export_to not in ((), (".",)):
        message = "reaches other namespaces, where a rule with workloadSelector does not count"
        yield Problem("spec.exportTo", message, "remove it, or use '.'")


def check_policy(policy: TrafficPolicy | PortTrafficPolicy | None, path: str) -> Iterator[Problem]:
    """Rules of a traffic policy, of a whole service or of a port."""
    if policy is None:
        return
    if not _says_something(policy):
        yield Problem(path, "is empty", "give at least one setting, or remove it")
    yield from _balancer(policy.load_balancer, f"{path}.loadBalancer")
    yield from _tls(policy.tls, f"{path}.tls")
    locality = policy.load_balancer.locality_lb_setting if policy.load_balancer else None
    if locality is not None and (locality.failover or locality.failover_priority) and policy.outlier_detection is None:
        yield Problem(
            f"{path}.outlierDetection",
            "is missing, so locality failover has no signal of its own",
            "add outlierDetection",
            "LocalityWithoutOutlierDetection",
            Severity.WARNING,
        )
    yield from _outlier(policy.outlier_detection, f"{path}.outlierDetection")
    yield from check_pool(policy.connection_pool, f"{path}.connectionPool")
    if isinstance(policy, TrafficPolicy):
        yield from _whole(policy, path)


def _says_something(policy: TrafficPolicy | PortTrafficPolicy) -> bool:
    return any(getattr(policy, name) not in (None, ()) for name in type(policy).model_fields if name != "port")


def _whole(policy: TrafficPolicy, path: str) -> Iterator[Problem]:
    """What only a policy of a whole service or subset has."""
    yield from _tunnel(policy.tunnel, f"{path}.tunnel")
    if policy.tunnel is not None and policy.proxy_protocol is not None:
        yield Problem(f"{path}.proxyProtocol", "is given together with tunnel", "keep one of them")
    numbers = (
        (f"{path}.portLevelSettings[{at}].port.number", p.port and p.port.number)
        for at, p in enumerate(policy.port_level_settings)
    )
    for problem in check_distinct(numbers, "port number"):
        yield replace(problem, fix="keep one of them: the first counts", severity=Severity.WARNING)
    for index, level in enumerate(policy.port_level_settings):
        if level.port is None:
            yield Problem(f"{path}.portLevelSettings[{index}].port", "is missing", "give port.number")
        yield from check_policy(level, f"{path}.portLevelSettings[{index}]")


def _tunnel(tunnel: Tunnel | None, path: str) -> Iterator[Problem]:
    if tunnel is None:
        return
    if tunnel.protocol not in ("CONNECT", "POST"):
        yield Problem(f"{path}.protocol", f"{tunnel.protocol[:80]!r} is unknown", "use CONNECT or POST")
    if not is_host(tunnel.target_host, wildcard=False) and not is_ip(tunnel.target_host):
        yield Problem(f"{path}.targetHost", f"{tunnel.target_host[:80]!r} is no host", "name one host or address")


def _outlier(detection: OutlierDetection | None, path: str) -> Iterator[Problem]:
    """`consecutiveErrors` is deprecated, and nothing follows it in Istio."""
    if detection is None:
        return
    if detection.consecutive_errors:
        yield Problem(
            f"{path}.consecutiveErrors",
            "is deprecated and has no effect",
            "use consecutive5xxErrors or consecutiveGatewayErrors",
            "DeprecatedField",
            Severity.WARNING,
        )
    if detection.consecutive_local_origin_failures and not detection.split_external_local_origin_errors:
        message = "counts only with splitExternalLocalOriginErrors"
        yield Problem(f"{path}.consecutiveLocalOriginFailures", message, "set splitExternalLocalOriginErrors: true")
    yield from check_duration(detection.interval, f"{path}.interval")
    yield from check_duration(detection.base_ejection_time, f"{path}.baseEjectionTime")


def check_pool(pool: ConnectionPoolSettings | None, path: str) -> Iterator[Problem]:
    """Rules of a connection pool, wherever one stands. Idle timeouts may be 0s, which switches them off."""
    if pool is None:
        return
    if pool.tcp is None and pool.http is None:
        yield Problem(path, "is empty", "give tcp or http, or remove it")
    http = pool.http
    if http is not None and http.use_client_protocol and http.h2_upgrade_policy is H2Upgrade.UPGRADE:
        message = "is true, and h2UpgradePolicy is UPGRADE"
        yield Problem(f"{path}.http.useClientProtocol", message, "keep one of them")
    if http is not None:
        yield from check_milliseconds(http.idle_timeout, f"{path}.http.idleTimeout")
        yield from _pings(http.http2_keep_alive, f"{path}.http.http2KeepAlive")
    if pool.tcp is not None:
        yield from check_milliseconds(pool.tcp.idle_timeout, f"{path}.tcp.idleTimeout")
        yield from check_duration(pool.tcp.connect_timeout, f"{path}.tcp.connectTimeout")
        yield from check_duration(pool.tcp.max_connection_duration, f"{path}.tcp.maxConnectionDuration")


def _pings(pings: Http2KeepAlive | None, path: str) -> Iterator[Problem]:
    if pings is None:
        return
    yield from check_duration(pings.interval, f"{path}.interval")
    yield from check_duration(pings.timeout, f"{path}.timeout")
    if pings.interval is None:
        message, fix = "is missing, so no pings are sent", "say how often, e.g. 15s"
        yield Problem(f"{path}.interval", message, fix, severity=Severity.WARNING)
    elif pings.timeout is None:
        message, fix = "is missing, which Istio refuses", "say how long an answer may take, e.g. 5s"
        yield Problem(f"{path}.timeout", message, fix, severity=Severity.WARNING)


def _balancer(settings: LoadBalancerSettings | None, path: str) -> Iterator[Problem]:
    if settings is None:
        return
    if settings.simple is not None and settings.consistent_hash is not None:
        yield Problem(path, "has both simple and consistentHash", "keep one of them")
    if settings.consistent_hash is not None:
        yield from _hash(settings.consistent_hash, f"{path}.consistentHash")
    if settings.warmup is not None:
        yield from check_duration(settings.warmup.duration, f"{path}.warmup.duration")
        if settings.warmup_duration_secs is not None:
            yield Problem(f"{path}.warmupDurationSecs", "is given together with warmup", "keep warmup")
    if settings.locality_lb_setting is not None and settings.zone_aware_lb_setting is not None:
        yield Problem(path, "has both localityLbSetting and zoneAwareLbSetting", "keep one of them")
    if settings.locality_lb_setting is not None:
        yield from check_locality(settings.locality_lb_setting, f"{path}.localityLbSetting")


def _hash(hashing: ConsistentHashLB, path: str) -> Iterator[Problem]:
    keys = (hashing.http_header_name, hashing.http_cookie, hashing.use_source_ip, hashing.http_query_parameter_name)
    if sum(key is not None for key in keys) > 1:
        yield Problem(path, f"has more than one of {HASH_KEYS}", "keep one of them")
    if not any(keys):
        message, fix = f"has none of {HASH_KEYS}, so nothing is hashed", "say by what, e.g. useSourceIp: true"
        yield Problem(path, message, fix, severity=Severity.WARNING)
    if hashing.http_cookie is not None and not hashing.http_cookie.name:
        yield Problem(f"{path}.httpCookie.name", "is empty", "name the cookie")
    if hashing.http_cookie is not None:
        names = [attribute.name for attribute in hashing.http_cookie.attributes]
        for index, name in enumerate(names):
            if name in names[:index]:
                at = f"{path}.httpCookie.attributes[{index}].name"
                yield Problem(at, f"{name[:80]!r} is listed twice", "keep one of them")
    if hashing.minimum_ring_size:
        message, fix = "is deprecated", "use ringHash.minimumRingSize"
        yield Problem(f"{path}.minimumRingSize", message, fix, "DeprecatedField", Severity.WARNING)
    given = [
        name
        for name, said in (
            ("minimumRingSize", hashing.minimum_ring_size),
            ("ringHash", hashing.ring_hash),
            ("maglev", hashing.maglev),
        )
        if said
    ]
    if len(given) > 1:
        yield Problem(path, f"has {' and '.join(given)}", "keep one of them")
    size = hashing.maglev.table_size if hashing.maglev is not None else None
    if size and not _is_table_size(size):
        message = f"{size} is no prime number up to {MAX_MAGLEV_TABLE}"
        yield Problem(f"{path}.maglev.tableSize", message, "leave it out (65537), or use a prime")


def _is_table_size(size: int) -> bool:
    return 1 < size <= MAX_MAGLEV_TABLE and all(size % factor for factor in range(2, isqrt(size) + 1))


def check_locality(locality: LocalityLoadBalancerSetting, path: str) -> Iterator[Problem]:
    """Rules of locality load balancing, of a rule or of the mesh."""
    if locality.distribute and locality.failover:
        yield Problem(path, "has both distribute and failover", "keep one of them")
    if locality.distribute and locality.failover_priority:
        message, fix = "has no effect beside distribute", "keep one of them"
        yield Problem(f"{path}.failoverPriority", message, fix, "FieldIgnored", Severity.WARNING)
    if locality.failover and set(locality.failover_priority) & set(TOPOLOGY):
        yield Problem(f"{path}.failoverPriority", "orders by topology, as failover does", "keep one of them")
    for index, rule in enumerate(locality.distribute):
        at = f"{path}.distribute[{index}]"
        for where, share in rule.to.items():
            if not share:
                yield Problem(f"{at}.to[{where[:80]}]", "is 0", "use 1 to 100, or leave the locality out")
        total = sum(rule.to.values())
        if total != 100:
            yield Problem(f"{at}.to", f"adds up to {total}", "make it 100")
        yield from _places(tuple(rule.to), f"{at}.to")
    yield from _places(tuple(rule.from_ for rule in locality.distribute), f"{path}.distribute")
    for index, failover in enumerate(locality.failover):
        at = f"{path}.failover[{index}]"
        if failover.from_ == failover.to:
            yield Problem(f"{at}.to", f"{failover.to!r} is where it fails over from", "name another region")
        for name, region in (("from", failover.from_), ("to", failover.to)):
            if "/" in region or "*" in region:
                yield Problem(f"{at}.{name}", f"{region[:80]!r} is no region", "name a region alone")


def _places(places: tuple[str, ...], path: str) -> Iterator[Problem]:
    """Localities have no empty part, a `*` only at the end, and none is part of another (`*` alone is the rest)."""
    for index, place in enumerate(places):
        if not all(place.split("/")) or "*" in place[:-1]:
            yield Problem(path, f"{place[:80]!r} is no locality", "write region/zone/subzone, or region/*")
        known = next((other for other in places[:index] if _overlap(other, place)), None)
        if known is not None:
            yield Problem(path, f"{place[:80]!r} and {known[:80]!r} overlap", "name each locality once")


def _overlap(one: str, other: str) -> bool:
    parts = [[part for part in place.split("/")[:3] if part != "*"] for place in (one, other)]
    shorter, longer = sorted(parts, key=len)
    return bool(shorter) and longer[: len(shorter)] == shorter


def _tls(tls: ClientTLSSettings | None, path: str) -> Iterator[Problem]:
    if tls is None:
        return
    files = (tls.client_certificate, tls.private_key)
    if tls.mode is TLSMode.MUTUAL and not tls.credential_name and not all(files):
        message = "is MUTUAL without clientCertificate and privateKey, or credentialName"
        yield Problem(path, message, "give the certificate")
    if tls.mode is TLSMode.ISTIO_MUTUAL and (any(files) or tls.ca_certificates or tls.credential_name):
        message = "is ISTIO_MUTUAL, which uses the mesh's certificates, and names others"
        yield Problem(path, message, "remove them or use MUTUAL", "FieldIgnored", Severity.WARNING)
    if tls.credential_name and (any(files) or tls.ca_certificates or tls.ca_crl):
        yield Problem(f"{path}.credentialName", "is given together with files", "keep one of them")
    if tls.insecure_skip_verify:
        for name, given in (("caCertificates", tls.ca_certificates), ("subjectAltNames", tls.subject_alt_names)):
            if given and tls.mode in (TLSMode.SIMPLE, TLSMode.MUTUAL):
                yield Problem(f"{path}.{name}", "is given, and insecureSkipVerify is true", "keep one of them")
        if tls.credential_name and tls.mode is TLSMode.SIMPLE:
            yield Problem(f"{path}.credentialName", "is given, and insecureSkipVerify is true", "keep one of them")
