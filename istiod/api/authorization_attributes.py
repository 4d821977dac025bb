"""The attributes that a condition of an AuthorizationPolicy tests (`request.headers[x-user]`, `source.ip`). Pure.

Rules: Istio's "Authorization Policy Conditions". Shared by validation and resolution, so that no key is valid for the
one and unknown to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Attribute(StrEnum):
    """What is tested. Those of a family have a name in brackets behind them."""

    SOURCE_IP = "source.ip"
    REMOTE_IP = "remote.ip"
    NAMESPACE = "source.namespace"
    SERVICE_ACCOUNT = "source.serviceAccount"
    PRINCIPAL = "source.principal"
    TRUST_DOMAIN = "source.trustDomain"
    REQUEST_PRINCIPAL = "request.auth.principal"
    AUDIENCES = "request.auth.audiences"
    PRESENTER = "request.auth.presenter"
    DESTINATION_IP = "destination.ip"
    DESTINATION_PORT = "destination.port"
    SNI = "connection.sni"
    HEADER = "request.headers"
    INLINE_HEADER = "request.experimental.inline.headers"
    CLAIM = "request.auth.claims"
    FILTER = "experimental.envoy.filters."


_FAMILIES = (Attribute.HEADER, Attribute.INLINE_HEADER, Attribute.CLAIM)
# What older versions of the API had, and what took its place.
REPLACED = {
    "destination.namespace": "the policy's own namespace",
    "destination.labels": "spec.selector",
    "destination.name": "spec.selector",
    "destination.user": "spec.selector",
}


@dataclass(frozen=True, slots=True)
class AttributeKey:
    """A key in parts: the names in brackets, outermost first; a filter's own name comes before them."""

    attribute: Attribute
    names: tuple[str, ...] = ()


def parse_key(key: str) -> AttributeKey | None:
    """What a key means; None if it means nothing."""
    stem, bracket, rest = key.partition("[")
    if not bracket:
        known = Attribute.__members__.values()
        found = next((item for item in known if item == key), None)
        return AttributeKey(found) if found is not None and found not in (*_FAMILIES, Attribute.FILTER) else None
    inside = rest.removesuffix("]")
    if inside == rest or not inside:
        return None
    if stem.startswith(Attribute.FILTER) and stem != Attribute.FILTER:
        return AttributeKey(Attribute.FILTER, (stem.removeprefix("experimental."), inside))
    family = next((item for item in _FAMILIES if item == stem), None)
    if family is None:
        return None
    return AttributeKey(family, _nested(inside) if family is Attribute.CLAIM else (inside,))


def _nested(inside: str) -> tuple[str, ...]:
    """`a][b` are two claims, one in the other; anything else with brackets is one claim with an odd name."""
    names = tuple(inside.split("]["))
    return names if all(name and "[" not in name and "]" not in name for name in names) else (inside,)
