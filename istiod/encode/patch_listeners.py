"""Patches of listeners and what is in them: listener filters, filter chains, network and HTTP filters, inline routes.

Input: the finished message and the patches that `istiod.resolve.patches` has found to be for it; what is below the
listener is matched here. Rules: EnvoyFilter reference; the order is Istio's: from the outside in, and at one place
what adds and removes before what merges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from istiod.api.envoyfilter import CONNECTION_MANAGER, ApplyTo, FilterClass, Operation
from istiod.encode.patch import value_of
from istiod.encode.patch_list import edit, end_of, merge_into
from istiod.encode.patch_merge import merge
from istiod.encode.patch_routes import patch_routes
from istiod.encode.wire import pack
from istiod.resolve.patches import VIRTUAL
from istiod.resolve.specs.patch import ListenerTarget, PatchRef, PatchSpec, RouteTarget

_ROUTES = (ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE)

# Filters of the mesh after which one of a class stands; the last class stands before the terminal filter.
_AUTHN = ("envoy.filters.http.jwt_authn",)
_AUTHZ = (*_AUTHN, "envoy.filters.http.rbac", "envoy.filters.http.ext_authz")
_AFTER = {FilterClass.AUTHN: _AUTHN, FilterClass.AUTHZ: _AUTHZ}


def patch_listener(listener: Listener, patches: Iterable[PatchSpec]) -> frozenset[PatchRef]:
    """Change a listener; tells which patches did something."""
    return _Editor(listener, tuple(patches)).run()


class _Editor:
    """One listener under its patches."""

    def __init__(self, listener: Listener, patches: tuple[PatchSpec, ...]) -> None:
        self._listener = listener
        self._virtual = listener.name in VIRTUAL
        self._patches = patches
        self._done: set[PatchRef] = set()

    def run(self) -> frozenset[PatchRef]:
        """All of them."""
        listener = self._listener
        for patch in self._of(ApplyTo.LISTENER, merging=True):
            self._merged(patch, listener)
        filters = listener.listener_filters
        for patch in self._of(ApplyTo.LISTENER_FILTER):
            name = _target(patch).listener_filter
            self._edited(patch, filters, _named(name), _selective(patch, name))
        for chain in listener.filter_chains:
            self._chain(chain)
        if listener.HasField("default_filter_chain"):
            self._chain(listener.default_filter_chain)
        self._chains()
        return frozenset(self._done)

    def _chains(self) -> None:
        """Chains that are removed or added; a chain whose filters are all gone goes too. A listener keeps one, as Envoy
        takes none without.
        """
        listener = self._listener
        before = Listener()
        before.CopyFrom(listener)
        for patch in self._of(ApplyTo.FILTER_CHAIN):
            if patch.operation is Operation.REMOVE:
                self._edited(patch, listener.filter_chains, partial(self._is_chain, patch), False)
                if listener.HasField("default_filter_chain") and self._is_chain(patch, listener.default_filter_chain):
                    listener.ClearField("default_filter_chain")
                    self._done.add(patch.ref)
            elif patch.operation is Operation.ADD:
                self._edited(patch, listener.filter_chains, lambda _: False, False)
        for index in reversed(range(len(listener.filter_chains))):
            if not listener.filter_chains[index].filters:
                del listener.filter_chains[index]
        if listener.HasField("default_filter_chain") and not listener.default_filter_chain.filters:
            listener.ClearField("default_filter_chain")
        if not listener.filter_chains and not listener.HasField("default_filter_chain"):
            listener.CopyFrom(before)

    def _chain(self, chain: FilterChain) -> None:
        for patch in self._of(ApplyTo.FILTER_CHAIN, merging=True):
            if self._is_chain(patch, chain):
                self._merged(patch, chain)
        filters = chain.filters
        for patch in self._of(ApplyTo.NETWORK_FILTER):
            if self._is_chain(patch, chain):
                name = _target(patch).filter
                self._edited(patch, filters, _named(name), _selective(patch, name))
        for patch in self._of(ApplyTo.NETWORK_FILTER, merging=True):
            if self._is_chain(patch, chain) and merge_into(filters, patch, _mergeable(patch, _target(patch).filter)):
                self._done.add(patch.ref)
        for item in filters:
            if item.name == CONNECTION_MANAGER:
                self._connection(chain, item)

    def _connection(self, chain: FilterChain, item: Filter) -> None:
        """What is inside an HTTP connection manager."""
        patches = [
            patch
            for patch in self._patches
            if patch.apply_to in _ROUTES or (patch.apply_to is ApplyTo.HTTP_FILTER and self._is_in(patch, chain, item))
        ]
        manager = HttpConnectionManager()
        if not patches or not item.typed_config.Unpack(manager):
            return
        filters = manager.http_filters
        inside = [patch for patch in patches if patch.apply_to is ApplyTo.HTTP_FILTER]
        for patch in inside:
            name = _target(patch).sub_filter
            if patch.operation is Operation.ADD:
                self._insert(patch, filters)
            elif not patch.operation.merges:
                self._edited(patch, filters, _named(name), _selective(patch, name))
        for patch in inside:
            if patch.operation.merges and merge_into(filters, patch, _mergeable(patch, _target(patch).sub_filter)):
                self._done.add(patch.ref)
        if manager.HasField("route_config"):
            self._done |= patch_routes(manager.route_config, (p for p in patches if isinstance(p.target, RouteTarget)))
        item.typed_config.CopyFrom(pack(manager))

    def _insert(self, patch: PatchSpec, filters: Any) -> None:
        """ADD goes to the end, or behind the filters of its class."""
        value = value_of(patch).message
        if value is None:
            return
        place = end_of(filters)
        if patch.filter_class in _AFTER:
            known = _AFTER[patch.filter_class]
            place = max((index + 1 for index, item in enumerate(filters) if item.name in known), default=0)
        filters.insert(place, value)
        self._done.add(patch.ref)

    def _of(self, apply_to: ApplyTo, merging: bool = False) -> Iterator[PatchSpec]:
        return (p for p in self._patches if p.apply_to is apply_to and self._merging(p) is merging)

    @staticmethod
    def _merging(patch: PatchSpec) -> bool:
        """Listener filters are merged in the order of everything else, as nothing is inside them."""
        return patch.operation.merges and patch.apply_to is not ApplyTo.LISTENER_FILTER

    def _edited(self, patch: PatchSpec, items: Any, matches: Callable[[Any], bool], selective: bool) -> None:
        needs = patch.operation in (Operation.REMOVE, Operation.REPLACE) and patch.apply_to is not ApplyTo.FILTER_CHAIN
        if needs and not selective:
            return  # every filter of a chain is never meant
        change = merge_into(items, patch, matches) if patch.operation.merges else edit(items, patch, matches, selective)
        if change:
            self._done.add(patch.ref)

    def _merged(self, patch: PatchSpec, target: Listener | FilterChain) -> None:
        value = value_of(patch).message
        if value is not None:
            merge(target, value, patch.operation is Operation.MERGE_AND_REPLACE_LIST)
            self._done.add(patch.ref)

    def _is_in(self, patch: PatchSpec, chain: FilterChain, item: Filter) -> bool:
        name = _target(patch).filter
        return (not name or name == item.name) and self._is_chain(patch, chain)

    def _is_chain(self, patch: PatchSpec, chain: FilterChain) -> bool:
        """Whether a patch means a chain of its listener. An empty match of Envoy's has none of the values asked for."""
        target, match = _target(patch), chain.filter_chain_match
        ports = target.chain_ports if self._virtual else ()
        return (
            (not ports or match.destination_port.value in ports)
            and (not target.chain or target.chain == chain.name)
            and (not target.sni or target.sni in match.server_names)
            and (not target.transport_protocol or target.transport_protocol == match.transport_protocol)
            and all(protocol in match.application_protocols for protocol in target.application_protocols)
            and (not target.destination_port or target.destination_port == match.destination_port.value)
        )


def _target(patch: PatchSpec) -> ListenerTarget:
    assert isinstance(patch.target, ListenerTarget)
    return patch.target


def _selective(patch: PatchSpec, name: str) -> bool:
    """Whether a patch of filters needs one of this name; INSERT_FIRST goes to the front in any case."""
    return bool(name) and patch.operation is not Operation.INSERT_FIRST


def _mergeable(patch: PatchSpec, name: str) -> Callable[[Any], bool]:
    """The filters that a patch may be merged into: of the name, or without one those with settings of its type."""
    value: Any = value_of(patch).message
    if name or value is None or not value.HasField("typed_config"):
        return _named(name)
    return lambda item: bool(item.typed_config.type_url == value.typed_config.type_url)


def _named(name: str) -> Callable[[Any], bool]:
    return lambda item: not name or item.name == name
