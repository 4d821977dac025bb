"""Taking a cluster out of the mesh, with proof: the store is listed before and after, and compared."""

from __future__ import annotations

from dataclasses import dataclass

from federation.authority import Authority
from federation.etcd import Etcd
from federation.keys import ClusterKey, HeartbeatKey, Layout


@dataclass(frozen=True, slots=True)
class LeaveProof:
    """What changed, as (put or delete, key): in the leaver's own records, and (should be nothing) in others'."""

    changes: tuple[tuple[str, str], ...]
    foreign: tuple[tuple[str, str], ...] = ()


async def leave(authority: Authority, etcd: Etcd, layout: Layout, cluster: str, dry_run: bool) -> LeaveProof:
    """Remove a cluster, or with `dry_run` say what that would delete. Other clusters' signs of life are not counted."""
    before = await _records(etcd, layout)
    owned = layout.owned_by(cluster)
    registration = layout.format(ClusterKey(cluster))
    if dry_run:
        deleted = [("delete", key) for key in sorted(before) if key.startswith(owned)]
        return LeaveProof((*deleted, ("put", registration)))
    await authority.remove(cluster)
    after = await _records(etcd, layout)
    changed = [("delete", key) for key in before.keys() - after.keys()]
    changed += [("put", key) for key, value in after.items() if before.get(key) != value]
    own = [item for item in changed if item[1].startswith(owned) or item[1] == registration]
    foreign = [item for item in changed if item not in own and not _is_sign_of_life(layout, item[1])]
    return LeaveProof(tuple(sorted(own)), tuple(sorted(foreign)))


async def _records(etcd: Etcd, layout: Layout) -> dict[str, bytes]:
    return {kv.key: kv.value for kv in (await etcd.list_prefix(layout.base)).kvs}


def _is_sign_of_life(layout: Layout, key: str) -> bool:
    try:
        return isinstance(layout.parse(key), HeartbeatKey)
    except ValueError:
        return False
