"""What each side of a class of proxies logs, traces and counts, by Telemetry and MeshConfig, put into its listeners.

Pure. Rules: Istio's Telemetry reference; objects of the root namespace, then of the workload's namespace, then those
that select the workload, each oldest first. Logs: the last object that names providers decides which there are. Traces:
each field's last word. Metrics: overrides add up. Routers are clients. Where no Telemetry and no default provider
speaks, MeshConfig's `accessLogFile` and `enableTracing` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from federation.model.labels import Labels
from istiod.api.meshconfig import MeshConfig
from istiod.api.providers import ExtensionProvider, kind_of
from istiod.api.proxytracing import ProxyTracing
from istiod.api.telemetry import CustomTag, Metric, MetricSelector, ModeSelector, ProviderRef, Telemetry, WorkloadMode
from istiod.memo import memo
from istiod.resolve.attachment import policies_for
from istiod.resolve.metrics import NAMES, Override, Traffic, http_metrics, tcp_metrics
from istiod.resolve.objects import Table, table_of
from istiod.resolve.providers import known_provider, log_of, mesh_log, mesh_tracer, tracer_of
from istiod.resolve.specs.cluster import ServiceRef
from istiod.resolve.specs.listener import Direction, FilterChainSpec, HttpConnection, ListenerSpec
from istiod.resolve.specs.telemetry import (
    AccessLogSpec,
    LogEvent,
    PeerExchange,
    SkyWalkingTracer,
    SpanTag,
    TagKind,
    TracingSpec,
)
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView

T = TypeVar("T")
ServiceOf = Callable[[str], ServiceRef | None]
CLIENT, SERVER = WorkloadMode.CLIENT, WorkloadMode.SERVER
SAMPLING = 1.0  # percent of requests, where nobody says another share


@dataclass(frozen=True, slots=True)
class Told:
    """What one side tells. `metrics` None = none; else overrides by metric name. `peers`: whether the mesh's workloads
    tell each other who they are.
    """

    http_logs: tuple[AccessLogSpec, ...]
    tcp_logs: tuple[AccessLogSpec, ...]
    tracing: TracingSpec | None
    metrics: Mapping[str, Override] | None
    peers: bool


def told(snapshot: Snapshot, view: ProxyView, side: WorkloadMode) -> Told:
    """What one side of this class of proxies tells."""
    table = table_of(snapshot, "Telemetry")
    known = _known(snapshot.mesh, table, snapshot.services)
    key = (view.type, view.namespace, view.labels, view.service_name, side)
    found = known.get(key)
    if found is None:
        found = known[key] = _told(snapshot, view, side)
    return found


@memo(size=2)
def _known(*_inputs: object) -> dict[tuple[str, str, Labels, str, WorkloadMode], Told]:
    return {}


def _told(snapshot: Snapshot, view: ProxyView, side: WorkloadMode) -> Told:
    policies = applicable(snapshot, view)
    chosen = _logs(policies, snapshot.mesh, side)
    peers = exchanges(snapshot)
    metrics = _metrics(policies, snapshot.mesh, side)
    return Told(
        _sinks(snapshot, view, chosen, http=True),
        _sinks(snapshot, view, chosen, http=False),
        _tracing(snapshot, view, policies, side),
        metrics,
        peers,
    )


def applicable(snapshot: Snapshot, view: ProxyView) -> tuple[Telemetry, ...]:
    """The Telemetries for a view, later ones stronger: one for the mesh, one for the namespace, then by selection."""
    root = snapshot.mesh.root_namespace
    whole: dict[str, Telemetry] = {}
    selecting = []
    for item in policies_for(snapshot, "Telemetry", Telemetry, view):
        spec = item.spec
        selects = (spec.selector is not None and spec.selector.all_labels) or spec.target_ref or spec.target_refs
        if not selects:
            whole.setdefault(item.meta.namespace, spec)
        elif item.meta.namespace == view.namespace:
            selecting.append(spec)
    namespaces = (root, view.namespace) if view.namespace != root else (root,)
    return (*(whole[namespace] for namespace in namespaces if namespace in whole), *selecting)


def exchanges(snapshot: Snapshot) -> bool:
    """Whether metrics may be in force anywhere, so that workloads have to tell each other who they are."""
    return _exchanges(snapshot.mesh, table_of(snapshot, "Telemetry"))


@memo()
def _exchanges(mesh: MeshConfig, table: Table) -> bool:
    names = [*mesh.default_providers.metrics]
    for item in table.values():
        names += [ref.name for metrics in item.spec.metrics for ref in metrics.providers]
    return any(_counts(mesh, name) for name in names)


def _counts(mesh: MeshConfig, name: str) -> bool:
    provider = known_provider(mesh, name)
    return provider is not None and provider.prometheus is not None


# -- logs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Log:
    disabled: bool = False
    expression: str = ""


def _logs(policies: Iterable[Telemetry], mesh: MeshConfig, side: WorkloadMode) -> dict[str, _Log] | None:
    """Providers by name; None if nobody says anything, which is not the same as none."""
    levels = [policy.access_logging for policy in policies if policy.access_logging]
    default = mesh.default_providers.access_logging
    if not levels:
        return dict.fromkeys(default, _Log()) if default else None
    in_scope, filters = list(default), dict[str, str]()
    for level in levels:
        names: list[str] = []
        for said in level:
            if _is_for(said.match, side):
                names += _names(said.providers)
                expression = said.filter.expression if said.filter is not None else ""
                filters.update(dict.fromkeys(_names(said.providers), expression))
        in_scope = names or in_scope
    found: dict[str, _Log] = {}
    inherited: Iterable[str] = default
    for said in (said for level in levels for said in level):
        inherited = _names(said.providers) or inherited
        if not _is_for(said.match, side):
            continue
        for name in inherited:
            if name in in_scope:
                found[name] = _Log(disabled=True) if said.disabled else _Log(expression=filters.get(name, ""))
    return found or None


def _sinks(
    snapshot: Snapshot, view: ProxyView, chosen: Mapping[str, _Log] | None, http: bool
) -> tuple[AccessLogSpec, ...]:
    """The logs of requests or of connections. A provider that cannot be used counts as if nobody had named it."""
    found: list[AccessLogSpec] = []
    usable = False
    for name, said in sorted(chosen.items()) if chosen is not None else ():
        provider = known_provider(snapshot.mesh, name)
        if provider is None or kind_of(provider) not in _LOGS:
            continue
        usable = True
        sink = log_of(snapshot, view, provider, http)
        if sink is not None and not said.disabled:
            found.append(AccessLogSpec(sink, said.expression))
    if usable:
        return tuple(found)
    fallback = mesh_log(snapshot.mesh)
    return (AccessLogSpec(fallback),) if fallback is not None else ()


_LOGS = frozenset({"envoy_file_access_log", "envoy_otel_als", "envoy_http_als", "envoy_tcp_als"})


# -- traces --------------------------------------------------------------------------------------------------------


def _tracing(
    snapshot: Snapshot, view: ProxyView, policies: Iterable[Telemetry], side: WorkloadMode
) -> TracingSpec | None:
    mesh = snapshot.mesh
    proxies = mesh.default_config.tracing or ProxyTracing()
    said = [tracing for policy in policies for tracing in policy.tracing]
    default = mesh.default_providers.tracing
    if not said and not default:
        return _mesh_tracing(snapshot, view, proxies)
    said = [tracing for tracing in said if _is_for(tracing.match, side)]
    name = next((tracing.providers[0].name for tracing in reversed(said) if tracing.providers), (*default, "")[0])
    provider = known_provider(mesh, name)
    if _last(tracing.disable_span_reporting for tracing in said) or provider is None:
        return None
    tracer = tracer_of(snapshot, view, provider)
    if tracer is None:
        return None
    sampling = _last(tracing.random_sampling_percentage for tracing in said)
    by_request_id = _last(tracing.use_request_id_for_trace_sampling for tracing in said)
    istio_tags = _last(tracing.enable_istio_tags for tracing in said)
    return TracingSpec(
        tracer,
        sampling if sampling is not None else proxies.sampling or SAMPLING,
        _tags(_last(tracing.custom_tags for tracing in said) or proxies.custom_tags, istio_tags is not False),
        _longest_path(provider) or proxies.max_path_tag_length,
        by_request_id is not False,
        upstream_span=view.type is ProxyType.ROUTER or isinstance(tracer, SkyWalkingTracer),
        propagates=not _last(tracing.disable_context_propagation for tracing in said),
    )


def _mesh_tracing(snapshot: Snapshot, view: ProxyView, proxies: ProxyTracing) -> TracingSpec | None:
    """Spans by `enableTracing` and the proxies' defaults alone."""
    if not snapshot.mesh.enable_tracing:
        return None
    tracer = mesh_tracer(snapshot, view)
    if tracer is None:
        return None
    tags = _tags(proxies.custom_tags, proxies.enable_istio_tags is not False)
    return TracingSpec(tracer, proxies.sampling or SAMPLING, tags, proxies.max_path_tag_length)


def _longest_path(provider: ExtensionProvider) -> int:
    said = provider.zipkin or provider.opentelemetry or provider.datadog
    return (said.max_tag_length if said is not None else 0) or 0


_LABELS = "xds.node.metadata.LABELS"
_NODE = "xds.node.metadata"


def _own(key: str, where: str, absent: str) -> str:
    return f"%CEL('{key}' in {where} ? {where}['{key}'] : '{absent}')%"


ISTIO_TAGS = (
    SpanTag("istio.canonical_revision", TagKind.FORMAT, _own("service.istio.io/canonical-revision", _LABELS, "latest")),
    SpanTag("istio.canonical_service", TagKind.FORMAT, _own("service.istio.io/canonical-name", _LABELS, "unknown")),
    SpanTag("istio.cluster_id", TagKind.FORMAT, _own("CLUSTER_ID", _NODE, "unknown")),
    SpanTag("istio.mesh_id", TagKind.FORMAT, _own("MESH_ID", _NODE, "unknown")),
    SpanTag("istio.namespace", TagKind.FORMAT, _own("NAMESPACE", _NODE, "default")),
)


def _tags(custom: Mapping[str, CustomTag], istio: bool) -> tuple[SpanTag, ...]:
    tags = {tag.name: tag for tag in ISTIO_TAGS if istio}
    for name, tag in custom.items():
        if tag.literal is not None:
            tags[name] = SpanTag(name, TagKind.LITERAL, tag.literal.value)
        elif tag.formatter is not None:
            tags[name] = SpanTag(name, TagKind.FORMAT, tag.formatter.value)
        elif tag.environment is not None:
            tags[name] = SpanTag(name, TagKind.ENVIRONMENT, tag.environment.name, tag.environment.default_value)
        elif tag.header is not None:
            tags[name] = SpanTag(name, TagKind.HEADER, tag.header.name, tag.header.default_value)
    return tuple(tag for _, tag in sorted(tags.items()))


# -- metrics -------------------------------------------------------------------------------------------------------


def _metrics(policies: Iterable[Telemetry], mesh: MeshConfig, side: WorkloadMode) -> dict[str, Override] | None:
    """Overrides by metric name, if a provider of Istio's metrics is in force and not all of them are disabled."""
    levels = [metrics for policy in policies for metrics in policy.metrics]
    default = mesh.default_providers.metrics
    in_scope = next((_names(metrics.providers) for metrics in reversed(levels) if metrics.providers), default)
    if not any(_counts(mesh, name) for name in in_scope):
        return None
    found: dict[str, Override] = {}
    inherited: Iterable[str] = default
    nothing = False
    for metrics in levels:
        inherited = _names(metrics.providers) or inherited
        if not any(name in in_scope and _counts(mesh, name) for name in inherited):
            continue
        for said in metrics.overrides:
            match = said.match or MetricSelector()
            if match.mode not in (side, WorkloadMode.CLIENT_AND_SERVER):
                continue
            if match.custom_metric is None and match.metric in (None, Metric.ALL_METRICS) and said.disabled:
                nothing = True
                continue
            nothing = False
            for name in _matched(match):
                override = found.setdefault(name, Override())
                override.disabled = override.disabled if said.disabled is None else said.disabled
                override.tags.update({tag: change.value for tag, change in said.tag_overrides.items()})
    return None if nothing else found


def _matched(match: MetricSelector) -> tuple[str, ...]:
    if match.custom_metric is not None:
        return (match.custom_metric.removeprefix("istio_"),)
    if match.metric is None or match.metric is Metric.ALL_METRICS:
        return tuple(NAMES.values())
    return (NAMES[match.metric],) if match.metric in NAMES else ()


def _names(refs: Iterable[ProviderRef]) -> list[str]:
    return [ref.name for ref in refs]


def _is_for(match: ModeSelector | None, side: WorkloadMode) -> bool:
    return match is None or match.mode in (side, WorkloadMode.CLIENT_AND_SERVER)


def _last(values: Iterable[T | None]) -> T | None:
    """The last word that was said."""
    return next((value for value in reversed(tuple(values)) if value is not None), None)


# -- into listeners ------------------------------------------------------------------------------------------------


def with_telemetry(
    snapshot: Snapshot,
    view: ProxyView,
    listeners: Iterable[ListenerSpec],
    service: ServiceOf,
) -> tuple[ListenerSpec, ...]:
    """Listeners that tell what they have to. `service` knows what is behind an upstream, by its name."""
    return tuple(_listener(snapshot, view, listener, service) for listener in listeners)


def _listener(snapshot: Snapshot, view: ProxyView, listener: ListenerSpec, service: ServiceOf) -> ListenerSpec:
    side = SERVER if listener.direction is Direction.INBOUND else CLIENT
    said = told(snapshot, view, side)
    rest = listener.default_chain
    return replace(
        listener,
        chains=tuple(_chain(chain, said, side, service) for chain in listener.chains),
        default_chain=_chain(rest, said, side, service) if rest is not None else None,
        access_logs=tuple(replace(log, only_no_route=True) for log in said.tcp_logs)
        if listener.bind_to_port and not snapshot.mesh.disable_envoy_listener_log
        else (),
    )


def _chain(chain: FilterChainSpec, said: Told, side: WorkloadMode, service: ServiceOf) -> FilterChainSpec:
    handler = chain.handler
    if chain.name.endswith("-blackhole"):  # the guard of a capture port tells nothing, as in Istio
        return chain
    mutual = chain.tls is not None and chain.tls.require_client_certificate
    traffic = Traffic(side, mutual, _only(chain, service))
    if isinstance(handler, HttpConnection):
        metrics = http_metrics(traffic, said.metrics) if said.metrics is not None else ()
        logs = (*said.http_logs, *metrics)
        return replace(
            chain, handler=replace(handler, access_logs=logs, tracing=said.tracing, peers=_peers(said, traffic))
        )
    metrics = tcp_metrics(traffic, said.metrics) if said.metrics is not None else ()
    only_ended = any(log.event is LogEvent.CONNECTED for log in metrics)
    plain = tuple(replace(log, event=LogEvent.ENDED) if only_ended else log for log in said.tcp_logs)
    # Who called is known when the handshake is done; an upstream that is dialled before it would be counted without.
    logged = replace(handler, access_logs=(*plain, *metrics), after_handshake=mutual and bool(metrics))
    return replace(chain, handler=logged)


def _only(chain: FilterChainSpec, service: ServiceOf) -> ServiceRef | None:
    """The service that all of a chain's traffic is for, if there is just one."""
    handler = chain.handler
    if isinstance(handler, HttpConnection):
        return service(handler.routes.name) if not isinstance(handler.routes, str) else None
    return service(handler.clusters[0][0]) if len(handler.clusters) == 1 and not chain.sni_cluster else None


def _peers(said: Told, traffic: Traffic) -> PeerExchange:
    if not said.peers:
        return PeerExchange.NONE
    if traffic.side is CLIENT:
        return PeerExchange.SEND
    return PeerExchange.BELIEVE if traffic.mutual_tls and said.metrics is not None else PeerExchange.STRIP
