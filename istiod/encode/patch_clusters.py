"""Patches of upstreams, which `istiod.resolve.patches` has found to be for them.

The rule of its own here is Istio's for transport sockets: a socket of the same name is merged inside, wherever the
upstream has it; another one is taken whole, but never beside sockets that are chosen by endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import TransportSocket

from istiod.api.envoyfilter import Operation
from istiod.encode.patch import value_of
from istiod.encode.patch_merge import merge
from istiod.resolve.specs.patch import PatchRef, PatchSpec


def patch_cluster(cluster: Cluster, patches: Iterable[PatchSpec]) -> frozenset[PatchRef]:
    """Merge patches into an upstream; tells which did something."""
    done: set[PatchRef] = set()
    for patch in patches:
        value = value_of(patch).message
        if isinstance(value, Cluster):
            _merge(cluster, value, patch.operation is Operation.MERGE_AND_REPLACE_LIST)
            done.add(patch.ref)
    return frozenset(done)


def _merge(cluster: Cluster, value: Cluster, replace_lists: bool) -> None:
    rest = Cluster()
    rest.CopyFrom(value)
    if value.HasField("transport_socket"):
        rest.ClearField("transport_socket")
        _merge_socket(cluster, value.transport_socket, replace_lists)
    merge(cluster, rest, replace_lists)


def _merge_socket(cluster: Cluster, socket: TransportSocket, replace_lists: bool) -> None:
    if cluster.transport_socket_matches:
        for match in cluster.transport_socket_matches:
            if match.transport_socket.name == socket.name:
                merge(match.transport_socket, socket, replace_lists)
                return
    elif cluster.transport_socket.name == socket.name:
        merge(cluster.transport_socket, socket, replace_lists)
    else:
        cluster.transport_socket.CopyFrom(socket)
