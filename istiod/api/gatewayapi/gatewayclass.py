"""GatewayClass: which controller serves the Gateways of a class."""

from __future__ import annotations

import re
from collections.abc import Iterator

from istiod.api.fields import Model
from istiod.api.gatewayapi.references import ObjectReference, check_namespace, check_object_name
from istiod.api.problems import Problem

_CONTROLLER = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
)
MAX_DESCRIPTION = 64


class GatewayClass(Model):
    """gateway.networking.k8s.io GatewayClass."""

    controller_name: str
    parameters_ref: ObjectReference | None = None
    description: str | None = None


def validate(kind: GatewayClass) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    if len(kind.controller_name) > 253 or not _CONTROLLER.fullmatch(kind.controller_name):
        message = f"{kind.controller_name[:80]!r} is no name of a controller"
        yield Problem("spec.controllerName", message, "write domain/path, e.g. istio.io/gateway-controller")
    if kind.description is not None and len(kind.description) > MAX_DESCRIPTION:
        yield Problem("spec.description", f"has {len(kind.description)} characters", f"keep at most {MAX_DESCRIPTION}")
    if kind.parameters_ref is not None:
        reference = kind.parameters_ref
        if not reference.kind:
            yield Problem("spec.parametersRef.kind", "is empty", "name a kind")
        yield from check_object_name(reference.name, "spec.parametersRef.name")
        yield from check_namespace(reference.namespace, "spec.parametersRef.namespace")
