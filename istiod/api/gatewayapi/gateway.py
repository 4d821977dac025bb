"""Gateway of the Gateway API: listeners at an edge of the mesh, and who may hang routes on them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field

from istiod.api.fields import Model, Port
from istiod.api.gatewayapi.references import (
    GROUP,
    LocalReference,
    ObjectReference,
    SecretReference,
    check_hostname,
    check_length,
    check_namespace,
    check_object_name,
    check_section,
)
from istiod.api.problems import Problem


class TLSMode(StrEnum):
    """Whether TLS ends at the listener."""

    TERMINATE = "Terminate"
    PASSTHROUGH = "Passthrough"


class From(StrEnum):
    """Namespaces whose routes are allowed."""

    ALL = "All"
    SAME = "Same"
    SELECTOR = "Selector"
    NONE = "None"


class Operator(StrEnum):
    """How a label is tested."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Model):
    """One test of a label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class LabelSelector(Model):
    """Kubernetes' label selector."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelRequirement, ...] = ()


class RouteNamespaces(Model):
    """Namespaces of routes."""

    from_: From = Field(default=From.SAME, alias="from")
    selector: LabelSelector | None = None


class RouteKind(Model):
    """A kind of routes."""

    group: str = GROUP
    kind: str


class AllowedRoutes(Model):
    """Which routes may hang on a listener."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteKind, ...] = ()


class ClientValidation(Model):
    """How client certificates are verified."""

    ca_certificate_refs: tuple[ObjectReference, ...] = ()
    mode: str = "AllowValidOnly"


class ListenerTLS(Model):
    """TLS of a listener."""

    mode: TLSMode = TLSMode.TERMINATE
    certificate_refs: tuple[SecretReference, ...] = ()
    frontend_validation: ClientValidation | None = None
    options: dict[str, str] = {}


class Listener(Model):
    """A port, a protocol and a host."""

    name: str
    hostname: str = ""
    port: Port
    protocol: str
    tls: ListenerTLS | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class Address(Model):
    """Where a Gateway can be reached; without a value the implementation picks one."""

    type: str = "IPAddress"
    value: str = ""


class Infrastructure(Model):
    """What a deployment for a Gateway gets."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    parameters_ref: LocalReference | None = None


class AllowedListeners(Model):
    """Which ListenerSets may add listeners."""

    namespaces: RouteNamespaces | None = None


class FrontendTLSConfig(Model):
    """How client certificates are verified on a port, or on all."""

    validation: ClientValidation | None = None


class FrontendPort(Model):
    """The same for one port."""

    port: Port
    tls: FrontendTLSConfig


class FrontendTLS(Model):
    """Client certificates, towards clients."""

    default: FrontendTLSConfig = FrontendTLSConfig()
    per_port: tuple[FrontendPort, ...] = ()


class BackendTLS(Model):
    """The Gateway's own certificate, towards backends."""

    client_certificate_ref: SecretReference | None = None


class GatewayTLS(Model):
    """TLS of a whole Gateway."""

    backend: BackendTLS | None = None
    frontend: FrontendTLS | None = None


class Gateway(Model):
    """gateway.networking.k8s.io Gateway."""

    gateway_class_name: str
    listeners: tuple[Listener, ...]
    addresses: tuple[Address, ...] = ()
    infrastructure: Infrastructure | None = None
    allowed_listeners: AllowedListeners | None = None
    tls: GatewayTLS | None = None
    default_scope: str = ""


def validate(gateway: Gateway) -> Iterator[Problem]:
    """The rules of the CRD beyond types."""
    yield from check_object_name(gateway.gateway_class_name, "spec.gatewayClassName")
    yield from check_length(gateway.listeners, 64, "spec.listeners", 1)
    yield from check_length(gateway.addresses, 16, "spec.addresses")
    names: dict[str, int] = {}
    places: dict[tuple[int, str, str], int] = {}
    for index, listener in enumerate(gateway.listeners):
        at = f"spec.listeners[{index}]"
        yield from _listener(listener, at)
        if listener.name in names:
            first = names[listener.name]
            yield Problem(f"{at}.name", f"{listener.name[:80]!r} is also the name of listeners[{first}]", "rename one")
        names.setdefault(listener.name, index)
        place = (listener.port, listener.protocol, listener.hostname)
        if place in places:
            message = f"has the port, protocol and hostname of listeners[{places[place]}]"
            yield Problem(at, message, "change one of them")
        places.setdefault(place, index)
    for index, address in enumerate(gateway.addresses):
        if address.type == "Hostname" and address.value:
            yield from check_hostname(address.value, f"spec.addresses[{index}].value", wildcard=False)


def _listener(listener: Listener, path: str) -> Iterator[Problem]:
    yield from check_section(listener.name, f"{path}.name")
    if listener.hostname:
        yield from check_hostname(listener.hostname, f"{path}.hostname")
    if listener.hostname and listener.protocol in ("TCP", "UDP"):
        yield Problem(f"{path}.hostname", f"is given for protocol {listener.protocol}", "remove it")
    if listener.tls is not None:
        yield from _tls(listener, listener.tls, f"{path}.tls")
    namespaces = listener.allowed_routes.namespaces
    yield from check_length(listener.allowed_routes.kinds, 8, f"{path}.allowedRoutes.kinds")
    if namespaces.from_ is From.SELECTOR and namespaces.selector is None:
        at = f"{path}.allowedRoutes.namespaces.selector"
        yield Problem(at, "is missing for from: Selector", "give it", "MissingField")
    for index, test in enumerate(namespaces.selector.match_expressions if namespaces.selector else ()):
        listed = test.operator in (Operator.IN, Operator.NOT_IN)
        if listed != bool(test.values):
            at = f"{path}.allowedRoutes.namespaces.selector.matchExpressions[{index}].values"
            is_wrong = "is empty" if listed else "is given"
            yield Problem(at, f"{is_wrong} for operator {test.operator}", "correct one of them")


def _tls(listener: Listener, tls: ListenerTLS, path: str) -> Iterator[Problem]:
    if listener.protocol in ("HTTP", "TCP", "UDP"):
        yield Problem(path, f"is given for protocol {listener.protocol}", "remove it, or use HTTPS or TLS")
    if listener.protocol == "HTTPS" and tls.mode is not TLSMode.TERMINATE:
        yield Problem(f"{path}.mode", f"is {tls.mode} for protocol HTTPS", "use protocol TLS to pass it through")
    if tls.mode is TLSMode.TERMINATE and not tls.certificate_refs and not tls.options:
        yield Problem(f"{path}.certificateRefs", "is empty in mode Terminate", "name a Secret")
    yield from check_length(tls.certificate_refs, 64, f"{path}.certificateRefs")
    yield from check_length(tuple(tls.options), 16, f"{path}.options")
    for index, reference in enumerate(tls.certificate_refs):
        yield from check_object_name(reference.name, f"{path}.certificateRefs[{index}].name")
        yield from check_namespace(reference.namespace, f"{path}.certificateRefs[{index}].namespace")
