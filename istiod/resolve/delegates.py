"""Puts the routes of delegate VirtualServices in place of the root routes that name them.

Pure, one level only. Rules: VirtualService reference, `Delegate`: matches of both must hold; each match of a delegate's
route must be narrower than one of the root's, else that route takes no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from federation.model.names import NamespacedName, resolve_short_host
from istiod.api.fields import StringMatch
from istiod.api.virtualservice import Destination, HTTPMatchRequest, HTTPRoute
from istiod.resolve.routes_match import qualified_gateways

# The routes of a delegate by its name, for roots of a namespace; None if there is none that they may name.
Find = Callable[[NamespacedName, str], Sequence[HTTPRoute] | None]

# What a delegate route takes from its root when it says nothing itself.
_INHERITED = (
    "rewrite",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirror_percent",
    "mirror_percentage",
    "mirrors",
    "cors_policy",
    "headers",
)


def expand(
    routes: Sequence[HTTPRoute],
    namespace: str,
    domain: str,
    find: Find,
) -> Iterator[HTTPRoute]:
    """The routes with delegates filled in; a delegate that `find` has not for this namespace leaves out its root route.
    A delegate's short names are of its own namespace.
    """
    for root in routes:
        if root.delegate is None:
            yield root
            continue
        key = NamespacedName(root.delegate.namespace or namespace, root.delegate.name or "")
        whole = _with_full_names(root, namespace, domain)
        for child in find(key, namespace) or ():
            own = _with_full_names(child, key.namespace, domain)
            merged = _merged(whole, own) if child.delegate is None else None
            if merged is not None:
                yield merged


def _merged(root: HTTPRoute, child: HTTPRoute) -> HTTPRoute | None:
    matches = _matches(root.match, child.match)
    if matches is None:
        return None
    inherited = {name: getattr(root, name) for name in _INHERITED if getattr(child, name) in (None, ())}
    name = "-".join(part for part in (root.name, child.name) if part)
    return child.model_copy(update={**inherited, "match": matches, "name": name})


def _with_full_names(route: HTTPRoute, namespace: str, domain: str) -> HTTPRoute:
    def full(destination: Destination) -> Destination:
        return destination.model_copy(update={"host": resolve_short_host(destination.host, namespace, domain)})

    def asked(match: HTTPMatchRequest) -> HTTPMatchRequest:
        return match.model_copy(update={"gateways": tuple(sorted(qualified_gateways(match.gateways, namespace)))})

    return route.model_copy(
        update={
            "match": tuple(asked(match) if match.gateways else match for match in route.match),
            "route": tuple(item.model_copy(update={"destination": full(item.destination)}) for item in route.route),
            "mirror": full(route.mirror) if route.mirror is not None else None,
            "mirrors": tuple(item.model_copy(update={"destination": full(item.destination)}) for item in route.mirrors),
        }
    )


def _matches(
    roots: Sequence[HTTPMatchRequest], children: Sequence[HTTPMatchRequest]
) -> tuple[HTTPMatchRequest, ...] | None:
    """Every match of the delegate with each of the root's that contains it; None if one lies in none of them."""
    if not roots or not children:
        return tuple(roots or children)
    found: list[HTTPMatchRequest] = []
    for child in children:
        inside = [merged for root in roots if (merged := _both(root, child)) is not None]
        if not inside:
            return None
        found += inside
    return tuple(found)


def _both(root: HTTPMatchRequest, child: HTTPMatchRequest) -> HTTPMatchRequest | None:
    if not all(_within(getattr(root, name), getattr(child, name)) for name in _SINGLE):
        return None
    for name in ("headers", "query_params", "without_headers"):
        wide, narrow = getattr(root, name), getattr(child, name)
        if not all(_within(wide[key], narrow[key]) for key in wide.keys() & narrow.keys()):
            return None
    if root.ignore_uri_case != child.ignore_uri_case:
        return None
    if any(child.source_labels.get(key, value) != value for key, value in root.source_labels.items()):
        return None
    if root.port and child.port and root.port != child.port:
        return None
    if root.source_namespace and root.source_namespace != child.source_namespace:
        return None
    if root.gateways and not set(child.gateways) <= set(root.gateways):
        return None
    maps = {
        name: {**getattr(root, name), **getattr(child, name)}
        for name in ("headers", "query_params", "without_headers", "source_labels")
    }
    single = {
        name: getattr(child, name) or getattr(root, name)
        for name in (*_SINGLE, "port", "source_namespace", "gateways", "stat_prefix")
    }
    name = "-".join(part for part in (root.name, child.name) if part)
    return child.model_copy(update={**maps, **single, "name": name})


_SINGLE = ("uri", "scheme", "method", "authority")


def _within(root: StringMatch | None, child: StringMatch | None) -> bool:
    """Whether what the child accepts lies inside what the root accepts; regular expressions cannot be compared."""
    if root is None or child is None:
        return True
    if root.exact is not None:
        return child.exact == root.exact
    if root.prefix is not None:
        narrower = child.exact if child.exact is not None else child.prefix
        return narrower is not None and narrower.startswith(root.prefix)
    return root.regex is None
