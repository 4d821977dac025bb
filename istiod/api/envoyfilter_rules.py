"""What is wrong with an EnvoyFilter, as far as that can be told without Envoy's messages.

Input: the typed object. Rules: EnvoyFilter reference, and what Istio's validator refuses or warns of; beyond that,
patches that cannot do anything are named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from federation.model.findings import Severity
from istiod.api.attachment import PolicyTargetReference, check_attachment
from istiod.api.envoyfilter import (
    CANONICAL,
    CONNECTION_MANAGER,
    ApplyTo,
    ConfigPatch,
    EnvoyFilter,
    FilterClass,
    Operation,
    PatchContext,
    ProxyMatch,
    is_effective,
)
from istiod.api.problems import Problem
from istiod.api.regex import regex_problem

_CHAINS = frozenset({ApplyTo.FILTER_CHAIN, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER})
_LISTENERS = frozenset({ApplyTo.LISTENER, ApplyTo.LISTENER_FILTER}) | _CHAINS
_ROUTES = frozenset({ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE})
_FILTERS = frozenset({ApplyTo.LISTENER_FILTER, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER})


def validate(policy: EnvoyFilter) -> Iterator[Problem]:
    """Istio's rules for EnvoyFilter beyond types, and warnings about patches that cannot do anything."""
    yield from _attached(policy)
    for index, patch in enumerate(policy.config_patches):
        yield from _patch(patch, f"spec.configPatches[{index}]")


@dataclass(frozen=True, slots=True)
class _References:
    """References alone: labels are spelled differently here."""

    target_refs: tuple[PolicyTargetReference, ...]
    selector: None = None
    target_ref: None = None


def _attached(policy: EnvoyFilter) -> Iterator[Problem]:
    selector = policy.workload_selector
    if selector is not None and selector.labels and policy.target_refs:
        yield Problem("spec", "has workloadSelector and targetRefs", "keep one of them")
    if selector is not None and not selector.labels:
        yield _warning("spec.workloadSelector", "has no labels, so it selects all workloads", "name labels")
    for key, value in selector.labels.items() if selector is not None else ():
        if not key:
            yield Problem("spec.workloadSelector.labels", "has an empty key", "name a label")
        if "*" in key or "*" in value:
            message = "has a wildcard, which labels do not know"
            yield Problem(f"spec.workloadSelector.labels.{key}", message, "name the value")
    yield from check_attachment(_References(policy.target_refs))


def _patch(said: ConfigPatch, path: str) -> Iterator[Problem]:
    operation = said.patch.operation
    if said.patch.value is None and operation is not Operation.REMOVE:
        yield Problem(f"{path}.patch.value", f"is missing for {operation}", "give Envoy's message", "MissingField")
    if said.patch.value is not None and not _is_json(said.patch.value):
        yield Problem(f"{path}.patch.value", "has a number that JSON does not have", "use finite numbers")
    if said.match.proxy is not None:
        yield from _proxy(said.match.proxy, f"{path}.match.proxy")
    yield from _object(said, path)
    yield from _filters(said, path)
    yield from _useless(said, path)


def _proxy(proxy: ProxyMatch, path: str) -> Iterator[Problem]:
    reason = regex_problem(proxy.proxy_version) or _python_problem(proxy.proxy_version)
    if reason:
        message = f"{proxy.proxy_version[:80]!r} is no regular expression: {reason}"
        yield Problem(f"{path}.proxyVersion", message, "use RE2 syntax")


def _python_problem(pattern: str) -> str:
    """Versions are compared here, not in Envoy."""
    try:
        re.compile(pattern)
    except re.error as wrong:
        return str(wrong)
    return ""


def _object(said: ConfigPatch, path: str) -> Iterator[Problem]:
    """At most one object is matched, and it is of the kind that is patched."""
    match = said.match
    given = [
        name
        for name, found in (
            ("listener", match.listener),
            ("routeConfiguration", match.route_configuration),
            ("cluster", match.cluster),
            ("waypoint", match.waypoint),
        )
        if found is not None
    ]
    if len(given) > 1:
        yield Problem(f"{path}.match", f"has {' and '.join(given)}", "keep one of them")
        return
    wanted = (
        "listener"
        if said.apply_to in _LISTENERS
        else "routeConfiguration"
        if said.apply_to in _ROUTES
        else "cluster"
        if said.apply_to is ApplyTo.CLUSTER
        else ""
    )
    for name in given:
        if not wanted:
            yield _warning(f"{path}.match.{name}", f"has no effect with applyTo {said.apply_to}", "remove it")
        elif name not in (wanted, "waypoint"):
            yield Problem(f"{path}.match.{name}", f"does not fit applyTo {said.apply_to}", f"match on {wanted}")


def _filters(said: ConfigPatch, path: str) -> Iterator[Problem]:
    listener = said.match.listener
    if listener is None or said.apply_to not in _LISTENERS:
        return
    if listener.listener_filter in CANONICAL:
        yield _renamed(listener.listener_filter, f"{path}.match.listener.listenerFilter")
    chain = listener.filter_chain
    if chain is None or chain.filter is None:
        return
    path = f"{path}.match.listener.filterChain.filter"
    network, inner = chain.filter.name, chain.filter.sub_filter
    if said.apply_to not in (ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER):
        yield _warning(path, f"has no effect with applyTo {said.apply_to}", "remove it")
    if not network:
        yield Problem(f"{path}.name", "is missing", "name the filter", "MissingField")
    elif network in CANONICAL:
        yield _renamed(network, f"{path}.name")
    if inner is None:
        return
    if said.apply_to is not ApplyTo.HTTP_FILTER:
        yield Problem(f"{path}.subFilter", f"does not fit applyTo {said.apply_to}", "use HTTP_FILTER, or remove it")
    elif network and CANONICAL.get(network, network) != CONNECTION_MANAGER:
        yield Problem(f"{path}.name", f"{network[:80]!r} has no filters inside", f"name {CONNECTION_MANAGER}")
    if not inner.name:
        yield Problem(f"{path}.subFilter.name", "is missing", "name the filter", "MissingField")
    elif inner.name in CANONICAL:
        yield _renamed(inner.name, f"{path}.subFilter.name")


def _useless(said: ConfigPatch, path: str) -> Iterator[Problem]:
    """Patches that do nothing whatever the mesh has."""
    operation = said.patch.operation
    if said.apply_to is ApplyTo.BOOTSTRAP:
        message = "BOOTSTRAP has no effect: proxies start with a bootstrap that is not patched"
        yield _warning(f"{path}.applyTo", message, "write the bootstrap itself")
    elif not is_effective(said.apply_to, operation):
        yield _warning(
            f"{path}.patch.operation", f"{operation} has no effect with applyTo {said.apply_to}", "use MERGE"
        )
    elif said.apply_to in _FILTERS and operation in (Operation.REMOVE, Operation.REPLACE) and not _names_filter(said):
        yield _warning(f"{path}.match", f"names no filter, so {operation} has no effect", "name the filter")
    if said.match.context is PatchContext.WAYPOINT or said.match.waypoint is not None:
        yield _warning(f"{path}.match", "is for waypoints, which are not served", "do not rely on it")
    classed = said.patch.filter_class is not FilterClass.UNSPECIFIED
    if classed and not (said.apply_to is ApplyTo.HTTP_FILTER and operation is Operation.ADD):
        yield _warning(f"{path}.patch.filterClass", "counts only when an HTTP_FILTER is added with ADD", "remove it")


def _names_filter(said: ConfigPatch) -> bool:
    """Whether the match singles out one of the filters that are patched."""
    listener = said.match.listener
    if listener is None:
        return False
    if said.apply_to is ApplyTo.LISTENER_FILTER:
        return bool(listener.listener_filter)
    chosen = listener.filter_chain.filter if listener.filter_chain is not None else None
    if said.apply_to is ApplyTo.HTTP_FILTER:
        return chosen is not None and chosen.sub_filter is not None
    return chosen is not None


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _renamed(name: str, path: str) -> Problem:
    return _warning(path, f"{name!r} is an old name, which no filter has", f"write {CANONICAL[name]}")


def _warning(path: str, message: str, fix: str) -> Problem:
    return Problem(path, message, fix, severity=Severity.WARNING)
