"""EnvoyFilter: patches to what proxies are told, in Envoy's own words.

Owns the shape of the object and which operations do anything; what is wrong with one, `istiod.api.envoyfilter_rules`
says. The value of a patch is free-form here; `istiod.encode.patch` reads it. Rules: EnvoyFilter reference.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from istiod.api.attachment import PolicyTargetReference
from istiod.api.fields import Model, PolicySelector, WorkloadSelector

CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
PortNumber = Annotated[int, Field(ge=0, le=65535)]
Priority = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]


class ApplyTo(StrEnum):
    """What a patch changes."""

    LISTENER = "LISTENER"
    FILTER_CHAIN = "FILTER_CHAIN"
    LISTENER_FILTER = "LISTENER_FILTER"
    NETWORK_FILTER = "NETWORK_FILTER"
    HTTP_FILTER = "HTTP_FILTER"
    ROUTE_CONFIGURATION = "ROUTE_CONFIGURATION"
    VIRTUAL_HOST = "VIRTUAL_HOST"
    HTTP_ROUTE = "HTTP_ROUTE"
    CLUSTER = "CLUSTER"
    EXTENSION_CONFIG = "EXTENSION_CONFIG"
    BOOTSTRAP = "BOOTSTRAP"


class PatchContext(StrEnum):
    """Whose configuration a patch changes."""

    ANY = "ANY"
    SIDECAR_INBOUND = "SIDECAR_INBOUND"
    SIDECAR_OUTBOUND = "SIDECAR_OUTBOUND"
    GATEWAY = "GATEWAY"
    WAYPOINT = "WAYPOINT"


class Operation(StrEnum):
    """How a patch changes it. INSERT_* means ADD where order does not matter."""

    MERGE = "MERGE"
    MERGE_AND_REPLACE_LIST = "MERGE_AND_REPLACE_LIST"
    ADD = "ADD"
    REMOVE = "REMOVE"
    INSERT_BEFORE = "INSERT_BEFORE"
    INSERT_AFTER = "INSERT_AFTER"
    INSERT_FIRST = "INSERT_FIRST"
    REPLACE = "REPLACE"

    @property
    def merges(self) -> bool:
        """Whether the value is merged into what is there."""
        return self in (Operation.MERGE, Operation.MERGE_AND_REPLACE_LIST)

    @property
    def inserts(self) -> bool:
        """Whether the value goes to a place of a list."""
        return self in (Operation.INSERT_BEFORE, Operation.INSERT_AFTER, Operation.INSERT_FIRST)


class FilterClass(StrEnum):
    """After which filters of the mesh an added filter stands."""

    UNSPECIFIED = "UNSPECIFIED"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class RouteAction(StrEnum):
    """What a route does with a request."""

    ANY = "ANY"
    ROUTE = "ROUTE"
    REDIRECT = "REDIRECT"
    DIRECT_RESPONSE = "DIRECT_RESPONSE"


class ProxyMatch(Model):
    """Which proxies, by what their node says. `proxy_version` is a regular expression."""

    proxy_version: str = ""
    metadata: dict[str, str] = {}


class SubFilterMatch(Model):
    """A filter inside another one."""

    name: str = ""


class FilterMatch(Model):
    """A network filter."""

    name: str = ""
    sub_filter: SubFilterMatch | None = None


class FilterChainMatch(Model):
    """A filter chain, by its name or by the connections it takes; application protocols with commas."""

    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: str = ""
    destination_port: PortNumber = 0
    filter: FilterMatch | None = None


class ListenerMatch(Model):
    """A listener, and what in it."""

    port_number: PortNumber = 0
    port_name: str = ""
    filter_chain: FilterChainMatch | None = None
    name: str = ""
    listener_filter: str = ""


class RouteMatch(Model):
    """A route of a virtual host."""

    name: str = ""
    action: RouteAction = RouteAction.ANY


class VirtualHostMatch(Model):
    """A virtual host, by its name or one of its domains."""

    name: str = ""
    domain_name: str = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(Model):
    """A route configuration; `gateway` is `namespace/name`."""

    port_number: PortNumber = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None
    name: str = ""


class ClusterMatch(Model):
    """An upstream, by its name alone or by what it stands for."""

    port_number: PortNumber = 0
    service: str = ""
    subset: str = ""
    name: str = ""


class WaypointRouteMatch(Model):
    """A route of a waypoint."""

    name: str = ""


class WaypointMatch(Model):
    """What in a waypoint."""

    port_number: PortNumber = 0
    filter: FilterMatch | None = None
    route: WaypointRouteMatch | None = None


class ObjectMatch(Model):
    """Where a patch applies; at most one of the four objects."""

    context: PatchContext = PatchContext.ANY
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    waypoint: WaypointMatch | None = None


class Patch(Model):
    """The change. `value` is a message of Envoy's API in its JSON form."""

    operation: Operation
    value: dict[str, Any] | None = None
    filter_class: FilterClass = FilterClass.UNSPECIFIED


class ConfigPatch(Model):
    """One change and where it applies."""

    apply_to: ApplyTo
    match: ObjectMatch = ObjectMatch()
    patch: Patch


class EnvoyFilter(Model):
    """networking.istio.io EnvoyFilter; lower `priority` is applied first."""

    workload_selector: WorkloadSelector | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    config_patches: tuple[ConfigPatch, ...] = ()
    priority: Priority = 0

    @property
    def selector(self) -> PolicySelector | None:
        """The workload selector as other policies have it."""
        return None if self.workload_selector is None else PolicySelector(match_labels=self.workload_selector.labels)

    @property
    def target_ref(self) -> None:
        """There is only the list."""


# Operations that do something, where that is not all of them; INSERT_* beside ADD counts as ADD.
_MERGES = frozenset({Operation.MERGE, Operation.MERGE_AND_REPLACE_LIST})
_INSERTS = frozenset({Operation.INSERT_BEFORE, Operation.INSERT_AFTER, Operation.INSERT_FIRST})
_ADDS = _INSERTS | {Operation.ADD}
_EFFECTIVE = {
    ApplyTo.LISTENER: _MERGES | _ADDS | {Operation.REMOVE},
    ApplyTo.FILTER_CHAIN: _MERGES | _ADDS | {Operation.REMOVE},
    ApplyTo.CLUSTER: _MERGES | _ADDS | {Operation.REMOVE},
    ApplyTo.HTTP_ROUTE: _MERGES | _ADDS | {Operation.REMOVE},
    ApplyTo.ROUTE_CONFIGURATION: _MERGES,
    ApplyTo.EXTENSION_CONFIG: _ADDS,
}

# Names that Envoy's filters had before 1.14: nothing has them any more, so patches that match on them do nothing.
CANONICAL = {
    "envoy.http_connection_manager": CONNECTION_MANAGER,
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
    "envoy.router": "envoy.filters.http.router",
    "envoy.cors": "envoy.filters.http.cors",
    "envoy.fault": "envoy.filters.http.fault",
    "envoy.grpc_web": "envoy.filters.http.grpc_web",
    "envoy.grpc_stats": "envoy.filters.http.grpc_stats",
    "envoy.lua": "envoy.filters.http.lua",
    "envoy.rate_limit": "envoy.filters.http.ratelimit",
    "envoy.ext_authz": "envoy.filters.http.ext_authz",
    "envoy.listener.tls_inspector": "envoy.filters.listener.tls_inspector",
    "envoy.listener.http_inspector": "envoy.filters.listener.http_inspector",
    "envoy.listener.original_dst": "envoy.filters.listener.original_dst",
    "envoy.listener.proxy_protocol": "envoy.filters.listener.proxy_protocol",
}


def is_effective(apply_to: ApplyTo, operation: Operation) -> bool:
    """Whether an operation does anything to this kind of object."""
    return apply_to is not ApplyTo.BOOTSTRAP and operation in _EFFECTIVE.get(apply_to, frozenset(Operation))
