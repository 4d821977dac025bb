"""What routes translated from the Gateway API mean beyond a VirtualService's: prefixes of whole path segments, the part
of a path that a replaced prefix leaves, and 500 for backends that do not exist.

Pure: a route as VirtualService would have it -> the route. Rules: HTTPPathMatch, HTTPPathModifier, HTTPBackendRef.
"""

from __future__ import annotations

import re
from dataclasses import replace

from istiod.gatewayapi.filters import KEEP_REST
from istiod.resolve.specs.match import MatchKind
from istiod.resolve.specs.route import Redirect, RouteAction, RouteSpec

NO_BACKEND = 500


def with_gateway_semantics(route: RouteSpec) -> RouteSpec:
    """The route with the Gateway API's meaning of prefixes, replacements and missing backends."""
    path = route.match.path
    is_prefix = path is not None and path.kind is MatchKind.PREFIX
    prefix = path.value if path is not None and is_prefix else "/"
    match = replace(route.match, path_separated_prefix=is_prefix)
    action = route.action
    if isinstance(action, RouteAction):
        action = replace(action, not_found_status=NO_BACKEND)
        if action.prefix_rewrite is not None:
            regex = replaced_prefix(prefix, action.prefix_rewrite)
            action = replace(action, prefix_rewrite=None, regex_rewrite=regex)
    elif isinstance(action, Redirect) and action.path.startswith(KEEP_REST):
        regex = replaced_prefix(prefix, action.path.removeprefix(KEEP_REST))
        action = replace(action, path="", regex=regex)
    return replace(route, match=match, action=action)


def replaced_prefix(prefix: str, new: str) -> tuple[str, str]:
    """Pattern and substitution that put `new` in the place of a path's prefix, with one slash before what follows."""
    old, new = prefix.rstrip("/"), new.rstrip("/").replace("\\", "\\\\")
    if not new:
        return f"^{re.escape(old)}/*", "/"
    return (f"^{re.escape(old)}", new) if old else ("^/", f"{new}/")
