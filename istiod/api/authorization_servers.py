"""Authorization servers as extension providers of MeshConfig, which decide under AuthorizationPolicy's CUSTOM.

Owns the two models and their rules; Envoy refuses a whole listener for a setting that it does not take. A server that
breaks a rule costs no MeshConfig: what it was to decide on is denied (`istiod.resolve.authz_checks`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pydantic import Field

from istiod.api.fields import Duration, Model, Port
from istiod.api.formats import format_problem
from istiod.api.headers import check_header_name, check_one_line
from istiod.api.problems import Problem

MAX_BYTES = 2**32 - 1
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # stands in metadata that filters match


class RequestBody(Model):
    """How much of a request's body an authorization server sees."""

    max_request_bytes: int = Field(default=0, ge=0, le=MAX_BYTES)
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


class ExtAuthzGrpc(Model):
    """An authorization server that speaks Envoy's gRPC."""

    service: str
    port: Port
    timeout: Duration | None = None
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_request_body_in_check: RequestBody | None = None


class ExtAuthzHttp(ExtAuthzGrpc):
    """An authorization server that speaks HTTP."""

    path_prefix: str = ""
    include_headers_in_check: tuple[str, ...] = ()  # the old name of includeRequestHeadersInCheck
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: dict[str, str] = {}
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


# The codes that Envoy has names for.
STATUS_CODES = frozenset(
    {100, *range(200, 209), 226, *range(300, 306), 307, 308, *range(400, 418), *range(421, 425), 426, 428, 429, 431}
    | {*range(500, 509), 510, 511}
)


def check_server(name: str, said: ExtAuthzGrpc, path: str) -> Iterator[Problem]:
    """Istio's rules for a server and its name, and what else Envoy insists on."""
    if not _NAME.fullmatch(name):
        yield Problem(path, f"has the name {name[:80]!r}", "use lower case letters, digits and '-', at most 63")
    if said.status_on_error and said.status_on_error not in map(str, STATUS_CODES):
        at = f"{path}.statusOnError"
        yield Problem(at, f"{said.status_on_error[:80]!r} is no HTTP status that can be answered", "write '403'")
    body = said.include_request_body_in_check
    if body is not None and not body.max_request_bytes:
        at = f"{path}.includeRequestBodyInCheck.maxRequestBytes"
        yield Problem(at, "is missing or 0", "give the bytes to send, e.g. 8192", "MissingField")
    if isinstance(said, ExtAuthzHttp):
        yield from _check_http(said, path)


def _check_http(said: ExtAuthzHttp, path: str) -> Iterator[Problem]:
    yield from check_one_line(said.path_prefix, f"{path}.pathPrefix")
    if said.path_prefix and not said.path_prefix.startswith("/"):
        yield Problem(f"{path}.pathPrefix", f"{said.path_prefix[:80]!r} begins without a slash", "write /path")
    for field in (
        "include_headers_in_check",
        "include_request_headers_in_check",
        "headers_to_upstream_on_allow",
        "headers_to_downstream_on_deny",
        "headers_to_downstream_on_allow",
    ):
        yield from _check_names(getattr(said, field), f"{path}.{ExtAuthzHttp.model_fields[field].alias}")
    for name, value in said.include_additional_headers_in_check.items():
        at = f"{path}.includeAdditionalHeadersInCheck[{name[:80]}]"
        yield from check_header_name(name, at)
        yield from check_one_line(value, at)
        wrong = format_problem(value)
        if wrong:
            yield Problem(at, f"is no format string: {wrong}", "write %% for a percent sign")


def _check_names(names: Iterable[str], path: str) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name == "*":
            yield Problem(f"{path}[{index}]", "is '*', which stands for no header", "write x-* or *-user, or the names")
        yield from check_header_name(name, f"{path}[{index}]")
