"""What a member knows of its own place in the mesh, from its files and from the store, and what is wrong with it.

Reads only; needs the cluster's own credential and nothing of the authority.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from federation.etcd import Etcd, Options
from federation.keys import ClusterKey, EntryKey, HeartbeatKey, Layout, ServiceRecordKey
from federation.mesh_files import ClusterFiles, ClusterInfo
from federation.pki.chain import read_certificates
from federation.schema import records_pb2 as pb

LATE_SECONDS = 5.0
LEAST_DAYS = 30.0
DAY = 86_400.0


class Membership(msgspec.Struct, frozen=True):
    """A cluster as the store knows it. `heartbeat_age` is seconds by this machine's clock, None without a heartbeat."""

    info: ClusterInfo
    state: str
    heartbeat_age: float | None
    exports: int
    ca_days_left: float
    store_days_left: float
    problems: tuple[str, ...] = ()


def member_store(info: ClusterInfo, files: ClusterFiles) -> Etcd:
    """The store as this cluster's own user."""
    return Etcd(Options(info.endpoints, files.etcd_ca, files.etcd_cert, files.etcd_key))


async def membership(files: ClusterFiles, now: float) -> Membership:
    """The membership of these files; `now` is Unix seconds. Raises InvalidInput, Unavailable, Denied."""
    info = files.info()
    layout = Layout(info.mesh)
    async with member_store(info, files) as etcd:
        registered = await etcd.get(layout.format(ClusterKey(info.cluster)))
        own = await etcd.list_prefix(layout.owned_by(info.cluster))
    record = pb.Cluster.FromString(registered.value) if registered is not None else pb.Cluster(state="unknown")
    beat = next((kv for kv in own.kvs if kv.key == layout.format(HeartbeatKey(info.cluster))), None)
    age = now - pb.Heartbeat.FromString(beat.value).sent_unix_ms / 1000 if beat is not None else None
    keys = [layout.parse(kv.key) for kv in own.kvs]
    found = Membership(
        info,
        record.state,
        age,
        sum(isinstance(key, ServiceRecordKey | EntryKey) for key in keys),
        _days_left(files.ca / "ca-cert.pem", now),
        _days_left(files.etcd_cert, now),
    )
    foreign = record.state == "member" and record.uid != info.uid
    return msgspec.structs.replace(found, problems=tuple(_problems(found, foreign)))


def _problems(found: Membership, foreign: bool) -> Iterator[str]:
    if found.state != "member":
        yield f"its state in the mesh is {found.state!r}: it must join again"
    if foreign:
        yield "another cluster has joined under its name: these files are out of date"
    if found.heartbeat_age is None or found.heartbeat_age > LATE_SECONDS:
        yield "its control plane does not report to the store: is istiod running, and with --etcd?"
    for name, days in (("intermediate CA", found.ca_days_left), ("store certificate", found.store_days_left)):
        if days < LEAST_DAYS:
            yield f"its {name} has {days:.1f} days left: join again with a new token"


def _days_left(file: Path, now: float) -> float:
    return (read_certificates(file.read_bytes())[0].not_valid_after_utc.timestamp() - now) / DAY
