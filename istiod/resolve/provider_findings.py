"""What is wrong between Telemetry objects, MeshConfig's providers and the services behind these, as findings. Pure.

One object alone, and MeshConfig alone, are judged in `istiod.api`; names that MeshConfig does not have at all, by the
analyzers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from federation.model.findings import Finding, Severity
from federation.model.names import ServiceKey
from federation.model.service import Service
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Object
from istiod.api.providers import ExtensionProvider, kind_of, service_of
from istiod.api.telemetry import AccessLogging, Metric, Metrics, Telemetry, Tracing
from istiod.memo import memo
from istiod.resolve.metrics import NAMES
from istiod.resolve.objects import Table, table_of
from istiod.resolve.providers import known_provider
from istiod.snapshot import Snapshot

MESH = "MeshConfig"
_LOGS = frozenset({"envoy_file_access_log", "envoy_otel_als", "envoy_http_als", "envoy_tcp_als"})
_TRACES = frozenset({"zipkin", "opentelemetry", "datadog", "skywalking"})
_METRICS = frozenset({"prometheus"})
_SERVED = (_LOGS | _TRACES) - {"envoy_file_access_log"}


def provider_findings(snapshot: Snapshot) -> tuple[Finding, ...]:
    """Providers that are named and cannot do what they are named for, and those whose service is not there."""
    return _findings(snapshot.mesh, table_of(snapshot, "Telemetry"), snapshot.services, snapshot.hosts)


@memo(size=4)
def _findings(
    mesh: MeshConfig,
    table: Table,
    services: Mapping[ServiceKey, Service],
    hosts: Mapping[str, tuple[ServiceKey, ...]],
) -> tuple[Finding, ...]:
    found = [*_defaults(mesh)]
    for index, provider in enumerate(mesh.extension_providers):
        found += _service(provider, f"extensionProviders[{index}]", services, hosts)
    for item in table.values():
        if isinstance(item, Object):
            found += _telemetry(mesh, item)
    return tuple(found)


def _defaults(mesh: MeshConfig) -> Iterator[Finding]:
    said = mesh.default_providers
    for field, names, kinds in (
        ("tracing", said.tracing, _TRACES),
        ("metrics", said.metrics, _METRICS),
        ("accessLogging", said.access_logging, _LOGS),
    ):
        for index, name in enumerate(names):
            yield from _named(mesh, name, kinds, MESH, f"defaultProviders.{field}[{index}]")


def _telemetry(mesh: MeshConfig, item: Object[Telemetry]) -> Iterator[Finding]:
    groups: tuple[tuple[str, Sequence[Tracing | Metrics | AccessLogging], Collection[str]], ...] = (
        ("tracing", item.spec.tracing, _TRACES),
        ("metrics", item.spec.metrics, _METRICS),
        ("accessLogging", item.spec.access_logging, _LOGS),
    )
    for field, said, kinds in groups:
        for index, one in enumerate(said):
            for place, ref in enumerate(one.providers):
                yield from _named(mesh, ref.name, kinds, str(item), f"spec.{field}[{index}].providers[{place}].name")
    for index, metrics in enumerate(item.spec.metrics):
        for place, override in enumerate(metrics.overrides):
            match = override.match
            name = (match.custom_metric or "").removeprefix("istio_") if match is not None else ""
            path = f"spec.metrics[{index}].overrides[{place}].match"
            if name and name not in NAMES.values():
                yield _said(
                    str(item), f"{path}.customMetric", f"no metric is called {name[:80]!r}", "name a standard metric"
                )
            metric = match.metric if match is not None else None
            if metric not in (None, Metric.ALL_METRICS, *NAMES):
                yield _said(str(item), f"{path}.metric", f"{metric} is not counted by stock Envoy", "do not rely on it")


def _named(mesh: MeshConfig, name: str, kinds: Collection[str], where: str, path: str) -> Iterator[Finding]:
    provider = known_provider(mesh, name)
    if provider is not None and kind_of(provider) not in kinds:
        wanted = " or ".join(sorted(_spelled(kind) for kind in kinds))
        message = f"{name[:80]!r} is a provider of another kind"
        yield _said(where, path, message, f"name one with {wanted}", "ProviderOfAnotherKind")
    elif provider is None and where == MESH:
        yield _said(where, path, f"{name[:80]!r} is none of extensionProviders", "add it there", "ProviderNotFound")


def _service(
    provider: ExtensionProvider,
    path: str,
    services: Mapping[ServiceKey, Service],
    hosts: Mapping[str, tuple[ServiceKey, ...]],
) -> Iterator[Finding]:
    """A provider's service is one service of the mesh that has the port."""
    kind = kind_of(provider)
    if kind not in _SERVED:
        return
    text, port = service_of(provider)
    namespace, _, host = text.rpartition("/")
    keys = [key for key in hosts.get(host, ()) if namespace in ("", key.namespace)]
    path = f"{path}.{_spelled(kind)}"
    if len(keys) > 1:
        message = f"{host[:80]!r} is a service of {', '.join(key.namespace for key in keys)}"
        yield _said(MESH, f"{path}.service", message, f"write {keys[0].namespace}/{host}", "ProviderNotReachable")
    elif not keys:
        message = f"{text[:80]!r} is no service of the mesh"
        yield _said(MESH, f"{path}.service", message, "declare it by a ServiceEntry", "ProviderNotReachable")
    elif services[keys[0]].port(port) is None:
        yield _said(
            MESH, f"{path}.port", f"{host[:80]!r} has no port {port}", "use one of its ports", "ProviderNotReachable"
        )


def _spelled(kind: str) -> str:
    field: Any = ExtensionProvider.model_fields[kind]
    return str(field.alias or kind)


def _said(where: str, path: str, message: str, fix: str, code: str = "FieldNotSupported") -> Finding:
    return Finding(Severity.WARNING, code, where, path, message, fix)
