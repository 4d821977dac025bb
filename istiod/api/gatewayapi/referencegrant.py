"""ReferenceGrant: who in other namespaces may refer to objects of this one."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from istiod.api.fields import Model
from istiod.api.gatewayapi.references import check_length, check_namespace, check_object_name
from istiod.api.problems import Problem


class GrantFrom(Model):
    """A kind of objects in a namespace, which may refer."""

    group: str
    kind: str
    namespace: str


class GrantTo(Model):
    """A kind of objects, or one of them, that may be referred to."""

    group: str
    kind: str
    name: str | None = None


class ReferenceGrant(Model):
    """gateway.networking.k8s.io ReferenceGrant."""

    from_: tuple[GrantFrom, ...] = Field(alias="from")
    to: tuple[GrantTo, ...]


def validate(grant: ReferenceGrant) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    yield from check_length(grant.from_, 16, "spec.from", 1)
    yield from check_length(grant.to, 16, "spec.to", 1)
    for index, source in enumerate(grant.from_):
        if not source.kind:
            yield Problem(f"spec.from[{index}].kind", "is empty", "name a kind")
        if not source.namespace:
            yield Problem(f"spec.from[{index}].namespace", "is empty", "name a namespace")
        yield from check_namespace(source.namespace, f"spec.from[{index}].namespace")
    for index, target in enumerate(grant.to):
        if not target.kind:
            yield Problem(f"spec.to[{index}].kind", "is empty", "name a kind")
        if target.name is not None:
            yield from check_object_name(target.name, f"spec.to[{index}].name")
