"""What a watch makes of each response, without a server."""

from __future__ import annotations

import pytest

from federation.etcd.errors import BadToken, Compacted, StoreReplaced
from federation.etcd.schema import etcd_pb2 as pb
from federation.etcd.values import Watched
from federation.etcd.watch import Position
from federation.model.errors import Denied, Unavailable


def header(revision: int, cluster_id: int = 7) -> pb.Header:
    return pb.Header(cluster_id=cluster_id, revision=revision)


def put(revision: int) -> pb.Event:
    return pb.Event(kv=pb.KeyValue(key=b"/a", mod_revision=revision))


def test_created_says_nothing_of_history() -> None:
    """Resuming from a `created` response's revision would skip all that came between."""
    position = Position(5, 7)
    assert position.take(pb.WatchResponse(header=header(100), created=True)) == Watched(4)
    assert position.next_revision == 5


def test_events_move_to_behind_the_last() -> None:
    position = Position(5, 7)
    seen = position.take(pb.WatchResponse(header=header(100), events=[put(6), put(9), put(9)]))
    assert (seen.revision, len(seen.events), position.next_revision) == (9, 3, 10)


def test_progress_moves_forward_only() -> None:
    position = Position(5, 7)
    assert position.take(pb.WatchResponse(header=header(20))) == Watched(20)
    assert position.take(pb.WatchResponse(header=header(15))) == Watched(20)


def test_another_store_is_noticed() -> None:
    position = Position(5, 0)
    position.take(pb.WatchResponse(header=header(5), created=True))
    with pytest.raises(StoreReplaced):
        position.take(pb.WatchResponse(header=header(50, cluster_id=8), events=[put(50)]))


@pytest.mark.parametrize(("revision", "behind"), [(3, True), (4, False), (5, False)])
def test_a_member_behind_what_was_seen(revision: int, behind: bool) -> None:
    assert Position(5, 7).is_behind(header(revision)) is behind


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", Denied),
        ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", BadToken),
        ("rpc error: code = InvalidArgument desc = etcdserver: user name is empty", BadToken),
        ("etcdserver: no leader", Unavailable),
        ("", Unavailable),
    ],
)
def test_a_canceled_watch_never_hangs(reason: str, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        Position(5, 7).take(pb.WatchResponse(header=header(9), created=True, canceled=True, cancel_reason=reason))
    assert raised.type is error


def test_compaction_comes_as_a_cancel() -> None:
    with pytest.raises(Compacted) as compacted:
        Position(5, 7).take(pb.WatchResponse(header=header(9), canceled=True, compact_revision=8))
    assert compacted.value.revision == 8
