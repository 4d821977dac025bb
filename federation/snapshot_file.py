"""The federation snapshot on disk: what was served of the peers, so that a restart needs neither store nor peer.

Format: one line `isthmus-federation <schema> <blake2b of the rest>`, then msgpack. An unreadable file is set aside
with its reason and never stops a start. Nothing secret is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec

from federation.model.findings import Finding, Severity
from federation.runtime.atomic import write_atomic
from federation.table import Raw

MAGIC = b"isthmus-federation"
SCHEMA = 1
MAX_BYTES = 1 << 30


class _File(msgspec.Struct, array_like=True):
    mesh: str
    store_id: str
    saved_unix: float
    peers: dict[str, dict[str, tuple[bytes, int]]]


@dataclass(frozen=True, slots=True)
class SavedFederation:
    """What a snapshot file held. `saved_unix` is wall-clock seconds at which it was true."""

    mesh: str
    store_id: str
    saved_unix: float
    peers: Mapping[str, Mapping[str, Raw]]


def save(path: Path, saved: SavedFederation) -> None:
    """Write the snapshot in one step, readable by the owner alone."""
    peers = {
        cluster: {key: (raw.value, raw.revision) for key, raw in records.items()}
        for cluster, records in saved.peers.items()
    }
    body = msgspec.msgpack.encode(_File(saved.mesh, saved.store_id, saved.saved_unix, peers))
    header = b"%s %d %s\n" % (MAGIC, SCHEMA, blake2b(body, digest_size=16).hexdigest().encode())
    write_atomic(path, header + body)


def load(path: Path, mesh: str) -> SavedFederation | Finding | None:
    """Read the snapshot; None if there is none, a Finding if it cannot be used (the file is then set aside as
    `.bad`).
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except FileNotFoundError:
        return None
    try:
        saved = _decode(content)
        if saved.mesh != mesh:
            raise ValueError(f"it is of mesh {saved.mesh!r}")
    except ValueError as wrong:
        aside = path.with_name(path.name + ".bad")
        path.replace(aside)
        return Finding(
            Severity.WARNING,
            "SnapshotUnreadable",
            f"File {path}",
            "",
            f"{wrong}; set aside as {aside.name}",
            "nothing is to be done: peers are read from the store",
        )
    return saved


def _decode(content: bytes) -> SavedFederation:
    header, newline, body = content.partition(b"\n")
    parts = header.split(b" ")
    if not newline or len(parts) != 3 or parts[0] != MAGIC:
        raise ValueError("not a federation snapshot")
    if parts[1] != b"%d" % SCHEMA:
        raise ValueError(f"schema {parts[1].decode(errors='replace')} is not {SCHEMA}")
    if blake2b(body, digest_size=16).hexdigest().encode() != parts[2]:
        raise ValueError("checksum mismatch: the file is damaged or cut short")
    try:
        file = msgspec.msgpack.decode(body, type=_File)
    except msgspec.DecodeError as wrong:
        raise ValueError(str(wrong)) from wrong
    peers = {cluster: {key: Raw(*raw) for key, raw in records.items()} for cluster, records in file.peers.items()}
    return SavedFederation(file.mesh, file.store_id, file.saved_unix, peers)
