"""Each of etcd's and gRPC's ways to fail becomes one error of ours."""

from __future__ import annotations

import grpc
import pytest

from federation.etcd.errors import BadToken, Compacted, NeverSent, StoreReplaced, convert_error
from federation.model.errors import Bug, Conflict, Denied, InvalidInput, Unavailable

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        (Code.UNAUTHENTICATED, "etcdserver: invalid auth token", BadToken),
        (Code.INVALID_ARGUMENT, "etcdserver: user name is empty", BadToken),
        (Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", BadToken),
        (Code.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password", Denied),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", Denied),
        (Code.UNAVAILABLE, "failed to connect to all addresses; last error: refused", NeverSent),
        (Code.UNKNOWN, "auth: revision in header is old", NeverSent),
        (Code.UNAVAILABLE, "etcdserver: no leader", Unavailable),
        (Code.DEADLINE_EXCEEDED, "", Unavailable),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Unavailable),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", StoreReplaced),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", Conflict),
        (Code.FAILED_PRECONDITION, "etcdserver: role name already exists", Conflict),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", InvalidInput),
        (Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", Bug),
        (Code.UNIMPLEMENTED, "unknown method", Bug),
    ],
)
def test_errors(code: grpc.StatusCode, details: str, error: type[Exception]) -> None:
    found = convert_error(code, details, "127.0.0.1:2379")
    assert type(found) is error
    if error is not Compacted:
        assert "127.0.0.1:2379" in str(found)
