"""The new cluster's side of joining: makes its keys, asks with the token, and keeps what it is given.

A shell around `federation.join`. Keys are made here and stay here; files are written only when the answer is yes.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress

import msgspec

from federation.etcd import Etcd, Options, Watched
from federation.join import JoinAnswer, JoinRequest, JoinToken, answer_key, request_key
from federation.keys import Layout
from federation.mesh_files import ClusterFiles, ClusterInfo
from federation.model.errors import Conflict, Denied, InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from federation.pki.bundle import save_authority
from federation.pki.csr import make_csr
from federation.pki.keys import decode_key, encode_key, generate_key
from federation.records import SCHEMA
from federation.runtime.atomic import write_atomic

USED_ALREADY = "the token was used already: a token admits one cluster once; create a new one"


class _Keys(msgspec.Struct, frozen=True):
    """What a join makes before it asks; kept on disk until the answer is there, which may take a human."""

    token: str
    uid: str
    ca: bytes
    store: bytes
    gateway: bytes


async def join(token: JoinToken, files: ClusterFiles, version: str) -> ClusterInfo:
    """Join the mesh of the token; returns when this cluster is a member.

    A member that joins again, under its own name, gets new keys and certificates. Who was interrupted while it waited
    for the answer goes on waiting with the same token. Raises InvalidInput with everything that stands against it,
    Denied if the token no longer opens the store.
    """
    pending = _pending(token, files)
    _check_here(token, files)
    keys = pending or _new_keys(token, files)
    try:
        answer = await _ask(token, _request(token, keys, version), resumed=pending is not None)
    except Denied:
        _forget_pending(files)
        raise
    if not answer.accepted:
        _forget_pending(files)
        raise InvalidInput(
            [
                Finding(Severity.ERROR, "JoinRefused", f"Cluster {token.cluster}", *problem)
                for problem in answer.problems
            ]
        )
    _save(files, keys, answer)
    info = ClusterInfo(
        token.mesh, token.cluster, keys.uid, token.network, token.region, token.trust_domain, token.endpoints
    )
    files.save_info(info)
    _forget_pending(files)
    return info


def _forget_pending(files: ClusterFiles) -> None:
    """There is nothing to wait for any more. A directory that was made for it alone goes too."""
    files.pending.unlink(missing_ok=True)
    with suppress(OSError):
        files.directory.rmdir()


def _new_keys(token: JoinToken, files: ClusterFiles) -> _Keys:
    ca, store, gateway = (encode_key(generate_key()) for _ in range(3))
    uid = files.info().uid if files.is_member else uuid.uuid4().hex
    keys = _Keys(token.id, uid, ca, store, gateway)
    write_atomic(files.pending, msgspec.json.encode(keys))
    return keys


def _pending(token: JoinToken, files: ClusterFiles) -> _Keys | None:
    """The keys of an interrupted join with this very token."""
    try:
        keys = msgspec.json.decode(files.pending.read_bytes(), type=_Keys)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return keys if keys.token == token.id else None


def _request(token: JoinToken, keys: _Keys, version: str) -> JoinRequest:
    return JoinRequest(
        token=token.id,
        cluster=token.cluster,
        uid=keys.uid,
        network=token.network,
        region=token.region,
        trust_domain=token.trust_domain,
        intermediate_csr=make_csr(decode_key(keys.ca), f"{token.cluster} intermediate"),
        etcd_csr=make_csr(decode_key(keys.store), f"cluster-{token.cluster}"),
        gateway_csr=make_csr(decode_key(keys.gateway), f"gateway-{token.cluster}"),
        sent=time.time(),
        schema_min=SCHEMA,
        schema_max=SCHEMA,
        version=version,
    )


def _save(files: ClusterFiles, keys: _Keys, answer: JoinAnswer) -> None:
    """Certificates before keys, so that nobody who reads in between has a key without its certificate."""
    save_authority(files.ca, answer.intermediate_pem, keys.ca, answer.intermediate_pem, answer.roots_pem)
    write_atomic(files.etcd_ca, answer.store_roots_pem, 0o644)
    for certificate, pem, secret, key in (
        (files.etcd_cert, answer.etcd_pem, files.etcd_key, keys.store),
        (files.gateway_cert, answer.gateway_pem, files.gateway_key, keys.gateway),
    ):
        write_atomic(certificate, pem, 0o644)
        write_atomic(secret, key)


async def check_join(token: JoinToken, files: ClusterFiles) -> None:
    """Say now what would stand against joining, as far as it can be known without using the token up.

    Raises InvalidInput; Denied if the token was used or revoked; Unavailable.
    """
    _check_here(token, files)
    layout = Layout(token.mesh)
    async with Etcd(Options(token.endpoints, token.store_root_pem, token.certificate_pem, token.key_pem)) as etcd:
        await etcd.get(layout.meta)
        if (await etcd.range(answer_key(layout, token.id))).kvs:
            raise Denied(USED_ALREADY)


def _check_here(token: JoinToken, files: ClusterFiles) -> None:
    findings = []
    if files.is_member and (known := files.info()) and (known.mesh, known.cluster) != (token.mesh, token.cluster):
        message = f"is {known.cluster!r} of mesh {known.mesh!r}, the token is for {token.cluster!r} of {token.mesh!r}"
        fix = "give another --dir"
        findings.append(Finding(Severity.ERROR, "AlreadyMember", f"Directory {files.directory}", "", message, fix))
    if time.time() > token.expires:
        late = int(time.time() - token.expires)
        findings.append(
            Finding(Severity.ERROR, "TokenExpired", "Join token", "", f"ran out {late} s ago", "create a new one")
        )
    if findings:
        raise InvalidInput(findings)


async def _ask(token: JoinToken, request: JoinRequest, resumed: bool) -> JoinAnswer:
    layout = Layout(token.mesh)
    options = Options(token.endpoints, token.store_root_pem, token.certificate_pem, token.key_pem)
    async with Etcd(options) as etcd:
        try:
            await etcd.create(request_key(layout, token.id), msgspec.msgpack.encode(request))
        except Conflict:
            if not resumed:
                raise Denied(USED_ALREADY) from None
        except Denied as denied:
            raise Denied(f"the store refuses the token, it was revoked or used: {denied}") from denied
        key = answer_key(layout, token.id)
        known = await etcd.range(key)
        if known.kvs:
            return msgspec.msgpack.decode(known.kvs[0].value, type=JoinAnswer)
        async for batch in etcd.watch(key, known.revision + 1, single_key=True):
            for event in batch.events if isinstance(batch, Watched) else ():
                return msgspec.msgpack.decode(event.kv.value, type=JoinAnswer)
    raise Unavailable("the store ended the watch for the answer")
