"""Telemetry objects of several levels as one setting of each side, and what is said of providers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from federation.model.labels import Labels
from federation.model.service import Protocol, ServicePort
from federation.model.workload import Endpoint
from istiod.api.telemetry import WorkloadMode
from istiod.encode.tracing import tracing
from istiod.resolve.config import resolve_endpoints, resolve_view
from istiod.resolve.provider_findings import provider_findings
from istiod.resolve.reach import reaches
from istiod.resolve.specs.listener import HttpConnection, ListenerSpec, TcpProxy
from istiod.resolve.specs.telemetry import (
    AccessLogSpec,
    DatadogTracer,
    FileLog,
    GrpcLog,
    GrpcTarget,
    HttpTarget,
    LogEvent,
    OtelTracer,
    PeerExchange,
    SkyWalkingTracer,
    StatsLog,
    TagKind,
    TracingSpec,
    ZipkinTracer,
)
from istiod.resolve.telemetry import Told, exchanges, told
from istiod.snapshot import Snapshot
from istiod.view.proxy import ProxyType, ProxyView
from tests.istiod.resolve.conftest import HTTP, TCP, mesh_services, service, target

CLIENT, SERVER = WorkloadMode.CLIENT, WorkloadMode.SERVER
COLLECTOR = service(
    "collector", "obs", (ServicePort(4317, "grpc", Protocol.GRPC, 4317), ServicePort(9411, "http", Protocol.HTTP, 9411))
)
PROVIDERS = [
    {"name": "one", "envoyFileAccessLog": {"path": "/one"}},
    {"name": "two", "envoyFileAccessLog": {"path": "/two"}},
    {"name": "als", "envoyHttpAls": {"service": COLLECTOR.host, "port": 4317}},
    {"name": "zipkin", "zipkin": {"service": COLLECTOR.host, "port": 9411}},
    {"name": "otel", "opentelemetry": {"service": f"obs/{COLLECTOR.host}", "port": 4317, "maxTagLength": 7}},
    {"name": "datadog", "datadog": {"service": COLLECTOR.host, "port": 9411, "maxTagLength": 5}},
    {"name": "skywalking", "skywalking": {"service": COLLECTOR.host, "port": 4317, "accessToken": "t"}},
    {"name": "lost", "zipkin": {"service": "nowhere.obs", "port": 9411}},
]
ROOT, HERE = "istio-system", "apps"
Make = Callable[..., Told]


def telemetry(spec: str, namespace: str = ROOT, name: str = "t", created: str = "") -> str:
    head = f"apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: {name}, namespace: {namespace}"
    return f'{head}, creationTimestamp: "{created}"}}\nspec: {spec}'


@pytest.fixture
def world(snapshot: Callable[..., Snapshot]) -> Callable[..., Snapshot]:
    def make(*objects: str, **mesh: Any) -> Snapshot:
        mesh.setdefault("extensionProviders", PROVIDERS)
        return snapshot("\n---\n".join(objects), services=[*mesh_services(), COLLECTOR], **mesh)

    return make


@pytest.fixture
def side(world: Callable[..., Snapshot], view: Callable[..., ProxyView]) -> Make:
    """What one side of a workload of service a tells."""

    def make(*objects: str, side: WorkloadMode = CLIENT, **mesh: Any) -> Told:
        return told(world(*objects, **mesh), view(), side)

    return make


def paths(found: Told) -> list[str]:
    return [log.sink.path for log in found.http_logs if isinstance(log.sink, FileLog)]


FILE = {"accessLogFile": "/mesh"}


def test_the_mesh_logs_where_nobody_else_speaks(side: Make) -> None:
    assert paths(side()) == []
    assert paths(side(**FILE)) == ["/mesh"]
    assert paths(side(telemetry("{tracing: [{}], metrics: [{}]}"), **FILE)) == ["/mesh"]
    assert paths(side(telemetry("{accessLogging: [{providers: [{name: nobody}]}]}"), **FILE)) == ["/mesh"]
    assert paths(side(defaultProviders={"accessLogging": ["two"]}, **FILE)) == ["/two"]
    assert paths(side(telemetry("{accessLogging: [{providers: [{name: ONE}]}]}"), **FILE)) == ["/one"]


def test_the_built_in_log_has_the_form_of_the_mesh(side: Make) -> None:
    (log,) = side(telemetry("{accessLogging: [{providers: [{name: envoy}]}]}"), accessLogFormat="%PROTOCOL%").http_logs
    assert log.sink == FileLog("/dev/stdout", "%PROTOCOL%\n")
    (log,) = side(accessLogEncoding="JSON", accessLogFormat='{"b": "%PROTOCOL%", "a": {"c": 1}}', **FILE).http_logs
    assert log.sink == FileLog("/mesh", json='{"a": {"c": 1}, "b": "%PROTOCOL%"}')


ONE, TWO = "{accessLogging: [{providers: [{name: one}]}]}", "{accessLogging: [{providers: [{name: two}]}]}"
OFF = "{accessLogging: [{disabled: true}]}"
OF_A = "selector: {matchLabels: {app: a}}"


@pytest.mark.parametrize(
    ("objects", "client", "server"),
    [
        ((telemetry(ONE),), ["/one"], ["/one"]),
        ((telemetry(ONE), telemetry(TWO, HERE)), ["/two"], ["/two"]),
        ((telemetry(ONE), telemetry(TWO, "other")), ["/one"], ["/one"]),
        ((telemetry(ONE), telemetry(OFF, HERE)), [], []),
        ((telemetry(ONE), telemetry(TWO, HERE), telemetry(f"{{{OF_A}, {OFF[1:]}", HERE, "w")), [], []),
        ((telemetry(ONE), telemetry(f"{{{OF_A.replace('a}}', 'b}}')}, {OFF[1:]}", HERE)), ["/one"], ["/one"]),
        ((telemetry(ONE), telemetry(f"{{{OF_A}, {TWO[1:]}", ROOT, "w")), ["/one"], ["/one"]),
        ((telemetry("{accessLogging: [{match: {mode: CLIENT}, providers: [{name: one}]}]}"),), ["/one"], []),
        (
            (telemetry("{accessLogging: [{providers: [{name: one}]}, {match: {mode: SERVER}, disabled: true}]}"),),
            ["/one"],
            [],
        ),
        ((telemetry(TWO, created="2024-01-01T00:00:00Z"), telemetry(ONE, name="a", created="2023-01-01T00:00:00Z")),
         ["/one"], ["/one"]),
    ],
)  # fmt: skip
def test_later_levels_replace_the_logs(
    side: Make, objects: tuple[str, ...], client: list[str], server: list[str]
) -> None:
    assert (paths(side(*objects)), paths(side(*objects, side=SERVER))) == (client, server)


def test_logs_of_requests_and_of_connections(side: Make) -> None:
    spec = "{accessLogging: [{providers: [{name: als}, {name: one}], filter: {expression: 'response.code > 1'}}]}"
    found = side(telemetry(spec))
    target_of = GrpcTarget(f"outbound|4317||{COLLECTOR.host}", COLLECTOR.host)
    assert found.http_logs == (
        AccessLogSpec(GrpcLog(target_of, "http_envoy_accesslog", http=True), "response.code > 1"),
        AccessLogSpec(FileLog("/one"), "response.code > 1"),
    )
    assert found.tcp_logs == (AccessLogSpec(FileLog("/one"), "response.code > 1"),)


def test_each_field_of_traces_has_its_last_word(side: Make) -> None:
    root = """{tracing: [{providers: [{name: zipkin}], randomSamplingPercentage: 10, enableIstioTags: false,
        customTags: {a: {literal: {value: root}}}}]}"""
    here = "{tracing: [{randomSamplingPercentage: 0}, {match: {mode: SERVER}, customTags: {b: {header: {name: h}}}}]}"
    client, server = (side(telemetry(root), telemetry(here, HERE), side=mode).tracing for mode in (CLIENT, SERVER))
    assert client is not None
    assert server is not None
    url = f"http://{COLLECTOR.host}/api/v2/spans"
    assert client.tracer == ZipkinTracer(HttpTarget(f"outbound|9411||{COLLECTOR.host}", url, 5.0))
    assert (client.sampling, client.by_request_id) == (0, True)
    assert [(tag.name, tag.kind, tag.value) for tag in client.tags] == [("a", TagKind.LITERAL, "root")]
    assert [(tag.name, tag.kind, tag.value) for tag in server.tags] == [("b", TagKind.HEADER, "h")]


def test_the_mesh_has_defaults_for_traces(side: Make, view: Callable[..., ProxyView], world: Any) -> None:
    proxies = {"tracing": {"sampling": 5, "maxPathTagLength": 9, "customTags": {"a": {"literal": {"value": "x"}}}}}
    found = side(defaultProviders={"tracing": ["zipkin"]}, defaultConfig=proxies).tracing
    assert found is not None
    assert (found.sampling, found.max_path_length) == (5, 9)
    assert "a" in {tag.name for tag in found.tags}
    assert "istio.mesh_id" in {tag.name for tag in found.tags}
    otel = told(world(defaultProviders={"tracing": ["otel"]}), view(service_name="a.apps"), CLIENT).tracing
    assert otel is not None
    assert isinstance(otel.tracer, OtelTracer)
    assert (otel.tracer.service_name, otel.sampling, otel.max_path_length) == ("a.apps", 1.0, 7)


def test_tracers_of_datadog_and_skywalking(world: Any, view: Callable[..., ProxyView]) -> None:
    def found(name: str) -> TracingSpec | None:
        return told(world(defaultProviders={"tracing": [name]}), view(service_name="a.apps"), CLIENT).tracing

    datadog, skywalking = found("datadog"), found("skywalking")
    assert datadog is not None
    assert datadog.tracer == DatadogTracer(f"outbound|9411||{COLLECTOR.host}", COLLECTOR.host, "a.apps")
    assert (datadog.max_path_length, datadog.upstream_span) == (5, False)
    assert skywalking is not None
    target = GrpcTarget(f"outbound|4317||{COLLECTOR.host}", COLLECTOR.host)
    assert skywalking.tracer == SkyWalkingTracer(target, "t")
    assert skywalking.upstream_span


def test_routers_have_a_span_for_what_they_send_on(world: Any, view: Callable[..., ProxyView]) -> None:
    snapshot = world(defaultProviders={"tracing": ["zipkin"]})
    kinds = (ProxyType.SIDECAR, ProxyType.ROUTER)
    sidecar, router = (told(snapshot, view(type=kind), CLIENT).tracing for kind in kinds)
    assert sidecar is not None
    assert router is not None
    assert (sidecar.upstream_span, router.upstream_span) == (False, True)


def test_traces_that_are_not_passed_on(side: Make) -> None:
    here = telemetry("{tracing: [{providers: [{name: zipkin}], disableContextPropagation: true}]}")
    said = side(here).tracing
    assert said is not None
    assert not said.propagates
    assert tracing(said).SerializeToString().endswith(b"\x68\x01")


@pytest.mark.parametrize(
    "spec",
    [
        "{tracing: [{}]}",
        "{tracing: [{providers: [{name: nobody}]}]}",
        "{tracing: [{providers: [{name: one}]}]}",
        "{tracing: [{providers: [{name: lost}]}]}",
        "{tracing: [{providers: [{name: zipkin}], disableSpanReporting: true}]}",
        "{tracing: [{match: {mode: SERVER}, providers: [{name: zipkin}]}]}",
    ],
)
def test_no_traces_without_a_provider_that_takes_them(side: Make, spec: str) -> None:
    assert side(telemetry(spec), enableTracing=True).tracing is None


def test_the_proxies_own_zipkin(side: Make) -> None:
    zipkin = {"zipkin": {"address": "collector.obs:9411"}}
    assert side(defaultConfig={"tracing": zipkin}).tracing is None
    found = side(enableTracing=True, defaultConfig={"tracing": zipkin}).tracing
    assert found is not None
    assert found.by_request_id is None
    assert isinstance(found.tracer, ZipkinTracer)
    assert found.tracer.target.cluster == f"outbound|9411||{COLLECTOR.host}"
    assert side(enableTracing=True, defaultConfig={"tracing": {"zipkin": {"address": "x.y:1"}}}).tracing is None


PROMETHEUS = "{metrics: [{providers: [{name: prometheus}]}]}"
DEFAULT = {"defaultProviders": {"metrics": ["prometheus"]}}


def test_metrics_want_a_provider(side: Make) -> None:
    assert side().metrics is None
    assert side(telemetry("{metrics: [{}]}")).metrics is None
    assert side(**DEFAULT).metrics == {}
    assert side(telemetry(PROMETHEUS)).metrics == {}
    assert side(telemetry("{metrics: [{providers: [{name: one}]}]}"), **DEFAULT).metrics is None


def test_overrides_of_metrics_add_up(side: Make) -> None:
    root = """{metrics: [{overrides: [
        {match: {metric: REQUEST_COUNT}, tagOverrides: {a: {value: request.path}, b: {value: request.host}}},
        {match: {metric: REQUEST_SIZE}, disabled: true}]}]}"""
    here = """{metrics: [{overrides: [
        {match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {b: {operation: REMOVE}}},
        {match: {customMetric: istio_request_bytes, mode: SERVER}, disabled: false}]}]}"""
    client, server = (
        side(telemetry(root), telemetry(here, HERE), side=mode, **DEFAULT).metrics for mode in (CLIENT, SERVER)
    )
    assert client is not None
    assert server is not None
    assert client["requests_total"].tags == {"a": "request.path", "b": ""}
    assert server["requests_total"].tags == {"a": "request.path", "b": "request.host"}
    assert (client["request_bytes"].disabled, server["request_bytes"].disabled) == (True, False)


def test_all_metrics_are_switched_off_and_on_again(side: Make) -> None:
    off = telemetry("{metrics: [{overrides: [{match: {mode: SERVER}, disabled: true}]}]}")
    assert side(off, side=SERVER, **DEFAULT).metrics is None
    assert side(off, side=CLIENT, **DEFAULT).metrics == {}
    on = telemetry("{metrics: [{overrides: [{disabled: false}]}]}", HERE)
    found = side(off, on, side=SERVER, **DEFAULT).metrics
    assert found is not None
    assert not any(override.disabled for override in found.values())


def chains(listener: ListenerSpec) -> list[HttpConnection | TcpProxy]:
    return [chain.handler for chain in listener.chains]


def test_metrics_in_listeners(world: Any, view: Callable[..., ProxyView]) -> None:
    config = resolve_view(world(**DEFAULT), view(targets=(target(HTTP), target(TCP))))
    listeners = {listener.name: listener for listener in config.listeners}
    http = next(handler for handler in chains(listeners["0.0.0.0_80"]) if isinstance(handler, HttpConnection))
    assert http.peers is PeerExchange.SEND
    (log,) = http.access_logs
    assert isinstance(log.sink, StatsLog)
    assert [stat.name for stat in log.sink.stats] == [
        "requests_total", "request_duration_milliseconds", "request_bytes", "response_bytes",
    ]  # fmt: skip
    inbound = listeners["virtualInbound"].chains
    assert not getattr(inbound[0].handler, "access_logs", ())  # the loop guard
    for chain in inbound[1:]:
        if isinstance(chain.handler, HttpConnection):
            assert chain.handler.peers is (PeerExchange.BELIEVE if chain.tls else PeerExchange.STRIP)
            tags = dict(chain.handler.access_logs[0].sink.stats[0].tags)  # type: ignore[union-attr]
            assert tags["connection_security_policy"] == ("mutual_tls" if chain.tls else "none")
            if chain.name == "0.0.0.0_8080":
                assert tags["destination_service"] == "a.apps.svc.cluster.local"
        else:
            assert [log.event for log in chain.handler.access_logs] == [LogEvent.CONNECTED, LogEvent.ENDED]
            assert chain.handler.after_handshake is (chain.tls is not None)


def test_a_side_without_metrics_takes_the_header_away_all_the_same(world: Any, view: Callable[..., ProxyView]) -> None:
    off = telemetry("{metrics: [{overrides: [{disabled: true}]}]}", HERE)
    config = resolve_view(world(off, **DEFAULT), view(targets=(target(HTTP),)))
    inbound = next(listener for listener in config.listeners if listener.name == "virtualInbound")
    found = {handler.peers for handler in chains(inbound) if isinstance(handler, HttpConnection)}
    assert found == {PeerExchange.STRIP}


def test_logs_of_listeners_are_of_connections_without_a_chain(world: Any, view: Callable[..., ProxyView]) -> None:
    config = resolve_view(world(**FILE), view(targets=(target(HTTP),)))
    logged = {listener.name: listener.access_logs for listener in config.listeners if listener.access_logs}
    assert set(logged) == {"virtualInbound", "virtualOutbound"}
    assert all(log.only_no_route for logs in logged.values() for log in logs)
    config = resolve_view(world(disableEnvoyListenerLog=True, **FILE), view())
    assert not any(listener.access_logs for listener in config.listeners)


def test_routers_are_clients(side: Make, world: Any, view: Callable[..., ProxyView]) -> None:
    gateway = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: apps}
spec: {selector: {app: a}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}"""
    only = telemetry("{accessLogging: [{match: {mode: CLIENT}, providers: [{name: one}]}]}")
    config = resolve_view(world(gateway, only), view(type=ProxyType.ROUTER))
    (listener,) = config.listeners
    assert [log.sink for handler in chains(listener) for log in handler.access_logs] == [FileLog("/one")]


def test_metrics_anywhere_concern_everybody(world: Any, view: Callable[..., ProxyView]) -> None:
    elsewhere = telemetry(PROMETHEUS, "other")
    without, with_metrics = world(), world(elsewhere)
    assert (exchanges(without), exchanges(with_metrics)) == (False, True)
    changed = {"Telemetry": list(with_metrics.tables["Telemetry"])}
    assert reaches(without, with_metrics, view(), changed)
    logs = world(telemetry(ONE, "other"))
    assert not reaches(without, logs, view(), {"Telemetry": list(logs.tables["Telemetry"])})


def test_outbound_listeners_follow_telemetry(world: Any, view: Callable[..., ProxyView]) -> None:
    """Of two snapshots that differ in nothing else."""
    first = world(telemetry(ONE))
    for now, expected in ((first, "/one"), (replace(first, tables=world(telemetry(TWO)).tables), "/two")):
        config = resolve_view(now, view())
        logs = [log for listener in config.listeners for handler in chains(listener) for log in handler.access_logs]
        assert {log.sink for log in logs} == {FileLog(expected)}


def test_hosts_say_who_they_are_where_metrics_are_in_force(world: Any, view: Callable[..., ProxyView]) -> None:
    labels = Labels({"app": "b", "version": "v1"})
    host = Endpoint("10.0.0.2", (("http", 8080),), labels, cluster="c1", namespace="apps", workload="b-1")
    key = mesh_services()[1].key
    for mesh, facts in (({}, ()), (DEFAULT, ("b-1", "apps", "b", "v1", "c1", "b", "v1"))):
        now = replace(world(**mesh), endpoints={key: (host,)})
        (endpoints,) = (
            found for found in resolve_endpoints(now, view(), key) if found.name == f"outbound|80||{key.host}"
        )
        assert [spec.facts for group in endpoints.localities for spec in group.endpoints] == [facts]


def test_what_is_said_of_providers(world: Any) -> None:
    spec = """{tracing: [{providers: [{name: one}]}], metrics: [{providers: [{name: prometheus}], overrides: [
        {match: {customMetric: mine}, disabled: true}, {match: {metric: GRPC_REQUEST_MESSAGES}, disabled: true}]}]}"""
    more = [
        {"name": "port", "envoyOtelAls": {"service": COLLECTOR.host, "port": 1}},
        {"name": "grpc", "envoyTcpAls": {"service": f"apps/{COLLECTOR.host}", "port": 4317}},
    ]
    found = provider_findings(
        world(telemetry(spec), extensionProviders=PROVIDERS[:2] + more, defaultProviders={"metrics": ["nobody"]})
    )
    assert [(item.code, item.path, item.message) for item in found] == [
        ("ProviderNotFound", "defaultProviders.metrics[0]", "'nobody' is none of extensionProviders"),
        ("ProviderNotReachable", "extensionProviders[2].envoyOtelAls.port", f"{COLLECTOR.host!r} has no port 1"),
        ("ProviderNotReachable", "extensionProviders[3].envoyTcpAls.service",
         f"'apps/{COLLECTOR.host}' is no service of the mesh"),
        ("ProviderOfAnotherKind", "spec.tracing[0].providers[0].name", "'one' is a provider of another kind"),
        ("FieldNotSupported", "spec.metrics[0].overrides[0].match.customMetric", "no metric is called 'mine'"),
        ("FieldNotSupported", "spec.metrics[0].overrides[1].match.metric",
         "GRPC_REQUEST_MESSAGES is not counted by stock Envoy"),
    ]  # fmt: skip
