"""PeerAuthentication, AuthorizationPolicy, RequestAuthentication, Telemetry and EnvoyFilter against the workloads that
they are for, and against others of their kind.

Rules: what a policy is attached to (`istiod.resolve.attachment`), and Istio's analyzers of these kinds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from federation.model.findings import Finding
from federation.model.labels import Labels
from istiod.analyze import codes
from istiod.analyze.lookup import by_namespace, labels_text, named, namespaces, selected, workloads
from istiod.api.envoyfilter import EnvoyFilter, Operation
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.api.meta import Object
from istiod.api.peerauthentication import PeerAuthentication
from istiod.api.telemetry import Telemetry
from istiod.resolve.objects import table_of, valid_objects
from istiod.snapshot import Snapshot

_ATTACHED = (
    Kind.PEER_AUTHENTICATION,
    Kind.AUTHORIZATION_POLICY,
    Kind.REQUEST_AUTHENTICATION,
    Kind.TELEMETRY,
    Kind.ENVOY_FILTER,
)


def _items(snapshot: Snapshot, kind: Kind) -> list[Object[Any]]:
    return valid_objects(table_of(snapshot, kind), object)


def labels_of(item: Object[Any]) -> Mapping[str, str]:
    """The labels that a policy selects; none if it is for its whole namespace, or attached by reference."""
    selector = item.spec.selector
    return selector.all_labels if selector is not None else {}


def _has_references(item: Object[Any]) -> bool:
    return bool(getattr(item.spec, "target_refs", ()) or getattr(item.spec, "target_ref", None))


def selectors(snapshot: Snapshot) -> Iterator[Finding]:
    """Policies that select no workload. Nothing is said where no workload is known."""
    if not workloads(snapshot):
        return
    for kind in _ATTACHED:
        for item in _items(snapshot, kind):
            labels = labels_of(item)
            everywhere = item.meta.namespace == snapshot.mesh.root_namespace and kind is not Kind.PEER_AUTHENTICATION
            if labels and not any(selected(snapshot, labels, "" if everywhere else item.meta.namespace)):
                message = f"no workload has the labels {labels_text(labels)}"
                yield codes.SELECTOR_MATCHES_NOTHING.at(item, _selector_path(kind), message)


def _selector_path(kind: Kind) -> str:
    return "spec.workloadSelector.labels" if kind is Kind.ENVOY_FILTER else "spec.selector.matchLabels"


def root_selectors(snapshot: Snapshot) -> Iterator[Finding]:
    """PeerAuthentications of the root namespace with a selector: those are for workloads of that namespace alone."""
    for item in _items(snapshot, Kind.PEER_AUTHENTICATION):
        labels = labels_of(item)
        here = item.meta.namespace
        if here == snapshot.mesh.root_namespace and labels and not any(selected(snapshot, labels, here)):
            message = f"is for workloads of {here} with {labels_text(labels)}, not for the mesh"
            yield codes.SELECTOR_IN_ROOT_NAMESPACE.at(item, "spec.selector", message)


def conflicts(snapshot: Snapshot) -> Iterator[Finding]:
    """Policies of the kinds of which one counts for a workload: several without selector, or for one workload."""
    for kind in (Kind.PEER_AUTHENTICATION, Kind.TELEMETRY, Kind.PROXY_CONFIG):
        for _, items in sorted(by_namespace(_items(snapshot, kind)).items()):
            groups: dict[Labels, list[Object[Any]]] = defaultdict(list)
            for item in items:
                if not _has_references(item):
                    groups[Labels(labels_of(item))].append(item)
            for labels, group in groups.items():
                for item in group[1:]:
                    whom = f"the workloads with {labels}" if labels else f"all workloads of {item.meta.namespace}"
                    yield codes.POLICY_CONFLICT.at(item, "spec.selector", f"{group[0]} is for {whom} too")
            yield from _shared_workloads(snapshot, groups)


def _shared_workloads(snapshot: Snapshot, groups: Mapping[Labels, list[Object[Any]]]) -> Iterator[Finding]:
    """Policies whose selectors differ and meet at some workload."""
    selecting = sorted(((group[0], labels) for labels, group in groups.items() if labels), key=_by_age)
    for number, (item, labels) in enumerate(selecting):
        for rival, theirs in selecting[:number]:
            both = {**labels, **theirs}
            clash = any(theirs.get(key, value) != value for key, value in labels.items())
            shared = () if clash else tuple(selected(snapshot, both, item.meta.namespace))
            if shared:
                message = f"{rival} is for {named(shared)} too"
                yield codes.POLICY_CONFLICT.at(item, "spec.selector", message)
                break


def _by_age(pair: tuple[Object[Any], Labels]) -> tuple[str, str, str]:
    return pair[0].meta.age_order


def peer_ports(snapshot: Snapshot) -> Iterator[Finding]:
    """Modes for ports that none of the selected workloads serves. Keys are ports of workloads, not of services."""
    for item in valid_objects(table_of(snapshot, Kind.PEER_AUTHENTICATION), PeerAuthentication):
        labels = labels_of(item)
        served = {
            number
            for key, endpoints in snapshot.endpoints.items()
            if key.namespace == item.meta.namespace
            for endpoint in endpoints
            if endpoint.labels.selected_by(labels)
            for _, number in endpoint.ports
        }
        for port in item.spec.port_level_mtls:
            if served and port not in served:
                message = f"no workload with {labels_text(labels)} serves port {port}, only {named(sorted(served), 8)}"
                fix = "use the port of the workload, which may differ from the Service's"
                yield codes.POLICY_FOR_NO_PORT.at(item, f"spec.portLevelMtls[{port}]", message, fix)


def providers(snapshot: Snapshot) -> Iterator[Finding]:
    """Providers that MeshConfig does not have, and Telemetries that have none at all."""
    known = {provider.name for provider in snapshot.mesh.extension_providers} | {"prometheus", "envoy"}
    for item in _items(snapshot, Kind.AUTHORIZATION_POLICY):
        provider = item.spec.provider
        if provider is not None and provider.name not in known:
            message = f"{provider.name!r} is no extension provider of MeshConfig"
            yield codes.PROVIDER_NOT_FOUND.at(item, "spec.provider.name", message)
    for telemetry in valid_objects(table_of(snapshot, Kind.TELEMETRY), Telemetry):
        for path, name in _provider_names(telemetry.spec):
            if name not in known:
                message = f"{name!r} is no extension provider of MeshConfig"
                yield codes.PROVIDER_NOT_FOUND.at(telemetry, path, message)
        for path in _without_provider(telemetry.spec, snapshot.mesh):
            yield codes.NO_PROVIDER.at(telemetry, path, "names no provider, and MeshConfig has no default one")


def _provider_names(spec: Telemetry) -> Iterator[tuple[str, str]]:
    groups: tuple[tuple[str, Iterable[Any]], ...] = (
        ("tracing", spec.tracing),
        ("metrics", spec.metrics),
        ("accessLogging", spec.access_logging),
    )
    for field, items in groups:
        for index, item in enumerate(items):
            for number, provider in enumerate(item.providers):
                yield f"spec.{field}[{index}].providers[{number}].name", provider.name


def _without_provider(spec: Telemetry, mesh: MeshConfig) -> Iterator[str]:
    """Where a Telemetry would do something and nobody says where to."""
    defaults = mesh.default_providers
    if not defaults.tracing and not mesh.enable_tracing:
        for index, tracing in enumerate(spec.tracing):
            if not tracing.providers and tracing.random_sampling_percentage and not tracing.disable_span_reporting:
                yield f"spec.tracing[{index}].providers"


def patches(snapshot: Snapshot) -> Iterator[Finding]:
    """Patches whose effect depends on which other EnvoyFilters came first."""
    for item in valid_objects(table_of(snapshot, Kind.ENVOY_FILTER), EnvoyFilter):
        if item.spec.priority:
            continue
        for index, patch in enumerate(item.spec.config_patches):
            if patch.patch.operation in (Operation.INSERT_BEFORE, Operation.INSERT_AFTER):
                path = f"spec.configPatches[{index}].patch.operation"
                yield codes.PATCH_IS_RELATIVE.at(item, path, f"is {patch.patch.operation}, and spec.priority is 0")


def target_namespaces(snapshot: Snapshot) -> Iterator[Finding]:
    """`exportTo` of any kind with namespaces that do not exist. Nothing is said where no namespace is known."""
    known = namespaces(snapshot)
    if not known:
        return
    for kind in (Kind.VIRTUAL_SERVICE, Kind.DESTINATION_RULE, Kind.SERVICE_ENTRY):
        for item in _items(snapshot, kind):
            for index, name in enumerate(item.spec.export_to):
                if name not in (".", "*", "~") and name not in known:
                    message = f"there is no namespace {name!r}"
                    yield codes.NAMESPACE_NOT_FOUND.at(item, f"spec.exportTo[{index}]", message)
