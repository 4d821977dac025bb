"""Filters of HTTPRoute and GRPCRoute: what is changed, copied or answered on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from istiod.api.fields import Model, PercentInt, Port
from istiod.api.gatewayapi.references import (
    BackendReference,
    LocalReference,
    check_backend,
    check_hostname,
    check_length,
    check_object_name,
)
from istiod.api.problems import Problem

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,256}")
_HOST = r"(\*\.)?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*"
_ORIGIN = re.compile(rf"\*|[a-z][a-z0-9+.-]*://(\*|{_HOST}|\[[0-9a-fA-F:.]+\])(:\d{{1,5}})?")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_REDIRECTS = (301, 302, 303, 307, 308)


class HTTPHeader(Model):
    """A header and its value."""

    name: str
    value: str


class HeaderFilter(Model):
    """Changes to headers."""

    set: tuple[HTTPHeader, ...] = ()
    add: tuple[HTTPHeader, ...] = ()
    remove: tuple[str, ...] = ()


class Fraction(Model):
    """A share as a quotient."""

    numerator: int = Field(ge=0, le=2**31 - 1)
    denominator: int = Field(default=100, ge=1, le=2**31 - 1)


class MirrorFilter(Model):
    """A copy of requests, or of some of them."""

    backend_ref: BackendReference
    percent: PercentInt | None = None
    fraction: Fraction | None = None


class PathModifier(Model):
    """A change of the path: all of it, or the prefix that matched."""

    type: str
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RedirectFilter(Model):
    """An answer that sends the client elsewhere."""

    scheme: str = ""
    hostname: str = ""
    path: PathModifier | None = None
    port: Port | None = None
    status_code: int = 302


class RewriteFilter(Model):
    """Changes of host and path."""

    hostname: str = ""
    path: PathModifier | None = None


class CORSFilter(Model):
    """Cross-origin policy."""

    allow_origins: tuple[str, ...] = ()
    allow_credentials: bool = False
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: int = Field(default=5, ge=1, le=2**31 - 1)


class GRPCFilter(Model):
    """One filter of a GRPCRoute; `type` says which of the others is given."""

    type: str
    request_header_modifier: HeaderFilter | None = None
    response_header_modifier: HeaderFilter | None = None
    request_mirror: MirrorFilter | None = None
    extension_ref: LocalReference | None = None


class HTTPFilter(GRPCFilter):
    """One filter of an HTTPRoute."""

    request_redirect: RedirectFilter | None = None
    url_rewrite: RewriteFilter | None = None
    cors: CORSFilter | None = None
    external_auth: dict[str, Any] | None = None


_FIELDS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestMirror": "request_mirror",
    "ExtensionRef": "extension_ref",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "CORS": "cors",
    "ExternalAuth": "external_auth",
}
_REPEATABLE = ("RequestMirror", "ExtensionRef")


def check_filters(filters: Sequence[GRPCFilter], path: str) -> Iterator[Problem]:
    """Each filter is what its type says, and those that cannot be repeated or combined are not."""
    yield from check_length(filters, 16, path)
    seen: set[str] = set()
    for index, item in enumerate(filters):
        at = f"{path}[{index}]"
        fields = {kind: field for kind, field in _FIELDS.items() if field in type(item).model_fields}
        if item.type not in fields:
            yield Problem(f"{at}.type", f"{item.type[:80]!r} is none of {', '.join(fields)}", "use one of them")
            continue
        if item.type in seen and item.type not in _REPEATABLE:
            yield Problem(f"{at}.type", f"{item.type} is there twice", "put the two together")
        seen.add(item.type)
        for kind, field in fields.items():
            given, alias = getattr(item, field), type(item).model_fields[field].alias
            if kind == item.type and given is None:
                yield Problem(f"{at}.{alias}", f"is missing for type {kind}", "give it", "MissingField")
            if kind != item.type and given is not None:
                yield Problem(f"{at}.{alias}", f"is given for type {item.type}", "remove it, or correct the type")
        yield from _check_filter(item, at)
    if {"RequestRedirect", "URLRewrite"} <= seen:
        yield Problem(path, "has both RequestRedirect and URLRewrite", "keep one of them")


def _check_filter(item: GRPCFilter, path: str) -> Iterator[Problem]:
    for field, headers in (
        ("requestHeaderModifier", item.request_header_modifier),
        ("responseHeaderModifier", item.response_header_modifier),
    ):
        if headers is not None:
            yield from _headers(headers, f"{path}.{field}")
    if item.request_mirror is not None:
        yield from _mirror(item.request_mirror, f"{path}.requestMirror")
    if item.extension_ref is not None:
        yield from check_object_name(item.extension_ref.name, f"{path}.extensionRef.name")
    if not isinstance(item, HTTPFilter):
        return
    if item.request_redirect is not None:
        yield from _redirect(item.request_redirect, f"{path}.requestRedirect")
    if item.url_rewrite is not None:
        if item.url_rewrite.hostname:
            yield from check_hostname(item.url_rewrite.hostname, f"{path}.urlRewrite.hostname", wildcard=False)
        yield from _path_modifier(item.url_rewrite.path, f"{path}.urlRewrite.path")
    if item.cors is not None:
        yield from _cors(item.cors, f"{path}.cors")


def _headers(headers: HeaderFilter, path: str) -> Iterator[Problem]:
    for verb, pairs in (("set", headers.set), ("add", headers.add)):
        yield from check_length(pairs, 16, f"{path}.{verb}")
        seen: set[str] = set()
        for index, pair in enumerate(pairs):
            at = f"{path}.{verb}[{index}]"
            yield from check_header(pair.name, f"{at}.name")
            if not 1 <= len(pair.value) <= 4096 or any(character in pair.value for character in "\0\r\n"):
                yield Problem(
                    f"{at}.value", "is empty, too long, or has more than one line", "write 1 to 4096 characters"
                )
            if pair.name.lower() in seen:
                yield Problem(f"{at}.name", f"{pair.name[:80]!r} is there twice", "put the two together")
            if pair.name.lower() == "host" and path.endswith("responseHeaderModifier"):
                yield Problem(f"{at}.name", f"{pair.name!r} is no header of answers", "name another header")
            seen.add(pair.name.lower())
    yield from check_length(headers.remove, 16, f"{path}.remove")
    for index, name in enumerate(headers.remove):
        yield from check_header(name, f"{path}.remove[{index}]")
        if name.lower() == "host":
            yield Problem(f"{path}.remove[{index}]", f"{name!r} cannot be removed", "use URLRewrite to change it")


def check_header(name: str, path: str) -> Iterator[Problem]:
    """The name of a header as HTTP has it."""
    if not _TOKEN.fullmatch(name):
        yield Problem(path, f"{name[:80]!r} is no name of a header", "use letters, digits and '-'")


def _mirror(mirror: MirrorFilter, path: str) -> Iterator[Problem]:
    yield from check_backend(mirror.backend_ref, f"{path}.backendRef")
    if mirror.percent is not None and mirror.fraction is not None:
        yield Problem(path, "has both percent and fraction", "keep one of them")
    if mirror.fraction is not None and mirror.fraction.numerator > mirror.fraction.denominator:
        yield Problem(f"{path}.fraction", "is more than the whole", "make the numerator the smaller one")


def _redirect(redirect: RedirectFilter, path: str) -> Iterator[Problem]:
    if redirect.scheme not in ("", "http", "https"):
        yield Problem(f"{path}.scheme", f"{redirect.scheme[:80]!r} is none of http, https", "use one of them")
    if redirect.hostname:
        yield from check_hostname(redirect.hostname, f"{path}.hostname", wildcard=False)
    if redirect.status_code not in _REDIRECTS:
        yield Problem(f"{path}.statusCode", f"is {redirect.status_code}", "use 301, 302, 303, 307 or 308")
    yield from _path_modifier(redirect.path, f"{path}.path")


def _path_modifier(modifier: PathModifier | None, path: str) -> Iterator[Problem]:
    if modifier is None:
        return
    values = {
        "ReplaceFullPath": ("replaceFullPath", modifier.replace_full_path),
        "ReplacePrefixMatch": ("replacePrefixMatch", modifier.replace_prefix_match),
    }
    if modifier.type not in values:
        yield Problem(f"{path}.type", f"{modifier.type[:80]!r} is none of {', '.join(values)}", "use one of them")
        return
    for kind, (field, value) in values.items():
        if kind == modifier.type and value is None:
            yield Problem(f"{path}.{field}", f"is missing for type {kind}", "give it", "MissingField")
        if kind != modifier.type and value is not None:
            yield Problem(f"{path}.{field}", f"is given for type {modifier.type}", "remove it, or correct the type")
        if value is not None and (len(value) > 1024 or any(character in value for character in "\0\r\n")):
            yield Problem(f"{path}.{field}", "is too long, or has more than one line", "write at most 1024 characters")


def _cors(cors: CORSFilter, path: str) -> Iterator[Problem]:
    yield from check_length(cors.allow_origins, 64, f"{path}.allowOrigins")
    for index, origin in enumerate(cors.allow_origins):
        if not _ORIGIN.fullmatch(origin):
            message = f"{origin[:80]!r} is no origin"
            yield Problem(f"{path}.allowOrigins[{index}]", message, "write scheme://host, maybe with :port, or '*'")
    for field, names in (
        ("allowMethods", cors.allow_methods),
        ("allowHeaders", cors.allow_headers),
        ("exposeHeaders", cors.expose_headers),
    ):
        if "*" in names and len(names) > 1:
            yield Problem(f"{path}.{field}", "has '*' and others", "keep '*' alone")
        for index, name in enumerate(names):
            if field == "allowMethods" and name not in METHODS and name != "*":
                yield Problem(f"{path}.{field}[{index}]", f"{name[:80]!r} is no method", "use GET, POST, … or '*'")
            elif field != "allowMethods":
                yield from check_header(name, f"{path}.{field}[{index}]")
