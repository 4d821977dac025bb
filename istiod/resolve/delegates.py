"""Puts the routes of delegate VirtualServices in place of the root routes that name them.

Pure, one level only. Rules: VirtualService reference, `Delegate`: matches of both must hold; a delegate's match must be
narrower than the root's, a combination that contradicts itself is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from federation.model.names import NamespacedName, resolve_short_host
from istiod.api.fields import StringMatch
from istiod.api.virtualservice import Destination, HTTPMatchRequest, HTTPRoute

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
    find: Callable[[NamespacedName], Sequence[HTTPRoute] | None],
) -> Iterator[HTTPRoute]:
    """The routes with delegates filled in; a delegate that is not found leaves out its root route. A delegate's short
    hosts are of its own namespace.
    """
    for root in routes:
        if root.delegate is None:
            yield root
            continue
        key = NamespacedName(root.delegate.namespace or namespace, root.delegate.name or "")
        for child in find(key) or ():
            own = _with_full_hosts(child, key.namespace, domain) if key.namespace != namespace else child
            merged = _merged(root, own) if child.delegate is None else None
            if merged is not None:
                yield merged


def _merged(root: HTTPRoute, child: HTTPRoute) -> HTTPRoute | None:
    matches = tuple(_match_products(root.match or (), child.match or ()))
    if not matches and (root.match or child.match):
        return None
    inherited = {name: getattr(root, name) for name in _INHERITED if hasattr(child, name) and not getattr(child, name)}
    name = "-".join(part for part in (root.name, child.name) if part)
    return child.model_copy(update={**inherited, "match": matches, "name": name})


def _with_full_hosts(route: HTTPRoute, namespace: str, domain: str) -> HTTPRoute:
    def full(destination: Destination) -> Destination:
        return destination.model_copy(update={"host": resolve_short_host(destination.host, namespace, domain)})

    return route.model_copy(
        update={
            "route": tuple(item.model_copy(update={"destination": full(item.destination)}) for item in route.route),
            "mirror": full(route.mirror) if route.mirror is not None else None,
            "mirrors": tuple(item.model_copy(update={"destination": full(item.destination)}) for item in route.mirrors),
        }
    )


def _match_products(
    roots: Sequence[HTTPMatchRequest], children: Sequence[HTTPMatchRequest]
) -> Iterator[HTTPMatchRequest]:
    if not roots or not children:
        yield from roots or children
        return
    for root in roots:
        for child in children:
            merged = _both(root, child)
            if merged is not None:
                yield merged


def _both(root: HTTPMatchRequest, child: HTTPMatchRequest) -> HTTPMatchRequest | None:
    for name in ("uri", "scheme", "method", "authority"):
        if not _within(getattr(root, name), getattr(child, name)):
            return None
    for name in ("headers", "query_params", "without_headers", "source_labels"):
        if not _agree(getattr(root, name) or {}, getattr(child, name) or {}):
            return None
    for name in ("port", "source_namespace"):
        if getattr(root, name) and getattr(child, name) and getattr(root, name) != getattr(child, name):
            return None
    maps = {
        name: {**(getattr(root, name) or {}), **(getattr(child, name) or {})}
        for name in ("headers", "query_params", "without_headers", "source_labels")
    }
    single = {
        name: getattr(child, name) or getattr(root, name)
        for name in ("uri", "scheme", "method", "authority", "port", "source_namespace", "ignore_uri_case")
    }
    name = "-".join(part for part in (root.name, child.name) if part)
    return child.model_copy(update={**maps, **single, "gateways": root.gateways, "name": name})


def _within(root: StringMatch | None, child: StringMatch | None) -> bool:
    """Whether what the child accepts lies inside what the root accepts; regular expressions cannot be compared."""
    if root is None or child is None:
        return True
    if root.exact is not None:
        return child.exact == root.exact
    if root.prefix is not None:
        narrower = child.exact if child.exact is not None else child.prefix
        return narrower is not None and narrower.startswith(root.prefix)
    return False


def _agree(root: Mapping[str, object], child: Mapping[str, object]) -> bool:
    return all(child[name] == value for name, value in root.items() if name in child)
