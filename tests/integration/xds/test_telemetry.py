"""Logs, traces and metrics of a call from sidecar to sidecar, as real Envoys give them to real collectors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import yaml
from aiohttp import web
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage, StreamAccessLogsResponse
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families

from federation.lab.ports import free_ports
from federation.pki.issue import make_root, pem_of, sign_workload
from federation.pki.keys import encode_key, generate_key
from tests.deploy.relabel import relabelled
from tests.integration.xds.conftest import Envoy, plaintext_sidecar

HEADER = "x-isthmus-workload"
START = 30.0  # seconds, of two proxies on whatever machine
WITHIN = 30.0  # collectors get what is flushed in a second or two, histograms in five; a machine may be busy

MESH = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: web, namespace: apps}}
spec:
  hosts: [web.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: {http}, name: http, protocol: HTTP}}, {{number: {tcp}, name: tcp, protocol: TCP}}]
  endpoints:
  - address: 127.0.0.1
    ports: {{http: {http_in}, tcp: {tcp_in}}}
    labels: {{app: web, version: v2, security.istio.io/tlsMode: istio}}
    serviceAccount: web
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside, namespace: apps}}
spec:
  hosts: [outside.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: {http}, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {app}}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: collector, namespace: obs}}
spec:
  hosts: [collector.obs]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {{number: 4317, name: grpc, protocol: GRPC}}
  - {{number: 9411, name: http, protocol: HTTP}}
  endpoints: [{{address: 127.0.0.1, ports: {{grpc: {grpc}, http: {zipkin}}}}}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: client, namespace: apps}}
spec:
  workloadSelector: {{labels: {{app: client}}}}
  egress:
  - {{port: {{number: {http}, protocol: HTTP, name: http}}, bind: 127.0.0.1, captureMode: NONE, hosts: ["apps/*"]}}
  - {{port: {{number: {tcp}, protocol: TCP, name: tcp}}, bind: 127.0.0.1, captureMode: NONE, hosts: ["apps/web.test"]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web, namespace: apps}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  ingress:
  - {{port: {{number: {http_in}, protocol: HTTP, name: http}}, bind: 127.0.0.1, captureMode: NONE,
     defaultEndpoint: "127.0.0.1:{app}"}}
  - {{port: {{number: {tcp_in}, protocol: TCP, name: tcp}}, bind: 127.0.0.1, captureMode: NONE,
     defaultEndpoint: "127.0.0.1:{app}"}}
  egress: [{{hosts: ["./*"]}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: istio-system}}
spec: {{mtls: {{mode: {mode}}}}}
"""
SETTINGS = """
extensionProviders:
- {name: otel, opentelemetry: {service: collector.obs, port: 4317, resourceDetectors: {environment: {}}}}
- {name: zipkin, zipkin: {service: collector.obs, port: 9411, headers: [{name: x-key, value: secret}]}}
- {name: otel-logs, envoyOtelAls: {service: collector.obs, port: 4317,
    logFormat: {text: "%REQ(:PATH)%", labels: {code: "%RESPONSE_CODE%"}}}}
- {name: als, envoyHttpAls: {service: collector.obs, port: 4317, logName: requests,
    additionalRequestHeadersToLog: [x-user]}}
- {name: tcp-als, envoyTcpAls: {service: collector.obs, port: 4317, logName: connections}}
"""
METRICS = SETTINGS + "defaultProviders: {metrics: [prometheus]}\n"
Labels = dict[str, str]
SCRAPE = yaml.safe_load((Path(__file__).parents[3] / "deploy/prometheus/scrape.yaml").read_text())
RULES = SCRAPE["scrape_configs"][0]["metric_relabel_configs"]


class Secrets:
    """Gives proxies their certificates, and the roots, as Istio's agent does."""

    def __init__(self) -> None:
        self._root = make_root("mesh", datetime.now(UTC))

    def handler(self) -> Any:
        method = grpc.stream_stream_rpc_method_handler(
            self._stream, DiscoveryRequest.FromString, DiscoveryResponse.SerializeToString
        )
        service = "envoy.service.secret.v3.SecretDiscoveryService"
        return grpc.method_handlers_generic_handler(service, {"StreamSecrets": method})

    async def _stream(self, requests: AsyncIterator[DiscoveryRequest], _: Any) -> AsyncIterator[DiscoveryResponse]:
        node, asked = "", None
        async for request in requests:
            node = request.node.id or node
            if list(request.resource_names) == asked:
                continue  # what was sent is acknowledged
            asked = list(request.resource_names)
            answer = DiscoveryResponse(version_info="1", nonce="1", type_url=request.type_url)
            for name in asked:
                answer.resources.add().Pack(self._secret(node, name), type_url_prefix="type.googleapis.com/")
            yield answer

    def _secret(self, node: str, name: str) -> Secret:
        secret = Secret(name=name)
        if name == "ROOTCA":
            secret.validation_context.trusted_ca.inline_bytes = pem_of(self._root.certificate)
            return secret
        account = node.split("~")[2].partition("-")[0]
        key, identity = generate_key(), f"spiffe://cluster.local/ns/apps/sa/{account}"
        pem = sign_workload(self._root, key.public_key(), identity, timedelta(hours=1), datetime.now(UTC))
        secret.tls_certificate.certificate_chain.inline_bytes = pem
        secret.tls_certificate.private_key.inline_bytes = encode_key(key)
        return secret


class Collector:
    """Keeps what is sent to it: spans and logs by OTLP, spans by Zipkin's JSON, entries of Envoy's own service.

    The messages of OTLP that are installed call a scope by its older name; on the wire it is the same.
    """

    def __init__(self) -> None:
        self.resources: list[Labels] = []
        self.spans: list[dict[str, Any]] = []
        self.zipkin: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.logs: list[tuple[str, Labels]] = []
        self.entries: list[StreamAccessLogsMessage] = []

    def handlers(self) -> list[Any]:
        def unary(method: Any, request: Any, response: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(method, request.FromString, response.SerializeToString)

        entries = grpc.stream_unary_rpc_method_handler(
            self._entries, StreamAccessLogsMessage.FromString, StreamAccessLogsResponse.SerializeToString
        )
        collector = "opentelemetry.proto.collector"
        services = {
            f"{collector}.trace.v1.TraceService": {
                "Export": unary(self._traces, ExportTraceServiceRequest, ExportTraceServiceResponse)
            },
            f"{collector}.logs.v1.LogsService": {
                "Export": unary(self._records, ExportLogsServiceRequest, ExportLogsServiceResponse)
            },
            "envoy.service.accesslog.v3.AccessLogService": {"StreamAccessLogs": entries},
        }
        return [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]

    async def _traces(self, request: Any, _: Any) -> Any:
        for group in request.resource_spans:
            self.resources.append({item.key: item.value.string_value for item in group.resource.attributes})
            for span in (span for scope in group.instrumentation_library_spans for span in scope.spans):
                tags = {item.key: item.value.string_value for item in span.attributes}
                self.spans.append({"trace": span.trace_id.hex(), "kind": span.kind, "tags": tags})
        return ExportTraceServiceResponse()

    async def _records(self, request: Any, _: Any) -> Any:
        for group in request.resource_logs:
            for record in (record for scope in group.instrumentation_library_logs for record in scope.logs):
                labels = {item.key: item.value.string_value for item in record.attributes}
                self.logs.append((record.body.string_value, labels))
        return ExportLogsServiceResponse()

    async def _entries(self, messages: AsyncIterator[StreamAccessLogsMessage], _: Any) -> Any:
        async for message in messages:
            self.entries.append(message)
        return StreamAccessLogsResponse()

    async def zipkin_spans(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers.get("x-key"))
        self.zipkin += json.loads(await request.text())
        return web.Response(status=202)


class Scene:
    """A client and a server with their sidecars on loopback, and collectors."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "config"
        self.directory.mkdir()
        self.mesh_config = directory / "mesh.yaml"
        names = ("http", "tcp", "http_in", "tcp_in", "app", "grpc", "zipkin", "sds")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.collector = Collector()
        self.seen: list[Labels] = []  # headers of requests, as the application got them
        self.client: Any = None
        self.server: Any = None
        self.plane: Any = None

    def write(self, name: str, text: str) -> None:
        new = self.directory / f".{name}.new"
        new.write_text(text)
        new.rename(self.directory / name)

    def telemetry(self, spec: str, name: str = "all") -> None:
        """A Telemetry for the mesh."""
        head = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n"
        self.write("telemetry.yaml", f"{head}metadata: {{name: {name}, namespace: istio-system}}\nspec: {spec}\n")

    def sidecar(self, directory: Path, name: str, address: str, version: str) -> dict[str, Any]:
        """The bootstrap of a sidecar with certificates from an agent."""
        bootstrap = plaintext_sidecar(
            directory, self.plane.xds_port, False, name=f"{name}-1", service_account=name,
            labels={"app": name, "version": version},
        )  # fmt: skip
        node = bootstrap["node"]
        node["id"] = node["id"].replace("127.0.0.9", address)
        node["metadata"]["INSTANCE_IPS"] = address
        del node["metadata"]["ISTHMUS_SDS"]
        endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.ports["sds"]}}}
        bootstrap["static_resources"]["clusters"].append(
            {
                "name": "sds-grpc",
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": {
                    "cluster_name": "sds-grpc",
                    "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
                },
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": {"http2_protocol_options": {}},
                    }
                },
            }
        )
        return bootstrap

    async def get(self, path: str = "/", host: str = "web.test", port: str = "http", **headers: str) -> int:
        """The status of one request of the client's application; 0 if nothing answers."""
        headers["host"] = f"{host}:{self.ports['http']}"
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.ports[port]}{path}", headers=headers) as answer,
            ):
                await answer.read()
                return answer.status
        except (OSError, aiohttp.ClientError):
            return 0

    async def bytes_through(self) -> None:
        """One connection of bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["tcp"])
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        writer.close()
        await writer.wait_closed()

    async def metrics(self, proxy: Any, name: str) -> list[tuple[Labels, float]]:
        """Samples of one of Istio's metrics, by labels, as Prometheus has them after the rules that we ship."""
        connector = aiohttp.UnixConnector(str(proxy._socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://admin/stats/prometheus?filter=^istio") as answer,
        ):
            text = await answer.text()
        found = [
            (relabelled({"__name__": sample.name, **sample.labels}, RULES), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        return [(labels, value) for labels, value in found if labels["__name__"] == f"istio_{name}"]


@pytest.fixture
async def start(
    tmp_path: Path, istiod: Any, run_envoy: Callable[[Callable[[Path], dict[str, Any]]], Envoy], eventually: Any
) -> AsyncIterator[Callable[..., Any]]:
    """Starts it all with MeshConfig, once the client can call the server; `mode` is that of PeerAuthentication."""
    server = grpc.aio.server()
    runners: list[web.AppRunner] = []
    proxies: list[Envoy] = []

    async def run(mesh: str, telemetry: str = "", mode: str = "STRICT") -> Scene:
        scene = Scene(tmp_path)
        scene.mesh_config.write_text(mesh)
        scene.write("mesh.yaml", MESH.format(mode=mode, **scene.ports))
        if telemetry:
            scene.telemetry(telemetry)
        server.add_generic_rpc_handlers([Secrets().handler(), *scene.collector.handlers()])
        for port in ("sds", "grpc"):
            server.add_insecure_port(f"127.0.0.1:{scene.ports[port]}")
        await server.start()

        async def answer(request: web.Request) -> web.Response:
            scene.seen.append({name.lower(): value for name, value in request.headers.items()})
            return web.Response(text="hello", status=int(request.query.get("status", "200")))

        for port, route in (("app", answer), ("zipkin", scene.collector.zipkin_spans)):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", route)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", scene.ports[port]).start()
        scene.plane = await istiod(scene.directory, mesh_config=str(scene.mesh_config))
        scene.client = run_envoy(lambda directory: scene.sidecar(directory, "client", "127.0.0.9", "v1"))
        scene.server = run_envoy(lambda directory: scene.sidecar(directory, "web", "127.0.0.1", "v2"))
        proxies.extend((scene.client, scene.server))

        async def answers() -> bool:
            return await scene.get("/first") == 200 and all([await proxy.settled() for proxy in proxies])

        await eventually(answers, START, "the client reaches the server")
        return scene

    yield run
    for proxy in proxies:
        proxy.stop()
    for runner in runners:
        await runner.cleanup()
    await server.stop(0)


CLIENT_FACTS = {
    "source_workload": "client", "source_workload_namespace": "apps", "source_app": "client", "source_version": "v1",
    "source_cluster": "c", "source_canonical_service": "client", "source_canonical_revision": "v1",
    "source_principal": "spiffe://cluster.local/ns/apps/sa/client",
}  # fmt: skip
SERVER_FACTS = {
    "destination_workload_namespace": "apps", "destination_app": "web", "destination_version": "v2",
    "destination_cluster": "c", "destination_canonical_service": "web", "destination_canonical_revision": "v2",
    "destination_principal": "spiffe://cluster.local/ns/apps/sa/web", "destination_service": "web.test",
    "destination_service_name": "web.test", "destination_service_namespace": "apps",
}  # fmt: skip
REQUEST = {"request_protocol": "http", "response_code": "418", "response_flags": "-"}


async def test_requests_are_counted_on_both_sides_with_istios_labels(start: Any, eventually: Any) -> None:
    scene = await start(METRICS)
    assert await scene.get("/?status=418", **{HEADER: "liar;liar;liar;liar;liar;liar;liar"}) == 418

    async def of(proxy: Any) -> Any:
        return [
            (labels, n)
            for labels, n in await scene.metrics(proxy, "requests_total")
            if labels["response_code"] == "418"
        ]

    ((labels, count),) = await eventually(lambda: of(scene.client), WITHIN)
    assert count == 1
    said = {
        "reporter": "source",
        "connection_security_policy": "unknown",
        "destination_workload": "unknown",
        **REQUEST,
        **CLIENT_FACTS,
        **SERVER_FACTS,
    }
    assert {name: labels[name] for name in said} == said
    ((labels, count),) = await eventually(lambda: of(scene.server), WITHIN)
    assert count == 1
    said |= {"reporter": "destination", "connection_security_policy": "mutual_tls", "destination_workload": "web"}
    assert {name: labels[name] for name in said} == said
    for name in ("request_duration_milliseconds", "request_bytes", "response_bytes"):

        async def once(name: str = name) -> Any:
            counts = await scene.metrics(scene.server, f"{name}_count")
            return sum(count for labels, count in counts if labels["response_code"] == "418") == 1

        await eventually(once, WITHIN, name)
    assert all(HEADER not in headers for headers in scene.seen)
    assert (await scene.client.refused(), await scene.server.refused()) == ({}, {})


async def test_strangers_are_told_nothing_and_believed_nothing(start: Any, eventually: Any) -> None:
    scene = await start(METRICS, mode="PERMISSIVE")
    assert await scene.get("/out", host="outside.test") == 200
    assert HEADER not in scene.seen[-1]
    assert await scene.get("/plain", port="http_in", **{HEADER: "liar;liar;liar;liar;liar;liar;liar"}) == 200
    assert HEADER not in scene.seen[-1]

    async def plain() -> Any:
        found = await scene.metrics(scene.server, "requests_total")
        return [labels for labels, _ in found if labels["connection_security_policy"] == "none"]

    (labels,) = await eventually(plain, WITHIN)
    assert (labels["source_workload"], labels["source_principal"]) == ("unknown", "unknown")


async def test_connections_are_counted_on_both_sides(start: Any, eventually: Any) -> None:
    scene = await start(METRICS)
    await scene.bytes_through()
    for proxy, reporter in ((scene.client, "source"), (scene.server, "destination")):
        for name in ("tcp_connections_opened_total", "tcp_connections_closed_total", "tcp_sent_bytes_total"):

            async def counted(proxy: Any = proxy, name: str = name) -> Any:
                return await scene.metrics(proxy, name)

            ((labels, count),) = await eventually(counted, WITHIN, name)
            assert count == 1 or (name == "tcp_sent_bytes_total" and count > 100)
            said = {"reporter": reporter, "request_protocol": "tcp", **SERVER_FACTS}
            assert {key: labels[key] for key in said} == said
            assert labels["source_principal"] == CLIENT_FACTS["source_principal"], (name, labels)
            assert labels["source_workload_namespace"] == "apps"


async def test_metrics_are_changed_and_switched_off_while_running(start: Any, eventually: Any) -> None:
    scene = await start(METRICS)
    overrides = """
    {metrics: [{overrides: [
      {match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {request_path: {value: request.url_path},
        destination_port: {value: string(destination.port)}, response_flags: {operation: REMOVE}}},
      {match: {mode: SERVER}, disabled: true}]}]}"""
    scene.telemetry(overrides)

    async def changed() -> Any:
        await scene.get("/changed")
        found = await scene.metrics(scene.client, "requests_total")
        return [labels for labels, _ in found if labels.get("request_path") == "/changed"]

    labels, *_ = await eventually(changed, WITHIN)
    assert labels["destination_port"] == str(scene.ports["http"])
    assert "response_flags" not in labels

    async def off() -> bool:
        before = await scene.metrics(scene.server, "requests_total")
        await scene.get("/off")
        return await scene.metrics(scene.server, "requests_total") == before

    await eventually(off, WITHIN)
    assert all(HEADER not in headers for headers in scene.seen)


async def test_spans_of_both_sides_arrive_by_otlp_in_one_trace(start: Any, eventually: Any) -> None:
    tracing = """
    {tracing: [{providers: [{name: otel}], randomSamplingPercentage: 100,
      customTags: {user: {header: {name: x-user}}, code: {formatter: {value: "%RESPONSE_CODE%"}},
                   fixed: {literal: {value: here}}, home: {environment: {name: NOT_SET, defaultValue: none}}}}]}"""
    scene = await start(SETTINGS, tracing)
    assert await scene.get("/traced", **{"x-user": "jane"}) == 200
    seen = scene.seen[-1]
    assert seen["traceparent"]
    assert seen["x-request-id"]

    async def both() -> Any:
        found = [span for span in scene.collector.spans if span["tags"].get("http.url", "").endswith("/traced")]
        return found if len(found) == 2 else None

    spans = await eventually(both, WITHIN, "spans of client and server")
    assert {span["trace"] for span in spans} == {seen["traceparent"].split("-")[1]}
    assert {span["kind"] for span in spans} == {2, 3}
    for span in spans:
        said = {"user": "jane", "code": "200", "fixed": "here", "home": "none"}
        assert {name: span["tags"][name] for name in said} == said
        assert (span["tags"]["istio.namespace"], span["tags"]["istio.cluster_id"]) == ("apps", "c")
    assert {found["service.name"] for found in scene.collector.resources} == {"client.apps", "web.apps"}


async def test_spans_arrive_at_zipkin_with_its_headers(start: Any, eventually: Any) -> None:
    scene = await start(SETTINGS, "{tracing: [{providers: [{name: zipkin}], randomSamplingPercentage: 100}]}")
    assert await scene.get("/zipped") == 200
    seen = scene.seen[-1]
    assert seen["x-b3-sampled"] == "1"

    async def both() -> Any:
        found = [span for span in scene.collector.zipkin if span["tags"].get("http.url", "").endswith("/zipped")]
        return found if len(found) == 2 else None

    spans = await eventually(both, WITHIN, "spans of client and server")
    assert {span["traceId"] for span in spans} == {seen["x-b3-traceid"]}
    assert {span["localEndpoint"]["serviceName"] for span in spans} == {"client.apps", "web.apps"}
    assert scene.collector.keys == {"secret"}


async def test_spans_are_sampled_and_switched_off(start: Any, eventually: Any) -> None:
    scene = await start(SETTINGS, "{tracing: [{providers: [{name: zipkin}], randomSamplingPercentage: 0}]}")
    assert await scene.get("/none") == 200
    assert scene.seen[-1]["x-b3-sampled"] == "0"
    scene.telemetry("{tracing: [{providers: [{name: zipkin}], disableSpanReporting: true}]}")

    async def off() -> bool:
        return await scene.get("/off") == 200 and "x-b3-sampled" not in scene.seen[-1]

    await eventually(off, WITHIN)


async def test_logs_arrive_at_collectors(start: Any, eventually: Any) -> None:
    logs = """
    {accessLogging: [
      {providers: [{name: otel-logs}], filter: {expression: "response.code >= 400"}},
      {match: {mode: CLIENT}, providers: [{name: als}, {name: tcp-als}]}]}"""
    scene = await start(SETTINGS, logs)
    assert await scene.get("/fine", **{"x-user": "jane"}) == 200
    assert await scene.get("/bad?status=404") == 404
    await scene.bytes_through()

    def bad() -> list[tuple[str, Labels]]:  # others are of requests before all was there
        return [log for log in scene.collector.logs if log[0] == "/bad?status=404"]

    async def all_of_them() -> bool:
        http = [message.http_logs for message in scene.collector.entries]
        paths = {entry.request.path for logs in http for entry in logs.log_entry}
        tcp = any(message.tcp_logs.log_entry for message in scene.collector.entries)
        return len(bad()) == 2 and {"/fine", "/bad?status=404"} <= paths and tcp

    await eventually(all_of_them, WITHIN, "logs")
    assert bad() == [("/bad?status=404", {"code": "404"})] * 2  # of client and server
    assert "/fine" not in {path for path, _ in scene.collector.logs}
    entries = [entry for message in scene.collector.entries for entry in message.http_logs.log_entry]
    (fine,) = (entry for entry in entries if entry.request.path == "/fine")
    assert fine.request.request_headers["x-user"] == "jane"
    names = {message.identifier.log_name for message in scene.collector.entries if message.HasField("identifier")}
    assert names == {"requests", "connections"}
