"""Annotations and labels of Istio's on any object: misspelt, in the wrong place, or given up.

The list of annotations is that of Istio's "Resource Annotations" page. Pods count as the place of what Deployments have
in their templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from federation.model.findings import Finding
from istiod.analyze import codes
from istiod.api.kinds import Kind
from istiod.api.meta import Object
from istiod.api.validation import format_suggestion
from istiod.resolve.objects import table_of
from istiod.snapshot import Snapshot

SUPPRESS = "galley.istio.io/analyze-suppress"


def _at(kinds: str, names: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(names.split(), frozenset(kinds.split()))


# Name -> the kinds that it is for; none = any.
_ANNOTATIONS: dict[str, frozenset[str]] = {
    **_at("", f"{SUPPRESS} istio.io/rev"),
    **_at("AuthorizationPolicy", "istio.io/dry-run"),
    **_at("Service", "networking.istio.io/exportTo"),
    **_at("Service ServiceEntry Namespace", "networking.istio.io/traffic-distribution"),
    **_at("Namespace", "topology.istio.io/controlPlaneClusters"),
    **_at("WorkloadEntry", "istio.io/autoRegistrationGroup istio.io/workloadController istio.io/connectedAt"),
    **_at("WorkloadEntry", "istio.io/disconnectedAt proxy.istio.io/health-checks-enabled"),
    **_at("Pod WorkloadGroup", "proxy.istio.io/config"),
    **_at(
        "KubernetesGateway",
        """networking.istio.io/service-type gateway.istio.io/controller-version gateway.istio.io/name-override
        gateway.istio.io/service-account gateway.istio.io/tls-terminate-mode""",
    ),
    **_at("KubernetesGateway GatewayClass", "ambient.istio.io/waypoint-inbound-binding"),
    **_at("KubernetesGateway Service", "networking.istio.io/address-type"),
    **_at(
        "Pod",
        """ambient.istio.io/bypass-inbound-capture ambient.istio.io/dns-capture ambient.istio.io/redirection
        inject.istio.io/templates istio.io/reroute-virtual-interfaces prometheus.istio.io/merge-metrics
        proxy.istio.io/overrides readiness.status.sidecar.istio.io/applicationPorts
        readiness.status.sidecar.istio.io/failureThreshold readiness.status.sidecar.istio.io/initialDelaySeconds
        readiness.status.sidecar.istio.io/periodSeconds security.istio.io/tlsMode sidecar.istio.io/agentLogLevel
        sidecar.istio.io/bootstrapOverride sidecar.istio.io/componentLogLevel sidecar.istio.io/controlPlaneAuthPolicy
        sidecar.istio.io/discoveryAddress sidecar.istio.io/enableCoreDump sidecar.istio.io/extraStatTags
        sidecar.istio.io/inject sidecar.istio.io/interceptionMode sidecar.istio.io/logLevel
        sidecar.istio.io/nativeSidecar sidecar.istio.io/proxyCPU sidecar.istio.io/proxyCPULimit
        sidecar.istio.io/proxyImage sidecar.istio.io/proxyImageType sidecar.istio.io/proxyMemory
        sidecar.istio.io/proxyMemoryLimit sidecar.istio.io/rewriteAppHTTPProbers sidecar.istio.io/statsCompression
        sidecar.istio.io/statsEvictionInterval sidecar.istio.io/statsFlushInterval
        sidecar.istio.io/statsHistogramBuckets sidecar.istio.io/statsInclusionPrefixes
        sidecar.istio.io/statsInclusionRegexps sidecar.istio.io/statsInclusionSuffixes sidecar.istio.io/status
        sidecar.istio.io/userVolume sidecar.istio.io/userVolumeMount status.sidecar.istio.io/port
        traffic.sidecar.istio.io/excludeInboundPorts traffic.sidecar.istio.io/excludeInterfaces
        traffic.sidecar.istio.io/excludeOutboundIPRanges traffic.sidecar.istio.io/excludeOutboundPorts
        traffic.sidecar.istio.io/includeInboundPorts traffic.sidecar.istio.io/includeOutboundIPRanges
        traffic.sidecar.istio.io/includeOutboundPorts traffic.sidecar.istio.io/kubevirtInterfaces""",
    ),
}
_DEPRECATED = {
    "sidecar.istio.io/inject": "use the label sidecar.istio.io/inject",
    "sidecar.istio.io/controlPlaneAuthPolicy": "remove it",
    "sidecar.istio.io/discoveryAddress": "use proxy.istio.io/config",
    "traffic.sidecar.istio.io/kubevirtInterfaces": "use istio.io/reroute-virtual-interfaces",
}
# Written by tools and controllers, not by people.
_OTHERS = ("internal.istio.io", "install.operator.istio.io", "operator.istio.io", "release.istio.io")


def unknown_annotations(snapshot: Snapshot) -> Iterator[Finding]:
    """Annotations in a domain of Istio's that mean nothing where they are."""
    for kind in Kind:
        for item in table_of(snapshot, kind).values():
            if not isinstance(item, Object):
                continue
            for name in item.meta.annotations:
                domain = name.partition("/")[0]
                if (domain == "istio.io" or domain.endswith(".istio.io")) and domain not in _OTHERS:
                    yield from _annotation(item, kind.value, name)


def _annotation(item: Object[object], kind: str, name: str) -> Iterator[Finding]:
    path = f"metadata.annotations[{name}]"
    subject = (
        f"{item.kind} {item.meta.namespace}/{item.meta.name}" if item.meta.namespace else f"{kind} {item.meta.name}"
    )
    kinds = _ANNOTATIONS.get(name)
    if kinds is None:
        near = get_close_matches(name, _ANNOTATIONS, 1, 0.8)
        fix = format_suggestion(near[0]) if near else ""
        yield codes.UNKNOWN_ANNOTATION.at(subject, path, f"{name[:120]!r} is no annotation of Istio's", fix)
    elif kinds and kind not in kinds:
        message = f"{name!r} is for {', '.join(sorted(kinds))}, not for {kind}"
        yield codes.MISPLACED_ANNOTATION.at(subject, path, message)
    elif name in _DEPRECATED:
        yield codes.DEPRECATED_ANNOTATION.at(subject, path, f"{name!r} is deprecated", _DEPRECATED[name])


def injection_labels(snapshot: Snapshot) -> Iterator[Finding]:
    """Namespaces that ask for sidecars, or sidecars and ambient mode, in more than one way."""
    for key, item in table_of(snapshot, Kind.NAMESPACE).items():
        injection = item.meta.labels.get("istio-injection")
        said = ["istio-injection"] if injection is not None else []
        if injection in (None, "enabled"):
            said += [name for name in ("istio.io/rev", "istio.io/dataplane-mode") if name in item.meta.labels]
        if len(said) > 1:
            message = f"has {' and '.join(said)}"
            yield codes.INJECTION_LABELS_CONFLICT.at(f"Namespace {key.name}", "metadata.labels", message)
