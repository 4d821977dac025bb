"""Where a mesh's own files lie: the authority's directory, made by `isthmus init`, and a cluster's, made by
`cluster join`.

Owns names and modes. Keys are 0600; nothing here is written to the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.runtime.atomic import write_atomic

S = TypeVar("S", bound=msgspec.Struct)


class MeshInfo(msgspec.Struct, frozen=True):
    """What every command of the authority must know: `mesh.json`."""

    mesh: str
    endpoints: tuple[str, ...]


class ClusterInfo(msgspec.Struct, frozen=True):
    """What a member knows of itself: `cluster.json`."""

    mesh: str
    cluster: str
    uid: str
    network: str
    region: str
    trust_domain: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    """The directory of the mesh's authority."""

    directory: Path

    @property
    def root(self) -> Path:
        """The root CA, with Istio's file names."""
        return self.directory / "root"

    @property
    def root_cert(self) -> Path:
        """The root certificate."""
        return self.root / "root-cert.pem"

    @property
    def store_ca(self) -> Path:
        """The CA of the store's server and users. Another one than the mesh's: to the store a name is a right, and
        whoever holds a cluster's CA can sign any common name below the mesh's root.
        """
        return self.directory / "etcd" / "ca"

    @property
    def store_root_cert(self) -> Path:
        """What the store's server and its users are verified against."""
        return self.store_ca / "root-cert.pem"

    @property
    def etcd_cert(self) -> Path:
        """The authority's own certificate for the store (user root)."""
        return self.directory / "etcd" / "root-user.pem"

    @property
    def etcd_key(self) -> Path:
        """Its key."""
        return self.directory / "etcd" / "root-user-key.pem"

    @property
    def server_cert(self) -> Path:
        """The store's server certificate."""
        return self.directory / "etcd" / "server.pem"

    @property
    def server_key(self) -> Path:
        """Its key."""
        return self.directory / "etcd" / "server-key.pem"

    def info(self) -> MeshInfo:
        """The mesh; raises InvalidInput that says how to make one."""
        return _read(self.directory / "mesh.json", MeshInfo, "run `isthmus init` first, or give --dir")

    def save_info(self, info: MeshInfo) -> None:
        """Write `mesh.json`."""
        write_atomic(self.directory / "mesh.json", msgspec.json.encode(info), 0o644)


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """The directory of a member cluster."""

    directory: Path

    @property
    def ca(self) -> Path:
        """Its intermediate CA, with Istio's file names: `istiod run --ca-dir`."""
        return self.directory / "ca"

    @property
    def etcd_ca(self) -> Path:
        """The root that the store's certificate is verified against."""
        return self.directory / "etcd" / "ca.pem"

    @property
    def etcd_cert(self) -> Path:
        """Its certificate for the store."""
        return self.directory / "etcd" / "client.pem"

    @property
    def etcd_key(self) -> Path:
        """Its key."""
        return self.directory / "etcd" / "client-key.pem"

    @property
    def gateway_cert(self) -> Path:
        """Its gateways' certificate for the store, which may write their announcements and nothing else."""
        return self.directory / "etcd" / "gateway.pem"

    @property
    def gateway_key(self) -> Path:
        """Its key."""
        return self.directory / "etcd" / "gateway-key.pem"

    @property
    def pending(self) -> Path:
        """Keys of a join that waits for its answer."""
        return self.directory / "pending.json"

    @property
    def is_member(self) -> bool:
        """Whether a cluster has joined with this directory."""
        return (self.directory / "cluster.json").exists()

    def info(self) -> ClusterInfo:
        """The membership; raises InvalidInput that says how to join."""
        return _read(self.directory / "cluster.json", ClusterInfo, "run `isthmus cluster join` first, or give --dir")

    def save_info(self, info: ClusterInfo) -> None:
        """Write `cluster.json`."""
        write_atomic(self.directory / "cluster.json", msgspec.json.encode(info), 0o644)


def _read(path: Path, kind: type[S], fix: str) -> S:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        message = "does not exist"
    except (OSError, msgspec.DecodeError) as wrong:
        message = str(wrong)
    raise InvalidInput([Finding(Severity.ERROR, "NotInitialised", f"File {path}", "", message, fix)])
