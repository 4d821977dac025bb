"""A finished xDS resource: bytes that are joined into responses as they are.

Version = content hash: the same content has the same version on every replica and across restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from istiod.resolve.specs.patch import PatchRef

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One named resource of one type, framed twice: for state-of-the-world and for delta responses.

    `sotw` is field 2 (`resources`) of a DiscoveryResponse, tag and length included; `delta` is field 2
    (`resources`) of a
    DeltaDiscoveryResponse. Both are joined with others behind a response header without being parsed again.
    `patches` are those of users that changed it.
    """

    name: str
    version: str
    sotw: bytes
    delta: bytes
    patches: frozenset[PatchRef] = frozenset()


# What one class of proxies gets: type URL -> name -> resource. Never changed after it was handed out.
Configuration = Mapping[str, Mapping[str, Resource]]


def frame_resource(type_url: str, name: str, body: bytes, patches: frozenset[PatchRef] = frozenset()) -> Resource:
    """Wrap the serialized message `body` of type `type_url` (field numbers: google.protobuf.Any,
    envoy.service.discovery.v3).
    """
    version = blake2b(body, digest_size=8).hexdigest()
    url = type_url.encode()
    packed = _field(1, url) + _field(2, body)  # Any.type_url, Any.value
    delta = (
        _field(3, name.encode()) + _field(1, version.encode()) + _field(2, packed)
    )  # Resource.name, .version, .resource
    return Resource(name, version, _field(2, packed), _field(2, delta), patches)


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """Base-128 varint of protobuf's wire format."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
