"""What is wrong with Telemetry objects, and with the providers and traces of MeshConfig."""

from __future__ import annotations

import pytest

from federation.model.findings import Severity
from istiod.api.meshconfig import log_labels
from istiod.api.parse import parse_documents, parse_mesh_config
from istiod.api.telemetry import Telemetry

HEAD = "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: t, namespace: apps}\nspec: "
GATEWAY = "{group: gateway.networking.k8s.io, kind: Gateway, name: g}"
MANY = ", ".join([GATEWAY] * 17)

WRONG = (
    ("{selector: {matchLabels: {app: 'a*'}}}", "spec.selector.matchLabels.app",
     "has a wildcard, which labels do not know", "name the value"),
    (f"{{selector: {{matchLabels: {{app: a}}}}, targetRef: {GATEWAY}}}", "spec",
     "has selector and targetRef", "keep one of them"),
    (f"{{targetRefs: [{MANY}]}}", "spec.targetRefs", "has more than 16 entries", "write several policies"),
    ("{tracing: [{providers: [{name: ''}]}]}", "spec.tracing[0].providers[0].name",
     "is empty", "name an extension provider of MeshConfig"),
    ("{tracing: [{randomSamplingPercentage: 101}]}", "spec.tracing[0].randomSamplingPercentage",
     "101: input should be less than or equal to 100", "correct the value"),
    ("{tracing: [{match: {mode: SERVERS}}]}", "spec.tracing[0].match.mode",
     "'SERVERS' is none of CLIENT_AND_SERVER, CLIENT, SERVER", "did you mean SERVER?"),
    ("{tracing: [{customTags: {'': {literal: {value: x}}}}]}", "spec.tracing[0].customTags",
     "has a tag without a name", "name the tag"),
    ("{tracing: [{customTags: {a: {literal: {value: x}, header: {name: b}}}}]}", "spec.tracing[0].customTags[a]",
     "has literal and header", "give one of literal, environment, header, formatter"),
    ("{tracing: [{customTags: {a: {literal: {}}}}]}", "spec.tracing[0].customTags[a].literal.value",
     "is empty", "give the value"),
    ("{tracing: [{customTags: {a: {environment: {}}}}]}", "spec.tracing[0].customTags[a].environment.name",
     "is empty", "name a variable"),
    ("{tracing: [{customTags: {a: {header: {}}}}]}", "spec.tracing[0].customTags[a].header.name",
     "has no name", "name a header"),
    ("{tracing: [{customTags: {a: {formatter: {value: '%NOPE%'}}}}]}", "spec.tracing[0].customTags[a].formatter.value",
     "is no format string: '%NOPE%' is no command that Envoy knows",
     "write %% for a percent sign, or correct the command"),
    ("{accessLogging: [{providers: [{name: ''}]}]}", "spec.accessLogging[0].providers[0].name",
     "is empty", "name an extension provider of MeshConfig"),
    ("{accessLogging: [{filter: {expression: 'response.code >='}}]}", "spec.accessLogging[0].filter.expression",
     "is no CEL expression: it ends too early", "correct the expression"),
    ("{accessLogging: [{filter: {expression: ''}}]}", "spec.accessLogging[0].filter.expression",
     "is no CEL expression: it is empty", "correct the expression"),
    ("{accessLogging: [{filters: {}}]}", "spec.accessLogging[0].filters", "is no field", "did you mean filter?"),
    ("{metrics: [{overrides: [{match: {metric: REQUESTS}}]}]}", "spec.metrics[0].overrides[0].match.metric",
     "'REQUESTS' is none of ALL_METRICS, REQUEST_COUNT, REQUEST_DURATION, REQUEST_SIZE, RESPONSE_SIZE, "
     "TCP_OPENED_CONNECTIONS, TCP_CLOSED_CONNECTIONS, TCP_SENT_BYTES, TCP_RECEIVED_BYTES, GRPC_REQUEST_MESSAGES, "
     "GRPC_RESPONSE_MESSAGES", "did you mean REQUEST_SIZE?"),
    ("{metrics: [{overrides: [{match: {metric: REQUEST_SIZE, customMetric: a}}]}]}",
     "spec.metrics[0].overrides[0].match", "has metric and customMetric", "keep one of them"),
    ("{metrics: [{overrides: [{match: {customMetric: ''}}]}]}", "spec.metrics[0].overrides[0].match.customMetric",
     "is empty", "name the metric"),
    ("{metrics: [{overrides: [{tagOverrides: {a: {value: ''}}}]}]}",
     "spec.metrics[0].overrides[0].tagOverrides[a].value", "is no CEL expression: it is empty",
     "correct the expression"),
    ("{metrics: [{overrides: [{tagOverrides: {a: {value: 'a % 2'}}}]}]}",
     "spec.metrics[0].overrides[0].tagOverrides[a].value", "has a percent sign, which is not possible here",
     "write it without"),
    ("{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: x}}}]}]}",
     "spec.metrics[0].overrides[0].tagOverrides[a].value", "is given, though the tag is removed", "remove the value"),
    ("{metrics: [{overrides: [{tagOverrides: {a/b: {value: x}}}]}]}",
     "spec.metrics[0].overrides[0].tagOverrides[a/b]", "'a/b' is no name of a tag",
     "use letters, digits, '_', '-' and '.', a letter first"),
    ("{metrics: [{reportingInterval: 0.1ms}]}", "spec.metrics[0].reportingInterval",
     "is below one millisecond", "use 1ms or more"),
)  # fmt: skip


@pytest.mark.parametrize(("spec", "path", "message", "fix"), WRONG)
def test_wrong(spec: str, path: str, message: str, fix: str) -> None:
    parsed = parse_documents(HEAD + spec, "t.yaml")
    assert parsed.objects == ()
    assert [(f.path, f.message, f.fix) for f in parsed.findings] == [(path, message, fix)]
    assert {finding.severity for finding in parsed.findings} == {Severity.ERROR}


def test_spans_go_to_the_first_of_several_providers() -> None:
    parsed = parse_documents(HEAD + "{tracing: [{providers: [{name: a}, {name: b}]}]}", "t.yaml")
    assert [item.kind for item in parsed.objects] == ["Telemetry"]
    (finding,) = parsed.findings
    assert (finding.severity, finding.path) == (Severity.WARNING, "spec.tracing[0].providers")
    assert finding.message == "has several entries, and spans go to the first alone"


def test_a_tag_without_value_is_left_out() -> None:
    (finding,) = parse_documents(HEAD + "{tracing: [{customTags: {a: {}}}]}", "t.yaml").findings
    assert (finding.severity, finding.path) == (Severity.WARNING, "spec.tracing[0].customTags[a]")


def test_all_of_it_is_read_in_both_versions() -> None:
    spec = """
  selector: {matchLabels: {app: a}}
  tracing:
  - match: {mode: CLIENT}
    providers: [{name: zipkin}]
    randomSamplingPercentage: 12.5
    customTags: {a: {literal: {value: x}}, b: {formatter: {value: "%PROTOCOL%"}}, c: {header: {name: x-c}}}
    useRequestIdForTraceSampling: false
    enableIstioTags: false
  accessLogging: [{providers: [{name: envoy}], filter: {expression: "response.code >= 400"}, disabled: false}]
  metrics:
  - providers: [{name: prometheus}]
    overrides: [{match: {metric: ALL_METRICS}, tagOverrides: {port: {value: string(destination.port)}}}]
"""
    for version in ("v1", "v1alpha1"):
        parsed = parse_documents(HEAD.replace("/v1", f"/{version}") + spec, "t.yaml")
        assert parsed.findings == ()
        (found,) = parsed.objects
        assert isinstance(found.spec, Telemetry)  # type: ignore[union-attr]
        assert found.spec.tracing[0].random_sampling_percentage == 12.5  # type: ignore[union-attr]


OTEL = "{name: p, opentelemetry: {service: a.obs, port: 4317, "
MESH_WRONG = (
    ("extensionProviders: [{name: p}]", "extensionProviders[0]", "has no kind of provider"),
    ("extensionProviders: [{name: p, prometheus: {}}, {name: P, prometheus: {}}]",
     "extensionProviders[1].name", "'P' is given twice"),
    ("extensionProviders: [{name: p, zipkin: {service: a_b, port: 1}}]",
     "extensionProviders[0].zipkin.service", "'a_b' names no service"),
    ("extensionProviders: [{name: p, zipkin: {service: a, port: 0}}]",
     "extensionProviders[0].zipkin.port", "0: input should be greater than or equal to 1"),
    ("extensionProviders: [{name: p, zipkin: {service: a, port: 1, path: spans}}]",
     "extensionProviders[0].zipkin.path", "'spans' begins without a slash"),
    ("extensionProviders: [" + OTEL + "http: {}, grpc: {}}}]",
     "extensionProviders[0].opentelemetry", "has http and grpc"),
    ("extensionProviders: [" + OTEL + "grpc: {initialMetadata: [{name: '', value: x}]}}}]",
     "extensionProviders[0].opentelemetry.grpc.initialMetadata[0].name", "has no name"),
    ("extensionProviders: [" + OTEL + "http: {headers: [{name: a, value: '%'}]}}}]",
     "extensionProviders[0].opentelemetry.http.headers[0].value",
     "is no format string: '%' at character 1 begins no command"),
    ("extensionProviders: [{name: p, envoyFileAccessLog: {logFormat: {text: a, labels: {}}}}]",
     "extensionProviders[0].envoyFileAccessLog.logFormat", "has text and labels"),
    ("extensionProviders: [{name: p, envoyFileAccessLog: {logFormat: {text: '%X'}}}]",
     "extensionProviders[0].envoyFileAccessLog.logFormat.text",
     "is no format string: '%' at character 1 begins no command"),
    ("extensionProviders: [{name: p, envoyFileAccessLog: {logFormat: {labels: {a: {b: ['%CEL(1 +)%']}}}}}]",
     "extensionProviders[0].envoyFileAccessLog.logFormat.labels.a.b[0]",
     "is no format string: '%CEL(1 +)%' holds no CEL expression: it ends too early"),
    ("extensionProviders: [{name: p, envoyHttpAls: {service: a, port: 1, additionalResponseHeadersToLog: ['']}}]",
     "extensionProviders[0].envoyHttpAls.additionalResponseHeadersToLog[0]", "has no name"),
    ("{accessLogEncoding: JSON, accessLogFormat: '{\"a\": \"%X\"}'}", "accessLogFormat.a",
     "is no format string: '%' at character 1 begins no command"),
    ("defaultConfig: {tracing: {sampling: -1}}", "defaultConfig.tracing.sampling",
     "-1: input should be greater than or equal to 0"),
    ("defaultConfig: {tracing: {zipkin: {address: zipkin}}}", "defaultConfig.tracing.zipkin.address",
     "'zipkin' is no host:port"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message"), MESH_WRONG)
def test_wrong_mesh_config(text: str, path: str, message: str) -> None:
    mesh, findings = parse_mesh_config(text, "m")
    assert mesh is None
    assert [(finding.path, finding.message) for finding in findings] == [(path, message)]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("extensionProviders: [{name: p, lightstep: {}}]", "extensionProviders[0].lightstep"),
        ("extensionProviders: [" + OTEL + "dynatraceSampler: {}}}]",
         "extensionProviders[0].opentelemetry.dynatraceSampler"),
        ("extensionProviders: [" + OTEL + "http: {headers: [{name: a, envName: B}]}}}]",
         "extensionProviders[0].opentelemetry.http.headers[0].envName"),
        ("defaultConfig: {tracing: {lightstep: {}}}", "defaultConfig.tracing.lightstep"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_said(text: str, path: str) -> None:
    mesh, findings = parse_mesh_config(text, "m")
    assert mesh is not None
    assert [(finding.path, finding.code) for finding in findings] == [(path, "SettingIgnored")]


@pytest.mark.parametrize("text", ["[]", "%REQ(:PATH)%"])
def test_json_logs_have_the_default_fields_where_the_format_is_none(text: str) -> None:
    mesh, findings = parse_mesh_config(f"{{accessLogEncoding: JSON, accessLogFormat: '{text}'}}", "m")
    assert mesh is not None
    assert log_labels(mesh) is None
    (finding,) = findings
    assert (finding.severity, finding.path) == (Severity.WARNING, "accessLogFormat")
