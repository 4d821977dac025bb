"""What is read from and written to the store, as plain values. Keys are text; values are bytes.

Converts to and from the protobuf messages; does no input or output, and knows no key's meaning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from federation.etcd.schema import etcd_pb2 as pb


@dataclass(frozen=True, slots=True)
class Header:
    """Which store (`cluster_id`) and which of its members spoke, and how far the store was."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key. A deleted one has no value, `version` 0 and the deletion's `mod_revision`. `lease` 0 means none."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Keys in order, all as of `revision`. `count` is how many match in all, `more` whether a limit cut some off."""

    revision: int
    kvs: tuple[KeyValue, ...]
    cluster_id: int
    count: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A key was written or deleted."""

    kv: KeyValue
    deleted: bool


@dataclass(frozen=True, slots=True)
class Watched:
    """The watch is connected, and everything up to `revision` is delivered. Without events it is a sign of life."""

    revision: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The watch is not connected, and tries again. It may repeat; the next `Watched` says that it is back."""

    reason: str


CompareField = Literal["version", "create_revision", "mod_revision", "value", "lease"]
CompareResult = Literal["==", "!=", "<", ">"]

_TARGETS: dict[CompareField, pb.Compare.Target.ValueType] = {
    "version": pb.Compare.VERSION,
    "create_revision": pb.Compare.CREATE,
    "mod_revision": pb.Compare.MOD,
    "value": pb.Compare.VALUE,
    "lease": pb.Compare.LEASE,
}
_RESULTS: dict[CompareResult, pb.Compare.Result.ValueType] = {
    "==": pb.Compare.EQUAL,
    "!=": pb.Compare.NOT_EQUAL,
    "<": pb.Compare.LESS,
    ">": pb.Compare.GREATER,
}


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction. A key that does not exist has version, create and mod revision 0."""

    key: str
    field: CompareField
    result: CompareResult
    operand: int | bytes


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key, under a lease unless 0."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key, or all that begin with it."""

    key: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Get:
    """Read a key, or all that begin with it."""

    key: str
    prefix: bool = False


Operation = Put | Delete | Get


@dataclass(frozen=True, slots=True)
class TxnResult:
    """Which branch was taken, at which revision, and per operation of that branch what a `Get` found (else nothing)."""

    succeeded: bool
    revision: int
    found: tuple[tuple[KeyValue, ...], ...]


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role may do with one key, or (`prefix`) with all keys that begin with it."""

    key: str
    prefix: bool = True
    read: bool = True
    write: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the store."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True, slots=True)
class Status:
    """How one member sees itself. Sizes in bytes; `errors` are etcd's alarms."""

    endpoint: str
    header: Header
    version: str
    leader: int
    raft_term: int
    db_size: int
    db_size_in_use: int
    errors: tuple[str, ...]

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self.leader == self.header.member_id


def encode_key(key: str) -> bytes:
    """A key's bytes; keys of others that are not UTF-8 survive the way there and back."""
    return key.encode("utf-8", "surrogateescape")


def decode_key(key: bytes) -> str:
    """The inverse of `encode_key`."""
    return key.decode("utf-8", "surrogateescape")


def encode_range(key: str, prefix: bool) -> tuple[bytes, bytes]:
    """First key and end (exclusive) of the one key, or of all that begin with it. The empty prefix means every key."""
    first = encode_key(key)
    if not prefix:
        return first, b""
    return first or b"\0", _prefix_end(first)


def _prefix_end(prefix: bytes) -> bytes:
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else b"\0"


def decode_header(header: pb.Header) -> Header:
    """The header of an answer."""
    return Header(header.cluster_id, header.member_id, header.revision, header.raft_term)


def decode_kv(kv: pb.KeyValue) -> KeyValue:
    """One key."""
    return KeyValue(decode_key(kv.key), kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def decode_kvs(kvs: Iterable[pb.KeyValue]) -> tuple[KeyValue, ...]:
    """Several keys, in the order given."""
    return tuple(map(decode_kv, kvs))


def decode_events(events: Iterable[pb.Event]) -> tuple[Event, ...]:
    """Events, in the order given."""
    return tuple(Event(decode_kv(event.kv), event.type == pb.Event.DELETE) for event in events)


def encode_compare(compare: Compare) -> pb.Compare:
    """A condition of a transaction."""
    message = pb.Compare(key=encode_key(compare.key), target=_TARGETS[compare.field], result=_RESULTS[compare.result])
    setattr(message, compare.field, compare.operand)  # also an operand of 0 must be set, to be present in the oneof
    return message


def encode_operation(operation: Operation) -> pb.RequestOp:
    """One operation of a transaction."""
    match operation:
        case Put(key, value, lease):
            return pb.RequestOp(put=pb.PutRequest(key=encode_key(key), value=value, lease=lease))
        case Delete(key, prefix):
            first, end = encode_range(key, prefix)
            return pb.RequestOp(delete=pb.DeleteRequest(key=first, range_end=end))
        case Get(key, prefix):
            first, end = encode_range(key, prefix)
            return pb.RequestOp(get=pb.RangeRequest(key=first, range_end=end))


def decode_txn(response: pb.TxnResponse) -> TxnResult:
    """What a transaction did."""
    found = tuple(decode_kvs(operation.get.kvs) for operation in response.responses)
    return TxnResult(response.succeeded, response.header.revision, found)


def encode_permission(permission: Permission) -> pb.Permission:
    """What a role may do; neither reading nor writing is not a permission (ValueError)."""
    if not (permission.read or permission.write):
        raise ValueError("a permission must allow reading or writing")
    kind = pb.Permission.READWRITE if permission.read else pb.Permission.WRITE
    first, end = encode_range(permission.key, permission.prefix)
    return pb.Permission(type=kind if permission.write else pb.Permission.READ, key=first, range_end=end)


def decode_permission(message: pb.Permission) -> Permission:
    """The inverse of `encode_permission`. A range that is not a prefix is given by its first key."""
    key = "" if message.key == b"\0" and message.range_end == b"\0" else decode_key(message.key)
    read, write = message.type != pb.Permission.WRITE, message.type != pb.Permission.READ
    return Permission(key, bool(message.range_end), read, write)
