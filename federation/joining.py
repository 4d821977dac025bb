"""The new cluster's side of joining: makes its keys, asks with the token, and keeps what it is given.

A shell around `federation.join`. Keys are made here and stay here; files are written only when the answer is yes.
"""

from __future__ import annotations

import time
import uuid

import msgspec

from federation.etcd import Etcd, Options, Watched
from federation.join import JoinAnswer, JoinRequest, JoinToken, answer_key, request_key
from federation.keys import Layout
from federation.mesh_files import ClusterFiles, ClusterInfo
from federation.model.errors import Conflict, Denied, InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from federation.pki.bundle import save_authority
from federation.pki.csr import make_csr
from federation.pki.keys import encode_key, generate_key
from federation.records import SCHEMA
from federation.runtime.atomic import write_atomic


async def join(token: JoinToken, files: ClusterFiles, version: str) -> ClusterInfo:
    """Join the mesh of the token; returns when this cluster is a member.

    Raises InvalidInput with everything that stands against it, Denied if the token no longer opens the store.
    """
    _check_here(token, files)
    ca_key, user_key = generate_key(), generate_key()
    uid = uuid.uuid4().hex
    request = JoinRequest(
        token=token.id,
        cluster=token.cluster,
        uid=uid,
        network=token.network,
        region=token.region,
        trust_domain=token.trust_domain,
        intermediate_csr=make_csr(ca_key, f"{token.cluster} intermediate"),
        etcd_csr=make_csr(user_key, f"cluster-{token.cluster}"),
        sent=time.time(),
        schema_min=SCHEMA,
        schema_max=SCHEMA,
        version=version,
    )
    answer = await _ask(token, request)
    if not answer.accepted:
        raise InvalidInput(
            [
                Finding(Severity.ERROR, "JoinRefused", f"Cluster {token.cluster}", *problem)
                for problem in answer.problems
            ]
        )
    chain = answer.intermediate_pem
    save_authority(files.ca, answer.intermediate_pem, encode_key(ca_key), chain, answer.roots_pem)
    write_atomic(files.etcd_ca, answer.roots_pem, 0o644)
    write_atomic(files.etcd_cert, answer.etcd_pem, 0o644)
    write_atomic(files.etcd_key, encode_key(user_key))
    info = ClusterInfo(token.mesh, token.cluster, uid, token.network, token.region, token.trust_domain, token.endpoints)
    files.save_info(info)
    return info


async def check_join(token: JoinToken, files: ClusterFiles) -> None:
    """Say now what would stand against joining, as far as it can be known without using the token up.

    Raises InvalidInput; Denied if the token was used or revoked; Unavailable.
    """
    _check_here(token, files)
    layout = Layout(token.mesh)
    async with Etcd(Options(token.endpoints, token.root_pem, token.certificate_pem, token.key_pem)) as etcd:
        await etcd.get(layout.meta)
        if (await etcd.range(answer_key(layout, token.id))).kvs:
            raise Denied("the token was used already: a token admits one cluster once; create a new one")


def _check_here(token: JoinToken, files: ClusterFiles) -> None:
    findings = []
    if (files.directory / "cluster.json").exists():
        message = f"is already a member of mesh {files.info().mesh!r}"
        fix = "leave first, or give another --dir"
        findings.append(Finding(Severity.ERROR, "AlreadyMember", f"Directory {files.directory}", "", message, fix))
    if time.time() > token.expires:
        late = int(time.time() - token.expires)
        findings.append(
            Finding(Severity.ERROR, "TokenExpired", "Join token", "", f"ran out {late} s ago", "create a new one")
        )
    if findings:
        raise InvalidInput(findings)


async def _ask(token: JoinToken, request: JoinRequest) -> JoinAnswer:
    layout = Layout(token.mesh)
    options = Options(token.endpoints, token.root_pem, token.certificate_pem, token.key_pem)
    async with Etcd(options) as etcd:
        try:
            await etcd.create(request_key(layout, token.id), msgspec.msgpack.encode(request))
        except Conflict:
            raise Denied("the token was used already: a token admits one cluster once; create a new one") from None
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
