"""TCPRoute: where connections of a port go."""

from __future__ import annotations

from collections.abc import Iterator

from istiod.api.fields import Model
from istiod.api.gatewayapi.references import ParentReference, check_parents
from istiod.api.gatewayapi.tlsroute import BytesRule, check_bytes_rules
from istiod.api.problems import Problem


class TCPRoute(Model):
    """gateway.networking.k8s.io TCPRoute."""

    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: str = ""
    rules: tuple[BytesRule, ...]


def validate(route: TCPRoute) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    yield from check_parents(route.parent_refs)
    yield from check_bytes_rules(route.rules)
