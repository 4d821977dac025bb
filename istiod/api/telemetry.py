"""Telemetry: which logs, traces and metrics workloads give, and where they go. Rules: Istio's Telemetry reference.

Owns the fields and what is wrong with one object. Which providers there are, MeshConfig says; how several objects
become one setting, `istiod.resolve.telemetry` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from federation.model.findings import Severity
from istiod.api.attachment import PolicyTargetReference, check_attachment
from istiod.api.cel import cel_problem, without_string
from istiod.api.fields import Duration, Model, Percent, PolicySelector
from istiod.api.formats import format_problem
from istiod.api.headers import check_header_name
from istiod.api.problems import Problem


class WorkloadMode(StrEnum):
    """The side of a call that a setting is for."""

    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"
    CLIENT = "CLIENT"
    SERVER = "SERVER"


class ProviderRef(Model):
    """A provider of MeshConfig by name."""

    name: str = ""


class ModeSelector(Model):
    """Selects one side of calls."""

    mode: WorkloadMode = WorkloadMode.CLIENT_AND_SERVER


class LiteralTag(Model):
    """The same value on every span."""

    value: str = ""


class EnvironmentTag(Model):
    """The value of an environment variable of the proxy."""

    name: str = ""
    default_value: str = ""


class HeaderTag(Model):
    """The value of a request header."""

    name: str = ""
    default_value: str = ""


class CustomTag(Model):
    """A tag of spans: exactly one kind of value."""

    literal: LiteralTag | None = None
    environment: EnvironmentTag | None = None
    header: HeaderTag | None = None
    formatter: LiteralTag | None = None  # a format string


class Tracing(Model):
    """Spans: where they go, how many, with which tags. Absent fields inherit."""

    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    random_sampling_percentage: Percent | None = None
    disable_span_reporting: bool | None = None
    custom_tags: dict[str, CustomTag] | None = None
    use_request_id_for_trace_sampling: bool | None = None
    enable_istio_tags: bool | None = None
    disable_context_propagation: bool | None = None


class LogFilter(Model):
    """Only what a CEL expression holds for is logged."""

    expression: str = ""


class AccessLogging(Model):
    """Logs of requests and connections."""

    match: ModeSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    disabled: bool | None = None
    filter: LogFilter | None = None


class Metric(StrEnum):
    """Istio's standard metrics."""

    ALL_METRICS = "ALL_METRICS"
    REQUEST_COUNT = "REQUEST_COUNT"
    REQUEST_DURATION = "REQUEST_DURATION"
    REQUEST_SIZE = "REQUEST_SIZE"
    RESPONSE_SIZE = "RESPONSE_SIZE"
    TCP_OPENED_CONNECTIONS = "TCP_OPENED_CONNECTIONS"
    TCP_CLOSED_CONNECTIONS = "TCP_CLOSED_CONNECTIONS"
    TCP_SENT_BYTES = "TCP_SENT_BYTES"
    TCP_RECEIVED_BYTES = "TCP_RECEIVED_BYTES"
    GRPC_REQUEST_MESSAGES = "GRPC_REQUEST_MESSAGES"
    GRPC_RESPONSE_MESSAGES = "GRPC_RESPONSE_MESSAGES"


class MetricSelector(Model):
    """Which metrics: a standard one, all of them if nothing is said, or one by the name that it has."""

    metric: Metric | None = None
    custom_metric: str | None = None
    mode: WorkloadMode = WorkloadMode.CLIENT_AND_SERVER


class TagOperation(StrEnum):
    """What happens to a tag."""

    UPSERT = "UPSERT"
    REMOVE = "REMOVE"


class TagOverride(Model):
    """A tag of another value, or of none. The value is CEL."""

    operation: TagOperation = TagOperation.UPSERT
    value: str = ""


class MetricsOverrides(Model):
    """Changes to some metrics."""

    match: MetricSelector | None = None
    disabled: bool | None = None
    tag_overrides: dict[str, TagOverride] = {}


class Metrics(Model):
    """Where metrics go, and changes to them."""

    providers: tuple[ProviderRef, ...] = ()
    overrides: tuple[MetricsOverrides, ...] = ()
    reporting_interval: Duration | None = None


class Telemetry(Model):
    """telemetry.istio.io Telemetry."""

    selector: PolicySelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    tracing: tuple[Tracing, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    access_logging: tuple[AccessLogging, ...] = ()


_TAG_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
_IN_TAG_NAME = f"{_TAG_NAME}0123456789-."  # Envoy shows Prometheus a '_' for each of the last two
LONGEST = 1_024  # characters of a tag's name or value


def validate(telemetry: Telemetry) -> Iterator[Problem]:
    """Istio's rules for Telemetry beyond types, and what Envoy would refuse."""
    yield from check_attachment(telemetry)
    for index, tracing in enumerate(telemetry.tracing):
        yield from _tracing(tracing, f"spec.tracing[{index}]")
    for index, metrics in enumerate(telemetry.metrics):
        yield from _metrics(metrics, f"spec.metrics[{index}]")
    for index, logging in enumerate(telemetry.access_logging):
        path = f"spec.accessLogging[{index}]"
        yield from _providers(logging.providers, path)
        if logging.filter is not None:
            wrong = cel_problem(logging.filter.expression)
            if wrong:
                yield _no_cel(f"{path}.filter.expression", wrong)


def check_tags(tags: dict[str, CustomTag], path: str) -> Iterator[Problem]:
    """Each tag has a name and exactly one kind of value, which Envoy would take."""
    for name, tag in tags.items():
        at = f"{path}[{name[:80]}]"
        if not name:
            yield Problem(path, "has a tag without a name", "name the tag")
        kinds = [kind for kind in CustomTag.model_fields if getattr(tag, kind) is not None]
        fix = "give one of literal, environment, header, formatter"
        if not kinds:
            yield Problem(at, "has no value, so it is left out", fix, severity=Severity.WARNING)
        elif len(kinds) > 1:
            yield Problem(at, f"has {' and '.join(kinds)}", fix)
        if tag.literal is not None and not tag.literal.value:
            yield Problem(f"{at}.literal.value", "is empty", "give the value")
        if tag.environment is not None and not tag.environment.name:
            yield Problem(f"{at}.environment.name", "is empty", "name a variable")
        if tag.header is not None:
            yield from check_header_name(tag.header.name, f"{at}.header.name")
        if tag.formatter is not None:
            wrong = "it is empty" if not tag.formatter.value else format_problem(tag.formatter.value)
            if wrong:
                fix = "write %% for a percent sign, or correct the command"
                yield Problem(f"{at}.formatter.value", f"is no format string: {wrong}", fix)


def _providers(providers: Sequence[ProviderRef], path: str) -> Iterator[Problem]:
    for index, provider in enumerate(providers):
        if not provider.name:
            yield Problem(f"{path}.providers[{index}].name", "is empty", "name an extension provider of MeshConfig")


def _tracing(tracing: Tracing, path: str) -> Iterator[Problem]:
    yield from _providers(tracing.providers, path)
    if len(tracing.providers) > 1:
        message, fix = "has several entries, and spans go to the first alone", "name one"
        yield Problem(f"{path}.providers", message, fix, severity=Severity.WARNING)
    yield from check_tags(tracing.custom_tags or {}, f"{path}.customTags")


def _metrics(metrics: Metrics, path: str) -> Iterator[Problem]:
    yield from _providers(metrics.providers, path)
    if metrics.reporting_interval is not None and metrics.reporting_interval < 0.001:
        yield Problem(f"{path}.reportingInterval", "is below one millisecond", "use 1ms or more")
    for index, overrides in enumerate(metrics.overrides):
        at = f"{path}.overrides[{index}]"
        match = overrides.match
        if match is not None and match.custom_metric is not None:
            if match.metric is not None:
                yield Problem(f"{at}.match", "has metric and customMetric", "keep one of them")
            if not match.custom_metric:
                yield Problem(f"{at}.match.customMetric", "is empty", "name the metric")
        for name, override in overrides.tag_overrides.items():
            yield from _tag_override(name, override, f"{at}.tagOverrides")


def _tag_override(name: str, override: TagOverride, path: str) -> Iterator[Problem]:
    at = f"{path}[{name[:80]}]"
    if name[:1] not in _TAG_NAME or not all(c in _IN_TAG_NAME for c in name) or len(name) > LONGEST:
        yield Problem(at, f"{name[:80]!r} is no name of a tag", "use letters, digits, '_', '-' and '.', a letter first")
    if override.operation is TagOperation.REMOVE:
        if override.value:
            yield Problem(f"{at}.value", "is given, though the tag is removed", "remove the value")
        return
    wrong = cel_problem(without_string(override.value))
    if wrong:
        yield _no_cel(f"{at}.value", wrong)
    elif "%" in override.value:
        yield Problem(f"{at}.value", "has a percent sign, which is not possible here", "write it without")


def _no_cel(path: str, wrong: str) -> Problem:
    return Problem(path, f"is no CEL expression: {wrong}", "correct the expression")
