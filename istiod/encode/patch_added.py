"""Patches that are resources of their own: added listeners and upstreams, and extension configurations (ECDS)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from istiod.api.envoyfilter import ApplyTo
from istiod.encode.cache import encoded
from istiod.encode.patch import value_of
from istiod.encode.resource import CLUSTER, EXTENSION, LISTENER, Resource, frame_resource
from istiod.resolve.specs.patch import PatchSpec

_TYPES = {ApplyTo.CLUSTER: CLUSTER, ApplyTo.LISTENER: LISTENER, ApplyTo.EXTENSION_CONFIG: EXTENSION}


def added_resources(patches: Iterable[PatchSpec]) -> Iterator[tuple[str, Resource]]:
    """Type URL and resource of each patch whose value can be read."""
    for patch in patches:
        if value_of(patch).message is not None:
            yield _TYPES[patch.apply_to], _encode(patch)


@encoded(1_000)
def _encode(patch: PatchSpec) -> Resource:
    message = value_of(patch).message
    assert message is not None
    name: str = message.name  # type: ignore[attr-defined]
    body = message.SerializeToString(deterministic=True)
    return frame_resource(_TYPES[patch.apply_to], name, body, frozenset({patch.ref}))
