"""Filters of the Gateway API as the fields of VirtualService that do the same. Pure."""

from __future__ import annotations

import re

from istiod.api.fields import StringMatch
from istiod.api.formats import format_problem
from istiod.api.gatewayapi.filters import (
    CORSFilter,
    HeaderFilter,
    HTTPHeader,
    PathModifier,
    RedirectFilter,
    RewriteFilter,
)
from istiod.api.headers import HeaderOperations
from istiod.api.virtualservice import CorsPolicy, HTTPRedirect, HTTPRewrite, RegexRewrite

KEEP_REST = "%PREFIX()%"  # in a redirect's path: what follows replaces the prefix that matched
_DEFAULT_PORTS = {"http": 80, "https": 443}


class UnknownFilter(ValueError):
    """A filter that is not followed; `path` is the field that asks for it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def literal_headers(said: HeaderFilter) -> HeaderOperations:
    """Changes to headers. Envoy's commands are followed as in Istio; any other percent sign is just that."""
    return HeaderOperations(set=_pairs(said.set), add=_pairs(said.add), remove=said.remove)


def _pairs(headers: tuple[HTTPHeader, ...]) -> dict[str, str]:
    return {
        header.name: header.value if not format_problem(header.value) else header.value.replace("%", "%%")
        for header in headers
    }


def redirect(said: RedirectFilter, port: int, scheme: str) -> HTTPRedirect:
    """An answer that sends the client elsewhere. Without a port it is the scheme's where a scheme is given, else the
    listener's; a scheme's own port is not written.
    """
    wanted = said.port or (0 if said.scheme else port)
    if wanted == _DEFAULT_PORTS[said.scheme or scheme]:
        wanted = 0
    path = said.path
    uri = ""
    if path is not None and path.replace_full_path is not None:
        uri = path.replace_full_path or "/"
    elif path is not None:
        uri = KEEP_REST + _prefix(path)
    return HTTPRedirect(
        uri=uri, authority=said.hostname, port=wanted or None, scheme=said.scheme, redirect_code=said.status_code
    )


def rewrite(said: RewriteFilter) -> HTTPRewrite:
    """Changes of host and path."""
    path = said.path
    if path is not None and path.replace_full_path is not None:
        whole = (path.replace_full_path or "/").replace("\\", "\\\\")
        return HTTPRewrite(authority=said.hostname, uri_regex_rewrite=RegexRewrite(match="/.*", rewrite=whole))
    return HTTPRewrite(authority=said.hostname, uri=_prefix(path) if path is not None else "")


def _prefix(path: PathModifier) -> str:
    return (path.replace_prefix_match or "").rstrip("/") or "/"


def cors(said: CORSFilter) -> CorsPolicy:
    """A cross-origin policy."""
    return CorsPolicy(
        allow_origins=tuple(_origin(origin) for origin in said.allow_origins),
        allow_methods=said.allow_methods,
        allow_headers=said.allow_headers,
        expose_headers=said.expose_headers,
        max_age=f"{said.max_age}s",
        allow_credentials=True if said.allow_credentials else None,
    )


def _origin(origin: str) -> StringMatch:
    """One origin; a `*` in it stands for any host, or any labels before a suffix."""
    if origin == "*" or "*" not in origin:
        return StringMatch(exact=origin)
    return StringMatch(regex=re.escape(origin).replace(r"\*", "[^/]+"))
