"""What a policy is attached to: workloads by labels, or objects by reference. Rules: Istio's policy attachment.

Shared by the security kinds, Telemetry, EnvoyFilter and ProxyConfig; which proxies that means is decided in
`istiod.resolve.attachment`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from federation.model.findings import Severity
from istiod.api.fields import Model, PolicySelector
from istiod.api.problems import Problem

MAX_TARGETS = 16
TARGETS = {
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("networking.istio.io", "ServiceEntry"),
    ("", "Service"),
    ("core", "Service"),
}


class PolicyTargetReference(Model):
    """An object that a policy is for: a Gateway, a GatewayClass, a Service or a ServiceEntry."""

    group: str = ""
    kind: str
    name: str
    namespace: str = ""


class Attached(Protocol):
    """The fields that say what a policy is for; none of them = its whole namespace, in the root namespace all."""

    @property
    def selector(self) -> PolicySelector | None:
        """Workloads by labels."""

    @property
    def target_ref(self) -> PolicyTargetReference | None:
        """One object."""

    @property
    def target_refs(self) -> tuple[PolicyTargetReference, ...]:
        """Several objects."""


def check_attachment(policy: Attached) -> Iterator[Problem]:
    """At most one of the three ways; references to kinds that policies can be attached to, in the same namespace."""
    given = [
        name
        for name, said in (
            ("selector", policy.selector is not None),
            ("targetRef", policy.target_ref),
            ("targetRefs", policy.target_refs),
        )
        if said
    ]
    if len(given) > 1:
        yield Problem("spec", f"has {' and '.join(given)}", "keep one of them")
    if policy.selector is not None:
        yield from _check_labels(policy.selector.all_labels, "spec.selector.matchLabels")
    if len(policy.target_refs) > MAX_TARGETS:
        yield Problem("spec.targetRefs", f"has more than {MAX_TARGETS} entries", "write several policies")
    if policy.target_ref is not None:
        yield from _check_reference(policy.target_ref, "spec.targetRef")
    for index, reference in enumerate(policy.target_refs):
        yield from _check_reference(reference, f"spec.targetRefs[{index}]")


def _check_labels(labels: dict[str, str], path: str) -> Iterator[Problem]:
    for key, value in labels.items():
        if not key:
            yield Problem(path, "has an empty key", "name a label")
        if "*" in key or "*" in value:
            yield Problem(f"{path}.{key}", "has a wildcard, which labels do not know", "name the value")


def _check_reference(reference: PolicyTargetReference, path: str) -> Iterator[Problem]:
    if (reference.group, reference.kind) not in TARGETS:
        kind = f"{reference.group}/{reference.kind}".lstrip("/")[:100]
        yield Problem(f"{path}.kind", f"{kind!r} takes no policies", "refer to a Gateway, Service or ServiceEntry")
    elif reference.kind != "Gateway":
        message = f"a {reference.kind} takes policies at a waypoint, and there are none: the policy does nothing for it"
        fix = "select the workloads of the service, or refer to a Gateway"
        yield Problem(f"{path}.kind", message, fix, "FieldNotSupported", Severity.WARNING)
    if not reference.name:
        yield Problem(f"{path}.name", "is empty", "name the object")
    if reference.namespace:
        yield Problem(f"{path}.namespace", "is given", "remove it: a policy stands in the namespace of what it is for")
