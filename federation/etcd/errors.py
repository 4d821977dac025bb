"""etcd's and gRPC's errors, converted once to those of `federation.model.errors`.

etcd distinguishes many cases by text alone; the texts are those of its `rpctypes` and the same in all 3.x versions.
"""

from __future__ import annotations

import grpc

from federation.model.errors import Bug, Conflict, Denied, InvalidInput, IsthmusError, Unavailable
from federation.model.findings import Finding, Severity


class Compacted(IsthmusError):
    """The history asked for is gone: list again. `revision` is the oldest that is left, 0 if etcd did not say."""

    def __init__(self, revision: int = 0) -> None:
        super().__init__(f"etcd has compacted its history up to revision {revision or 'unknown'}")
        self.revision = revision


class StoreReplaced(Unavailable):
    """Behind the endpoints is another store than before, or the same one set back in time (a backup): list again."""


class NeverSent(Unavailable):
    """The request has certainly not been carried out: no connection, or etcd turned it away and it may be repeated."""


class BadToken(Denied):
    """The token is not, or no longer, valid: a new login helps."""


_BAD_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")
_DENIED = ("permission denied", "authentication failed", "invalid auth management")
# The last one: users or roles changed while the request was on its way through etcd, which then carries out nothing.
_NOT_DONE = ("failed to connect to all addresses", "DNS resolution failed", "revision in header is old")
_UNAVAILABLE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
    }
)


def convert_error(code: grpc.StatusCode, details: str, endpoint: str) -> IsthmusError:
    """The error that an answer of `endpoint` with this gRPC status means."""
    text = f"etcd {endpoint}: {details or code.name}"
    if code is grpc.StatusCode.UNAUTHENTICATED or _has(details, _BAD_TOKEN):
        return BadToken(text)
    if code is grpc.StatusCode.PERMISSION_DENIED or _has(details, _DENIED):
        return Denied(text)
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return _out_of_range(details, text)
    if code in _UNAVAILABLE:
        return NeverSent(text) if _has(details, _NOT_DONE) else Unavailable(text)
    if code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ALREADY_EXISTS):
        return Conflict(text)
    if "request is too large" in details:
        return InvalidInput([_too_large(endpoint)])
    return Bug(text)


def convert_cancel(reason: str) -> IsthmusError:
    """The error that the reason of a cancelled watch means."""
    return convert_error(grpc.StatusCode.UNAVAILABLE, reason or "no reason given", "ended the watch")


def _out_of_range(details: str, text: str) -> IsthmusError:
    if "compacted" in details:
        return Compacted()
    if "future revision" in details:
        return StoreReplaced(text)
    return Bug(text)


def _has(details: str, texts: tuple[str, ...]) -> bool:
    return any(text in details for text in texts)


def _too_large(endpoint: str) -> Finding:
    message = "the request is larger than the store allows (--max-request-bytes)"
    return Finding(Severity.ERROR, "EtcdRequestTooLarge", f"etcd {endpoint}", "", message, "write less at once")
