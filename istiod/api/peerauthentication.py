"""PeerAuthentication: whether a workload insists on mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from federation.model.findings import Severity
from istiod.api.fields import Model, PolicySelector
from istiod.api.problems import Problem


class Mode(StrEnum):
    """UNSET inherits."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class MutualTLS(Model):
    """The mode."""

    mode: Mode = Mode.UNSET


class PeerAuthentication(Model):
    """security.istio.io PeerAuthentication. `port_level_mtls` is keyed by the workload's port."""

    selector: PolicySelector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: dict[int, MutualTLS] = {}


def validate(policy: PeerAuthentication) -> Iterator[Problem]:
    """Istio's rules for PeerAuthentication beyond types."""
    selects = policy.selector is not None and bool(policy.selector.all_labels)
    if policy.port_level_mtls and not selects:
        yield Problem("spec.portLevelMtls", "is given without a selector", "select workloads, or use mtls")
    elif not policy.port_level_mtls and "port_level_mtls" in policy.model_fields_set:
        yield Problem("spec.portLevelMtls", "is empty", "name a port, or remove it")
    if policy.selector is not None and not selects:
        message, fix = "has no labels, so the policy is for the whole namespace", "name labels, or remove it"
        yield Problem("spec.selector", message, fix, severity=Severity.WARNING)
    for key, value in policy.selector.all_labels.items() if policy.selector is not None else ():
        if not key or "*" in key or "*" in value:
            path = f"spec.selector.matchLabels.{key[:100]}"
            yield Problem(path, "has a wildcard or no key, which labels do not know", "name the label and its value")
    for port in policy.port_level_mtls:
        if not 1 <= port <= 65535:
            yield Problem(f"spec.portLevelMtls[{port}]", "is no port", "use 1 to 65535")
