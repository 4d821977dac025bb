"""Istio's standard metrics as statistics of stock Envoy: names, labels and where each label's value is found.

Input: which side of a call it is, what is known of the chain, and a Telemetry's overrides. Rules: Istio's reference of
standard metrics. Not counted: messages of gRPC streams, which no format string tells. Bytes of connections are counted
when these end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from istiod.api.cel import without_string
from istiod.api.telemetry import Metric, WorkloadMode
from istiod.resolve.specs.cluster import ServiceRef
from istiod.resolve.specs.telemetry import (
    OWN_STATE,
    PEER_METADATA,
    UNKNOWN,
    AccessLogSpec,
    Fact,
    LogEvent,
    Pairs,
    Stat,
    StatsLog,
)

# Metric -> name without Istio's prefix, value ("" counts one), unit of a histogram.
HTTP = {
    Metric.REQUEST_COUNT: ("requests_total", "", ""),
    Metric.REQUEST_DURATION: ("request_duration_milliseconds", "%DURATION%", "Milliseconds"),
    Metric.REQUEST_SIZE: ("request_bytes", "%BYTES_RECEIVED%", "Bytes"),
    Metric.RESPONSE_SIZE: ("response_bytes", "%BYTES_SENT%", "Bytes"),
}
OPENED = {Metric.TCP_OPENED_CONNECTIONS: ("tcp_connections_opened_total", "", "")}
CLOSED = {
    Metric.TCP_CLOSED_CONNECTIONS: ("tcp_connections_closed_total", "", ""),
    Metric.TCP_SENT_BYTES: ("tcp_sent_bytes_total", "%BYTES_SENT%", ""),
    Metric.TCP_RECEIVED_BYTES: ("tcp_received_bytes_total", "%BYTES_RECEIVED%", ""),
}
NAMES = {metric: said[0] for table in (HTTP, OPENED, CLOSED) for metric, said in table.items()}
_LABELS = {
    Fact.NAME: "workload",
    Fact.NAMESPACE: "workload_namespace",
    Fact.APP: "app",
    Fact.VERSION: "version",
    Fact.CLUSTER: "cluster",
    Fact.SERVICE: "canonical_service",
    Fact.REVISION: "canonical_revision",
}
_GRPC = "'content-type' in request.headers && request.headers['content-type'].startsWith('application/grpc')"
_SERVICES = "xds.cluster_metadata.filter_metadata.istio.services"
_NAMESPACE = r"%CEL(re.extract(connection.uri_san_peer_certificate, '^[^/]+//[^/]+/ns/([^/]+)/.*$', '\\1'))%"


@dataclass(slots=True)
class Override:
    """What Telemetries say of one metric; a tag of "" is removed, others are CEL."""

    disabled: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is known of a filter chain: the side, mutual TLS, and the service that all of it is for, if there is one."""

    side: WorkloadMode
    mutual_tls: bool = False
    service: ServiceRef | None = None


def http_metrics(traffic: Traffic, overrides: Mapping[str, Override]) -> tuple[AccessLogSpec, ...]:
    """The metrics of requests."""
    request = (
        ("request_protocol", f"%CEL({_GRPC} ? 'grpc' : 'http')%"),
        ("response_code", "%RESPONSE_CODE%"),
        ("grpc_response_status", "%GRPC_STATUS_NUMBER%"),
        ("response_flags", "%RESPONSE_FLAGS%"),
    )
    tags = (*_base(traffic, _callers(traffic) if traffic.mutual_tls else _nobody("source")), *request)
    return _log(HTTP, tags, overrides)


def tcp_metrics(traffic: Traffic, overrides: Mapping[str, Override]) -> tuple[AccessLogSpec, ...]:
    """The metrics of connections. Callers are known by their certificates alone."""
    source = dict(_nobody("source"))
    if traffic.mutual_tls:
        source["source_workload_namespace"] = _NAMESPACE
    tags = (
        *_base(traffic, tuple(source.items())),
        ("request_protocol", "tcp"),
        ("response_flags", "%RESPONSE_FLAGS%"),
    )
    return (
        *_log(OPENED, tags, overrides, LogEvent.CONNECTED),
        *_log(CLOSED, tags, overrides, LogEvent.ENDED),
    )


def _log(
    metrics: Mapping[Metric, tuple[str, str, str]],
    tags: Pairs,
    overrides: Mapping[str, Override],
    event: LogEvent = LogEvent.ANY,
) -> tuple[AccessLogSpec, ...]:
    stats = []
    for name, value, unit in metrics.values():
        override = overrides.get(name, Override())
        if not override.disabled:
            stats.append(Stat(name, _overridden(tags, override.tags), value, unit))
    return (AccessLogSpec(StatsLog(tuple(stats)), event=event),) if stats else ()


def _overridden(tags: Pairs, changes: Mapping[str, str]) -> Pairs:
    found = {
        **dict(tags),
        **{name: f"%CEL({without_string(value)})%" if value else "" for name, value in changes.items()},
    }
    return tuple((name, value) for name, value in found.items() if value)


def _base(traffic: Traffic, callers: Pairs) -> Pairs:
    """The labels that requests and connections have in common."""
    if traffic.side is WorkloadMode.CLIENT:
        return (
            ("reporter", "source"),
            *_own("source"),
            ("source_principal", "%UPSTREAM_LOCAL_URI_SAN%"),
            *(
                (f"destination_{label}", f"%UPSTREAM_METADATA({PEER_METADATA}:{fact})%")
                for fact, label in _LABELS.items()
            ),
            ("destination_principal", "%UPSTREAM_PEER_URI_SAN%"),
            *(_served(traffic.service) if traffic.service is not None else _called()),
            ("connection_security_policy", UNKNOWN),
        )
    return (
        ("reporter", "destination"),
        *callers,
        ("source_principal", "%DOWNSTREAM_PEER_URI_SAN%" if traffic.mutual_tls else UNKNOWN),
        *_own("destination"),
        ("destination_principal", "%DOWNSTREAM_LOCAL_URI_SAN%" if traffic.mutual_tls else UNKNOWN),
        *_served(traffic.service),
        ("connection_security_policy", "mutual_tls" if traffic.mutual_tls else "none"),
    )


def _own(side: str) -> Iterator[tuple[str, str]]:
    return ((f"{side}_{label}", f"%FILTER_STATE({OWN_STATE}.{fact}:PLAIN)%") for fact, label in _LABELS.items())


def _nobody(side: str) -> Pairs:
    return tuple((f"{side}_{label}", UNKNOWN) for label in _LABELS.values())


def _callers(traffic: Traffic) -> Pairs:
    """What callers said in the header that is believed of them."""
    return tuple((f"source_{label}", f"%DYNAMIC_METADATA({PEER_METADATA}:{fact})%") for fact, label in _LABELS.items())


def _called() -> Pairs:
    """The service of whichever upstream it was."""
    return (
        ("destination_service", f"%CEL({_SERVICES}[0].host)%"),
        ("destination_service_name", f"%CEL({_SERVICES}[0].name)%"),
        ("destination_service_namespace", f"%CEL({_SERVICES}[0].namespace)%"),
    )


def _served(service: ServiceRef | None) -> Pairs:
    """The one service that is known beforehand; a server's ports of no service are named by their upstream."""
    return (
        ("destination_service", service.host if service is not None else UNKNOWN),
        ("destination_service_name", service.name if service is not None else "InboundPassthroughCluster"),
        ("destination_service_namespace", service.namespace if service is not None else UNKNOWN),
    )
