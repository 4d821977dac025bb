"""etcd's methods: their paths and messages, and which may be sent twice without harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from federation.etcd.schema import etcd_pb2 as pb

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Q, A]):
    """One method. `repeatable`: sending it again after an unclear outcome does no harm."""

    path: str
    request: type[Q]
    answer: type[A]
    repeatable: bool = False


RANGE = Method("/etcdserverpb.KV/Range", pb.RangeRequest, pb.RangeResponse, True)
PUT = Method("/etcdserverpb.KV/Put", pb.PutRequest, pb.Done)
DELETE = Method("/etcdserverpb.KV/DeleteRange", pb.DeleteRequest, pb.DeleteResponse)
TXN = Method("/etcdserverpb.KV/Txn", pb.TxnRequest, pb.TxnResponse)
TXN_READ = Method("/etcdserverpb.KV/Txn", pb.TxnRequest, pb.TxnResponse, True)
COMPACT = Method("/etcdserverpb.KV/Compact", pb.CompactRequest, pb.Done)

WATCH = Method("/etcdserverpb.Watch/Watch", pb.WatchRequest, pb.WatchResponse)

# A grant whose answer was lost leaves a lease that runs out by itself.
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest, pb.LeaseAnswer, True)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseId, pb.Done, True)
LEASE_KEEP_ALIVE = Method("/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseId, pb.LeaseAnswer)
LEASE_TIME_TO_LIVE = Method(
    "/etcdserverpb.Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse, True
)

AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse, True)
AUTH_ENABLE = Method("/etcdserverpb.Auth/AuthEnable", pb.Empty, pb.Done, True)
AUTH_DISABLE = Method("/etcdserverpb.Auth/AuthDisable", pb.Empty, pb.Done, True)
USER_ADD = Method("/etcdserverpb.Auth/UserAdd", pb.UserAddRequest, pb.Done)
USER_DELETE = Method("/etcdserverpb.Auth/UserDelete", pb.NameRequest, pb.Done)
USER_GET = Method("/etcdserverpb.Auth/UserGet", pb.NameRequest, pb.NamesResponse, True)
USER_LIST = Method("/etcdserverpb.Auth/UserList", pb.Empty, pb.NamesResponse, True)
USER_CHANGE_PASSWORD = Method("/etcdserverpb.Auth/UserChangePassword", pb.UserPasswordRequest, pb.Done, True)
USER_GRANT_ROLE = Method("/etcdserverpb.Auth/UserGrantRole", pb.UserRoleRequest, pb.Done, True)
USER_REVOKE_ROLE = Method("/etcdserverpb.Auth/UserRevokeRole", pb.UserRoleRequest, pb.Done)
ROLE_ADD = Method("/etcdserverpb.Auth/RoleAdd", pb.NameRequest, pb.Done)
ROLE_DELETE = Method("/etcdserverpb.Auth/RoleDelete", pb.NameRequest, pb.Done)
ROLE_GET = Method("/etcdserverpb.Auth/RoleGet", pb.NameRequest, pb.RoleResponse, True)
ROLE_LIST = Method("/etcdserverpb.Auth/RoleList", pb.Empty, pb.NamesResponse, True)
ROLE_GRANT = Method("/etcdserverpb.Auth/RoleGrantPermission", pb.RoleGrantRequest, pb.Done, True)
ROLE_REVOKE = Method("/etcdserverpb.Auth/RoleRevokePermission", pb.RoleRevokeRequest, pb.Done)

MEMBER_LIST = Method("/etcdserverpb.Cluster/MemberList", pb.Empty, pb.MemberListResponse, True)
STATUS = Method("/etcdserverpb.Maintenance/Status", pb.Empty, pb.StatusResponse, True)
SNAPSHOT = Method("/etcdserverpb.Maintenance/Snapshot", pb.Empty, pb.SnapshotResponse)
