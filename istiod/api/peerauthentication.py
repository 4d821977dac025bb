"""PeerAuthentication: whether a workload insists on mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

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
    for port in policy.port_level_mtls:
        if not 1 <= port <= 65535:
            yield Problem(f"spec.portLevelMtls[{port}]", "is no port", "use 1 to 65535")
