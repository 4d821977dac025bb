"""Rules of TLSRoute and TCPRoute -> `tls` and `tcp` routes of a VirtualService. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from istiod.api.gatewayapi.tcproute import TCPRoute
from istiod.api.gatewayapi.tlsroute import BytesRule, TLSRoute
from istiod.api.meta import Object
from istiod.api.virtualservice import Destination, PortSelector, RouteDestination
from istiod.gatewayapi.status import PARTIALLY_INVALID, Fault
from istiod.gatewayapi.world import UNRESOLVED, Owner, World

NOWHERE = RouteDestination(destination=Destination(host=UNRESOLVED, port=PortSelector(number=1)), weight=1)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Where connections go, and what is wrong with that. Only the first rule can ever hold."""

    destinations: tuple[RouteDestination, ...]
    faults: tuple[Fault, ...]


def forwarded(world: World, route: Object[TLSRoute] | Object[TCPRoute]) -> Forwarded:
    """The destinations of a route's first rule; a share that leads nowhere is refused."""
    owner = Owner(route.kind, route.meta.namespace)
    faults: list[Fault] = []
    first: BytesRule = route.spec.rules[0]
    made = []
    for index, backend in enumerate(first.backend_refs):
        destination, fault = world.backend(backend, owner, f"spec.rules[0].backendRefs[{index}]")
        if fault is not None:
            faults.append(fault)
        if backend.weight:
            made.append(RouteDestination(destination=destination, weight=backend.weight))
    for index in range(1, len(route.spec.rules)):
        path, message = f"spec.rules[{index}]", "can never hold, as the first rule takes every connection"
        faults.append(
            Fault(PARTIALLY_INVALID, "UnreachableRule", path, message, "put its backends into the first rule")
        )
    return Forwarded(tuple(made) or (NOWHERE,), tuple(faults))
