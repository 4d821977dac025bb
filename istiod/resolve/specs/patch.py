"""Patches that users wrote in Envoy's own words, as values that are attached to the specs they may change.

The value is canonical JSON text, which only `istiod.encode.patch` reads. Everything that depends on the proxy has been
decided: a patch on a spec is for that proxy, in that context, and for that listener, route configuration or upstream.
"""

from __future__ import annotations

from dataclasses import dataclass

from istiod.api.envoyfilter import ApplyTo, FilterClass, Operation, RouteAction


@dataclass(frozen=True, slots=True, order=True)
class PatchRef:
    """Where a patch stands: the object, as findings name it, and its index in `configPatches`."""

    object: str
    index: int


@dataclass(frozen=True, slots=True)
class ListenerTarget:
    """Which listener, filter chain and filter; empty parts match all.

    `chain_ports` are destination ports of chains, for the two listeners that catch everything: there a port number
    means the chain. `filter` is a network filter, `sub_filter` an HTTP filter of it.
    """

    name: str = ""
    port: int = 0
    listener_filter: str = ""
    chain_ports: tuple[int, ...] = ()
    chain: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    destination_port: int = 0
    filter: str = ""
    sub_filter: str = ""


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """Which route configuration, virtual host and route; empty parts match all. `gateway` is `namespace/name`."""

    name: str = ""
    port: int = 0
    port_name: str = ""
    gateway: str = ""
    host: str = ""
    domain: str = ""
    route: str = ""
    action: RouteAction = RouteAction.ANY

    @property
    def names_route(self) -> bool:
        """Whether it singles out routes of a virtual host."""
        return bool(self.route) or self.action is not RouteAction.ANY


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """Which upstream; `name` alone decides where it is given."""

    name: str = ""
    port: int = 0
    service: str = ""
    subset: str = ""


Target = ListenerTarget | RouteTarget | ClusterTarget


@dataclass(frozen=True, slots=True)
class PatchSpec:
    """One change. `value` is JSON with sorted keys, "" for REMOVE; `target` is of the kind that `apply_to` needs."""

    ref: PatchRef
    apply_to: ApplyTo
    operation: Operation
    value: str
    target: Target
    filter_class: FilterClass = FilterClass.UNSPECIFIED
