"""Makes a mesh: its root CA, the store's own CA and certificates, and the identity and users of the store.

Owns what is made once, and the renewal of what the store's server and the authority show. Admitting clusters is
`federation.authority`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from federation.etcd import Etcd, Options
from federation.keys import Layout
from federation.mesh_files import AuthorityFiles, MeshInfo
from federation.model.errors import Conflict, InvalidInput
from federation.model.findings import Finding, Severity
from federation.pki.bundle import load_authority, save_authority
from federation.pki.chain import read_certificates
from federation.pki.issue import make_root, pem_of, sign_server, sign_user
from federation.pki.keys import encode_key, generate_key
from federation.records import SCHEMA
from federation.runtime.atomic import write_atomic
from federation.schema import records_pb2 as pb

USER_TTL = timedelta(days=90)
SERVER_TTL = timedelta(days=365)


def init_files(files: AuthorityFiles, info: MeshInfo, server_names: Sequence[str]) -> bool:
    """Make the root CA, and the store's with its certificates, where there are none or they have passed half of their
    life; returns whether anything was made.
    """
    now = datetime.now(UTC)
    made = _make_authorities(files, info, now)
    store, _ = load_authority(files.store_ca)
    if _is_due(files.etcd_cert, now):
        made = True
        key = generate_key()
        write_atomic(files.etcd_cert, sign_user(store, key.public_key(), "root", USER_TTL, now), 0o644)
        write_atomic(files.etcd_key, encode_key(key))
    if _is_due(files.server_cert, now):
        made = True
        key = generate_key()
        names = tuple(dict.fromkeys((*server_names, "localhost", "127.0.0.1")))
        write_atomic(files.server_cert, sign_server(store, key.public_key(), names, SERVER_TTL, now), 0o644)
        write_atomic(files.server_key, encode_key(key))
    return made


def _is_due(certificate: Path, now: datetime) -> bool:
    """Whether a certificate is not there, or more than half of its life is over."""
    if not certificate.exists():
        return True
    known = read_certificates(certificate.read_bytes())[0]
    return now > known.not_valid_before_utc + (known.not_valid_after_utc - known.not_valid_before_utc) / 2


def _make_authorities(files: AuthorityFiles, info: MeshInfo, now: datetime) -> bool:
    if (files.root / "ca-key.pem").exists():
        known = files.info()
        if known.mesh != info.mesh:
            message = f"holds mesh {known.mesh!r}, not {info.mesh!r}"
            raise InvalidInput(
                [
                    Finding(
                        Severity.ERROR, "OtherMesh", f"Directory {files.directory}", "", message, "give another --dir"
                    )
                ]
            )
        return False
    files.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for directory, name in ((files.store_ca, f"{info.mesh} store"), (files.root, info.mesh)):
        root = make_root(name, now)
        pem = pem_of(root.certificate)
        save_authority(directory, pem, encode_key(root.key), pem, pem)
    files.save_info(info)
    return True


def connect(files: AuthorityFiles) -> Etcd:
    """The store as its root user."""
    return Etcd(Options(files.info().endpoints, files.store_root_cert, files.etcd_cert, files.etcd_key))


async def init_store(etcd: Etcd, mesh: str) -> bool:
    """Give an empty store its identity and switch authentication on; returns whether anything was done."""
    layout = Layout(mesh)
    made = False
    if await etcd.get(layout.meta) is None:
        meta = pb.StoreMeta(store_id=uuid.uuid4().hex, epoch=1, schema_min=SCHEMA, schema_max=SCHEMA, mesh=mesh)
        await etcd.create(layout.meta, meta.SerializeToString())
        made = True
    for step in (
        etcd.auth.add_role("root"),
        etcd.auth.add_user("root"),
        etcd.auth.grant_role("root", "root"),
    ):
        with suppress(Conflict):
            await step
    await etcd.auth.enable()
    return made
