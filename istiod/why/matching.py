"""Whether a text, a header, a path or a whole route match holds, as Envoy decides it. Pure.

Input: the match specs that encoders turn into Envoy's matchers. Rules: Envoy's `StringMatcher`, `HeaderMatcher` (a
missing header matches nothing, also inverted, unless it counts as empty), `RouteMatch`, `VirtualHost.domains`.
Regular expressions are RE2's in Envoy and Python's here; where a pattern cannot be read, it matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl

from istiod.api.regex import python_pattern
from istiod.resolve.specs.match import ClaimMatch, HeaderMatch, MatchKind, StringMatch
from istiod.resolve.specs.route import RouteConfigSpec, RouteMatch, VirtualHostSpec
from istiod.why.request import Request

Claims = Mapping[str, Any]
_TEMPLATE = re.compile(r"\{\w+=([^}]*)\}|\{\w+\}|\*\*|\*")


def text_matches(match: StringMatch, value: str) -> bool:
    """Whether a text fits."""
    said = match.value
    if match.kind is MatchKind.REGEX:
        pattern = _pattern(said)
        return pattern is not None and pattern.fullmatch(value) is not None
    if match.ignore_case:
        said, value = said.lower(), value.lower()
    match match.kind:
        case MatchKind.EXACT:
            return value == said
        case MatchKind.PREFIX:
            return value.startswith(said)
        case MatchKind.SUFFIX:
            return value.endswith(said)
        case MatchKind.CONTAINS:
            return said in value
    return True


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return python_pattern(text)
    except (re.error, OverflowError, RecursionError):
        return None


def header_matches(match: HeaderMatch, request: Request) -> bool:
    """Whether a header fits."""
    value = request.header(match.name.lower())
    if match.match.kind is MatchKind.PRESENT:
        return (value is not None) is not match.invert
    if value is None:
        if not match.missing_is_empty:
            return False
        value = ""
    return text_matches(match.match, value) is not match.invert


def claim_matches(match: ClaimMatch, claims: Claims) -> bool:
    """Whether a claim of the verified token, or one item of it, fits."""
    found = claim(claims, match.claim)
    items = found if isinstance(found, list) else [found]
    holds = any(isinstance(item, str) and text_matches(match.match, item) for item in items)
    if match.match.kind is MatchKind.PRESENT:
        holds = found is not None
    return holds is not match.invert


def claim(claims: Claims, path: Iterable[str]) -> Any:
    """The claim at a path; None if there is none."""
    found: Any = claims
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def route_matches(match: RouteMatch, request: Request, claims: Claims) -> bool:
    """Whether a route takes a request."""
    parameters = dict(reversed(parse_qsl(request.query, keep_blank_values=True)))
    return (
        _path_matches(match, request)
        and all(header_matches(header, request) for header in match.headers)
        and all(query.name in parameters and text_matches(query.match, parameters[query.name]) for query in match.query)
        and all(claim_matches(said, claims) for said in match.claims)
    )


def _path_matches(match: RouteMatch, request: Request) -> bool:
    if match.connect:
        return request.method == "CONNECT"
    if match.template:
        return template_matches(match.template, request.bare_path)
    path = match.path
    if path is None:
        return True
    if path.kind is MatchKind.PREFIX and match.path_separated_prefix and path.value != "/":
        said, own = path.value.rstrip("/"), request.bare_path
        if path.ignore_case:
            said, own = said.lower(), own.lower()
        return own == said or own.startswith(f"{said}/")
    return text_matches(path, request.bare_path)


def template_matches(template: str, path: str) -> bool:
    """Envoy's URI templates: `*` and `{name}` are one segment, `**` any number, `{name=…}` what it says."""
    return _template(template).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _template(template: str) -> re.Pattern[str]:
    def part(text: str) -> str:
        made, end = "", 0
        for found in _TEMPLATE.finditer(text):
            made += re.escape(text[end : found.start()])
            made += part(found[1]) if found[1] else ".*" if found[0] == "**" else "[^/]+"
            end = found.end()
        return made + re.escape(text[end:])

    return re.compile(part(template))


def find_virtual_host(routes: RouteConfigSpec, authority: str) -> VirtualHostSpec | None:
    """The virtual host of an authority: exact name, longest `*` in front, longest `*` behind, then `*` alone."""
    host = authority.lower()
    if routes.ignore_port_in_host_matching:
        host = re.sub(r":\d*$", "", host) if not host.endswith("]") else host
    best: tuple[tuple[int, int], VirtualHostSpec] | None = None
    for candidate in routes.virtual_hosts:
        for domain in candidate.domains:
            rank = _rank(domain.lower(), host)
            if rank is not None and (best is None or rank > best[0]):
                best = (rank, candidate)
    return best[1] if best is not None else None


def _rank(domain: str, host: str) -> tuple[int, int] | None:
    if domain == "*":
        return (0, 0)
    if domain == host:
        return (3, 0)
    if domain.startswith("*") and len(host) >= len(domain) and host.endswith(domain[1:]):
        return (2, len(domain))
    if domain.endswith("*") and len(host) >= len(domain) and host.startswith(domain[:-1]):
        return (1, len(domain))
    return None


def within(address: str, cidr: str) -> bool:
    """Whether an address lies in a range; texts that are neither do not."""
    try:
        return ip_address(address) in ip_network(cidr, strict=False)
    except ValueError:
        return False


def normalized_path(path: str, normalization: str) -> str:
    """The path as the connection manager makes it before anything matches (MeshConfig's `pathNormalization` words)."""
    if normalization == "NONE":
        return path
    bare, mark, query = path.partition("?")
    if normalization == "DECODE_AND_MERGE_SLASHES":
        bare = _each(bare, (("%2f", "/"), ("%5c", "/")))
    bare = bare.replace("\\", "/")
    if "MERGE_SLASHES" in normalization:
        bare = re.sub("/{2,}", "/", bare)
    kept: list[str] = []
    parts = bare.split("/")[1:]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part.lower().replace("%2e", ".") == "..":
            kept = kept[:-1]
        elif part.lower().replace("%2e", ".") != ".":
            kept.append(part)
            continue
        kept += [""] if last else []
    return "/" + "/".join(kept) + mark + query


def _each(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = re.sub(re.escape(old), new, text, flags=re.IGNORECASE)
    return text
