"""The layout of keys in the shared store: `parse(format(key)) == key`, and who may write what.

Owns the text of keys alone; the records behind them are `federation.records`. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROOT = "/isthmus"
VERSION = "v1"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """Registration of a cluster: `clusters/<cluster>`, written by the authority."""

    cluster: str


@dataclass(frozen=True, slots=True)
class HeartbeatKey:
    """`c/<cluster>/heartbeat`."""

    cluster: str


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """`c/<cluster>/gateways/<id>`."""

    cluster: str
    id: str


@dataclass(frozen=True, slots=True)
class ServiceRecordKey:
    """`c/<cluster>/services/<namespace>/<name>`."""

    cluster: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class EndpointsKey:
    """`c/<cluster>/endpoints/<namespace>/<name>/<slice>`."""

    cluster: str
    namespace: str
    name: str
    slice: str


@dataclass(frozen=True, slots=True)
class EntryKey:
    """`c/<cluster>/entries/<namespace>/<name>`: an exported ServiceEntry host."""

    cluster: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class CompleteKey:
    """`c/<cluster>/complete`."""

    cluster: str


@dataclass(frozen=True, slots=True)
class ViewKey:
    """`c/<cluster>/view/<peer>`."""

    cluster: str
    peer: str


Key = ClusterKey | HeartbeatKey | GatewayKey | ServiceRecordKey | EndpointsKey | EntryKey | CompleteKey | ViewKey


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one mesh."""

    mesh: str

    @property
    def base(self) -> str:
        """Prefix of everything of this mesh, with a trailing slash."""
        return f"{ROOT}/{self.mesh}/{VERSION}/"

    @property
    def meta(self) -> str:
        """Key of the store's identity."""
        return f"{self.base}meta"

    @property
    def bundle(self) -> str:
        """Key of the roots in force."""
        return f"{self.base}trust/bundle"

    @property
    def clusters(self) -> str:
        """Prefix of all registrations."""
        return f"{self.base}clusters/"

    @property
    def exports(self) -> str:
        """Prefix of what all clusters write."""
        return f"{self.base}c/"

    @property
    def joins(self) -> str:
        """Prefix of join tokens, requests and answers: beside what members may read."""
        return f"{ROOT}/{self.mesh}/join/"

    def owned_by(self, cluster: str) -> str:
        """The prefix that only this cluster's credential may write."""
        return f"{self.exports}{cluster}/"

    def format(self, key: Key) -> str:
        """The store's text of a key."""
        match key:
            case ClusterKey(cluster):
                return f"{self.clusters}{cluster}"
            case HeartbeatKey(cluster):
                return f"{self.exports}{cluster}/heartbeat"
            case GatewayKey(cluster, gateway):
                return f"{self.exports}{cluster}/gateways/{gateway}"
            case ServiceRecordKey(cluster, namespace, name):
                return f"{self.exports}{cluster}/services/{namespace}/{name}"
            case EndpointsKey(cluster, namespace, name, part):
                return f"{self.exports}{cluster}/endpoints/{namespace}/{name}/{part}"
            case EntryKey(cluster, namespace, name):
                return f"{self.exports}{cluster}/entries/{namespace}/{name}"
            case CompleteKey(cluster):
                return f"{self.exports}{cluster}/complete"
            case ViewKey(cluster, peer):
                return f"{self.exports}{cluster}/view/{peer}"

    def parse(self, text: str) -> Key:
        """Read a key of this mesh; raises ValueError that quotes what is not one."""
        if not text.startswith(self.base):
            raise ValueError(f"{text[:300]!r} is not below {self.base}")
        parts = text[len(self.base) :].split("/")
        if not all(_NAME.fullmatch(part) for part in parts):
            raise ValueError(f"{text[:300]!r} has a part that is no lower-case DNS name")
        match parts:
            case ["clusters", cluster]:
                return ClusterKey(cluster)
            case ["c", cluster, "heartbeat"]:
                return HeartbeatKey(cluster)
            case ["c", cluster, "complete"]:
                return CompleteKey(cluster)
            case ["c", cluster, "gateways", gateway]:
                return GatewayKey(cluster, gateway)
            case ["c", cluster, "view", peer]:
                return ViewKey(cluster, peer)
            case ["c", cluster, "services", namespace, name]:
                return ServiceRecordKey(cluster, namespace, name)
            case ["c", cluster, "entries", namespace, name]:
                return EntryKey(cluster, namespace, name)
            case ["c", cluster, "endpoints", namespace, name, part]:
                return EndpointsKey(cluster, namespace, name, part)
        raise ValueError(f"{text[:300]!r} is no key of the layout {VERSION}")
