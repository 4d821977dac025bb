"""Where everything of one lab lies: `$ISTHMUS_LAB_DIR/<name>` (default `~/.local/state/isthmus/lab/<name>`). Owns
names only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from federation.lab.topology import Node
from federation.mesh_files import AuthorityFiles, ClusterFiles

MAX_SOCKET_PATH = 107  # sun_path, see unix(7)


def labs_directory() -> Path:
    """Where labs lie."""
    said = os.environ.get("ISTHMUS_LAB_DIR")
    return Path(said).absolute() if said else Path.home() / ".local/state/isthmus/lab"


@dataclass(frozen=True, slots=True)
class LabFiles:
    """The files of one lab."""

    directory: Path

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.directory.name

    @property
    def prefix(self) -> str:
        """How the names of all its namespaces begin; no other directory's lab has the same."""
        return f"isthmus-{blake2b(str(self.directory.resolve()).encode(), digest_size=4).hexdigest()}-{self.name}-"

    @property
    def journal(self) -> Path:
        """What was made."""
        return self.directory / "journal.jsonl"

    @property
    def authority(self) -> AuthorityFiles:
        """The mesh's root and the store's certificates."""
        return AuthorityFiles(self.directory / "mesh")

    @property
    def example(self) -> Path:
        """The files of the example that the lab was started with."""
        return self.directory / "example"

    def member(self, cluster: str) -> ClusterFiles:
        """A cluster's membership."""
        return ClusterFiles(self.cluster(cluster) / "member")

    def cluster(self, name: str) -> Path:
        """Everything of one cluster."""
        return self.directory / "clusters" / name

    def config_dir(self, cluster: str) -> Path:
        """The objects that its istiod reads; more may be put there at any time."""
        return self.cluster(cluster) / "config"

    def state(self, node: Node) -> Path:
        """What a control plane or gateway keeps between restarts."""
        return self.directory / "state" / node.slug

    def http_socket(self, node: Node) -> Path:
        """Where a control plane answers this user, from outside of its network."""
        return self.state(node) / "http.sock"

    def token_key(self, cluster: str) -> Path:
        """The public key of the cluster's workload tokens."""
        return self.cluster(cluster) / "workload-token-key.pem"

    def names(self, cluster: str) -> Path:
        """Names that the cluster's name server knows by itself."""
        return self.cluster(cluster) / "names.json"

    def resolver(self, cluster: str) -> Path:
        """The resolv.conf of the cluster's pods."""
        return self.cluster(cluster) / "resolv.conf"

    def pod(self, node: Node) -> Path:
        """Bootstrap, token and admin socket of a node's proxy."""
        return self.directory / "pods" / node.slug

    def token(self, node: Node) -> Path:
        """The workload token of a node."""
        return self.pod(node) / "token"

    def admin_socket(self, node: Node) -> Path:
        """The admin socket of a node's proxy."""
        return self.pod(node) / "admin.sock"

    @property
    def store(self) -> Path:
        """The data of etcd."""
        return self.directory / "etcd"

    def log(self, key: str) -> Path:
        """The log of a process."""
        return self.directory / "logs" / (key.replace("/", "-").replace(":", "-") + ".log")
