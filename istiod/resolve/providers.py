"""Extension providers of MeshConfig as targets that proxies reach: log sinks and tracers behind upstreams.

Input: providers by name, and the services of the mesh. A provider whose service a class of proxies does not see, or
does not know the port of, cannot be used by it, as Envoy refuses what it has no upstream for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from federation.model.service import Protocol
from federation.model.sni import OutboundName
from istiod.api.meshconfig import MeshConfig, log_labels
from istiod.api.providers import (
    BUILT_IN,
    EnvoyFileAccessLog,
    EnvoyGrpcAls,
    ExtensionProvider,
    GrpcService,
    HttpHeader,
    HttpService,
    OpenTelemetry,
    ResourceDetectors,
    TraceContextOption,
    service_of,
)
from istiod.memo import memo
from istiod.resolve.scope import scope_of
from istiod.resolve.specs.telemetry import (
    DatadogTracer,
    FileLog,
    GrpcLog,
    GrpcTarget,
    HttpTarget,
    OtelLog,
    OtelTracer,
    Pairs,
    SkyWalkingTracer,
    Tracer,
    ZipkinTracer,
)
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyView

ZIPKIN_PATH = "/api/v2/spans"
EXPORT_TIMEOUT = 5.0  # of HTTP, where Envoy wants one
Upstream = tuple[str, str]  # host, name of the upstream


def known_provider(mesh: MeshConfig, name: str) -> ExtensionProvider | None:
    """A provider by name, which may be written in any case."""
    return _known(mesh).get(name.lower())


@memo()
def _known(mesh: MeshConfig) -> dict[str, ExtensionProvider]:
    return {provider.name.lower(): provider for provider in (*BUILT_IN, *mesh.extension_providers)}


def upstream_of(snapshot: Snapshot, view: ProxyView, service: str, port: int) -> Upstream | None:
    """Where a view finds `host` or `namespace/host`; None if it does not, or if several namespaces have the host."""
    namespace, _, host = service.rpartition("/")
    keys = [key for key in snapshot.hosts.get(host, ()) if namespace in ("", key.namespace)]
    if len(keys) != 1:
        return None
    found = scope_of(snapshot, view).by_host.get(host)
    said = found.port(port) if found is not None else None
    if said is None or said.protocol is Protocol.UDP:
        return None
    return host, OutboundName(port, "", host).format_cluster()


def log_of(
    snapshot: Snapshot, view: ProxyView, provider: ExtensionProvider, http: bool
) -> FileLog | OtelLog | GrpcLog | None:
    """Where a provider's logs of requests, or of connections, go; None if it has none of these here."""
    if provider.envoy_file_access_log is not None:
        return _file(snapshot.mesh, provider.name, provider.envoy_file_access_log)
    upstream = upstream_of(snapshot, view, *service_of(provider))
    if upstream is None:
        return None
    host, cluster = upstream
    target = GrpcTarget(cluster, host)
    if provider.envoy_otel_als is not None:
        said = provider.envoy_otel_als.log_format
        labels = (said.labels if said is not None else None) or {}
        return OtelLog(
            target,
            provider.envoy_otel_als.log_name or "otel_envoy_accesslog",
            (said.text if said is not None else None) or "",
            tuple((key, value if isinstance(value, str) else "") for key, value in sorted(labels.items())),
        )
    if http and provider.envoy_http_als is not None:
        return _grpc(target, provider.envoy_http_als, "http_envoy_accesslog", http)
    if not http and provider.envoy_tcp_als is not None:
        return _grpc(target, provider.envoy_tcp_als, "tcp_envoy_accesslog", http)
    return None


def mesh_log(mesh: MeshConfig) -> FileLog | None:
    """The mesh's access log to a file, if one is configured."""
    return _mesh_file(mesh, mesh.access_log_file) if mesh.access_log_file else None


def _mesh_file(mesh: MeshConfig, path: str) -> FileLog:
    if str(mesh.access_log_encoding) == "JSON":
        return FileLog(path, json=_json(log_labels(mesh)))
    return FileLog(path, format=_line(mesh.access_log_format))


def _file(mesh: MeshConfig, name: str, said: EnvoyFileAccessLog) -> FileLog:
    if said.log_format is None and not said.omit_empty_values and name == "envoy":
        return _mesh_file(mesh, said.path or "/dev/stdout")
    path, form = said.path or "/dev/stdout", said.log_format
    if form is not None and form.labels is not None:
        return FileLog(path, json=_json(form.labels), omit_empty=said.omit_empty_values)
    return FileLog(path, _line(form.text or "" if form is not None else ""), omit_empty=said.omit_empty_values)


def _line(text: str) -> str:
    return f"{text}\n" if text and not text.endswith("\n") else text


def _json(labels: object) -> str:
    return json.dumps(labels or dict(JSON_FORMAT), sort_keys=True)


def _grpc(target: GrpcTarget, said: EnvoyGrpcAls, name: str, http: bool) -> GrpcLog:
    return GrpcLog(
        target,
        said.log_name or name,
        http,
        said.filter_state_objects_to_log,
        said.additional_request_headers_to_log,
        said.additional_response_headers_to_log,
        said.additional_response_trailers_to_log,
    )


def tracer_of(snapshot: Snapshot, view: ProxyView, provider: ExtensionProvider) -> Tracer | None:
    """Where a provider's spans go; None if it takes none, or cannot be reached."""
    said = provider.zipkin or provider.opentelemetry or provider.datadog or provider.skywalking
    upstream = upstream_of(snapshot, view, said.service, said.port) if said is not None else None
    if upstream is None:
        return None
    host, cluster = upstream
    if provider.opentelemetry is not None:
        return _otel(view, provider.opentelemetry, host, cluster)
    if provider.datadog is not None:
        return DatadogTracer(cluster, host, view.service_name)
    if provider.skywalking is not None:
        return SkyWalkingTracer(GrpcTarget(cluster, host), provider.skywalking.access_token)
    assert provider.zipkin is not None
    zipkin = provider.zipkin
    return ZipkinTracer(
        HttpTarget(
            cluster,
            f"http://{host}{zipkin.path or ZIPKIN_PATH}",
            zipkin.timeout or EXPORT_TIMEOUT,
            _headers(zipkin.headers),
        ),
        long_trace_ids=not zipkin.enable64bit_trace_id,
        w3c=zipkin.trace_context_option is TraceContextOption.USE_B3_WITH_W3C_PROPAGATION,
    )


def mesh_tracer(snapshot: Snapshot, view: ProxyView) -> ZipkinTracer | None:
    """The Zipkin of `defaultConfig.tracing`, or of the older `zipkinAddress`, if it is a service of the mesh."""
    config = snapshot.mesh.default_config
    zipkin = config.tracing.zipkin if config.tracing is not None else None
    address = (zipkin.address if zipkin is not None else "") or config.zipkin_address or ""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return None
    for name in (host, f"{host}.svc.cluster.local", f"{host}.cluster.local"):
        upstream = upstream_of(snapshot, view, name, int(port))
        if upstream is not None:
            return ZipkinTracer(HttpTarget(upstream[1], f"http://{address}{ZIPKIN_PATH}", EXPORT_TIMEOUT))
    return None


def _otel(view: ProxyView, said: OpenTelemetry, host: str, cluster: str) -> OtelTracer:
    detectors = said.resource_detectors or ResourceDetectors()
    target: GrpcTarget | HttpTarget
    if said.http is not None:
        http: HttpService = said.http
        target = HttpTarget(
            cluster, f"http://{host}{http.path}", http.timeout or EXPORT_TIMEOUT, _headers(http.headers)
        )
    else:
        grpc = said.grpc or GrpcService()
        target = GrpcTarget(cluster, host, grpc.timeout, _headers(grpc.initial_metadata))
    return OtelTracer(target, view.service_name, environment=detectors.environment is not None)


def _headers(headers: Iterable[HttpHeader]) -> Pairs:
    return tuple((header.name, header.value) for header in headers if header.value is not None)


# Istio's default JSON access log.
JSON_FORMAT = tuple(
    (name, value)
    for name, value in (
        ("start_time", "%START_TIME%"),
        ("route_name", "%ROUTE_NAME%"),
        ("method", "%REQ(:METHOD)%"),
        ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
        ("protocol", "%PROTOCOL%"),
        ("response_code", "%RESPONSE_CODE%"),
        ("response_flags", "%RESPONSE_FLAGS%"),
        ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
        ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
        ("bytes_received", "%BYTES_RECEIVED%"),
        ("bytes_sent", "%BYTES_SENT%"),
        ("duration", "%DURATION%"),
        ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
        ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
        ("user_agent", "%REQ(USER-AGENT)%"),
        ("request_id", "%REQ(X-REQUEST-ID)%"),
        ("authority", "%REQ(:AUTHORITY)%"),
        ("upstream_host", "%UPSTREAM_HOST%"),
        ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
        ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
        ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
        ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
        ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
        ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    )
)
