"""Sidecar: what a workload's proxy sees of the mesh, and its own ports."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from istiod.api.destinationrule import ConnectionPoolSettings
from istiod.api.fields import Model, WorkloadSelector
from istiod.api.gateway import ServerTLSSettings
from istiod.api.problems import Problem
from istiod.api.virtualservice import Destination


class SidecarPort(Model):
    """A port; number 0 with a unix socket bind."""

    number: int = 0
    protocol: str = ""
    name: str = ""
    target_port: int | None = None


class CaptureMode(StrEnum):
    """How traffic reaches the listener."""

    DEFAULT = "DEFAULT"
    IPTABLES = "IPTABLES"
    NONE = "NONE"


class IstioIngressListener(Model):
    """A port of the workload."""

    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Model):
    """What is visible: `namespace/host` patterns; `.`, `*` and `~` as namespaces."""

    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = CaptureMode.DEFAULT
    hosts: tuple[str, ...]


class OutboundMode(StrEnum):
    """What happens to calls of unknown destinations."""

    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class OutboundTrafficPolicy(Model):
    """Calls to unknown destinations."""

    mode: OutboundMode = OutboundMode.REGISTRY_ONLY
    egress_proxy: Destination | None = None


class Sidecar(Model):
    """networking.istio.io Sidecar."""

    workload_selector: WorkloadSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


def validate(sidecar: Sidecar) -> Iterator[Problem]:
    """Istio's rules for Sidecar beyond types."""
    catch_all = [index for index, listener in enumerate(sidecar.egress) if listener.port is None]
    if len(catch_all) > 1 or (catch_all and catch_all[0] != len(sidecar.egress) - 1):
        yield Problem(
            f"spec.egress[{catch_all[0]}]", "has no port but is not the last", "list the one without a port last, once"
        )
    for index, listener in enumerate(sidecar.egress):
        for number, host in enumerate(listener.hosts):
            namespace, slash, name = host.partition("/")
            if not slash or not namespace or not name:
                yield Problem(f"spec.egress[{index}].hosts[{number}]", f"{host!r} has not the form namespace/host")
    for index, ingress in enumerate(sidecar.ingress):
        if not ingress.port.number:
            yield Problem(f"spec.ingress[{index}].port.number", "is missing", "give the port that clients dial")
