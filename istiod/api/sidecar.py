"""Sidecar: what a workload's proxy sees of the mesh, and its own ports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from istiod.api.destinationrule import ConnectionPoolSettings
from istiod.api.fields import Model, Port, WorkloadSelector
from istiod.api.gateway import ServerTLSSettings
from istiod.api.problems import Problem, check_distinct
from istiod.api.virtualservice import Destination


class SidecarPort(Model):
    """A port; number 0 with a unix socket bind."""

    number: Annotated[int, Field(ge=0, le=65535)] = 0
    protocol: str = ""
    name: str = ""
    target_port: Port | None = None


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


_ENDPOINT = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):\d{1,5}|unix://.+")


def validate(sidecar: Sidecar) -> Iterator[Problem]:
    """Istio's rules for Sidecar beyond types."""
    catch_all = [index for index, listener in enumerate(sidecar.egress) if listener.port is None]
    if len(catch_all) > 1 or (catch_all and catch_all[0] != len(sidecar.egress) - 1):
        yield Problem(
            f"spec.egress[{catch_all[0]}]", "has no port but is not the last", "list the one without a port last, once"
        )
    if sidecar.outbound_traffic_policy is not None:
        yield from _outbound(sidecar.outbound_traffic_policy)
    yield from check_distinct(_ports("egress", sidecar.egress), "port number")
    yield from check_distinct(_ports("ingress", sidecar.ingress), "port number")
    for index, listener in enumerate(sidecar.egress):
        if not listener.hosts:
            yield Problem(f"spec.egress[{index}].hosts", "is empty", "list namespace/host, or ~/* for nothing")
        for number, host in enumerate(listener.hosts):
            namespace, slash, name = host.partition("/")
            if not slash or not namespace or not name:
                yield Problem(
                    f"spec.egress[{index}].hosts[{number}]",
                    f"{host!r} has not the form namespace/host",
                    "write ns/host",
                )
    for index, ingress in enumerate(sidecar.ingress):
        if not ingress.port.number:
            yield Problem(f"spec.ingress[{index}].port.number", "is missing", "give the port that clients dial")
        if ingress.default_endpoint and not _ENDPOINT.fullmatch(ingress.default_endpoint):
            yield Problem(
                f"spec.ingress[{index}].defaultEndpoint",
                f"{ingress.default_endpoint[:80]!r} is no endpoint of the workload",
                "write 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH",
            )


def _outbound(policy: OutboundTrafficPolicy) -> Iterator[Problem]:
    path, proxy = "spec.outboundTrafficPolicy.egressProxy", policy.egress_proxy
    if proxy is None:
        return
    if policy.mode is not OutboundMode.ALLOW_ANY:
        yield Problem(path, f"is given in mode {policy.mode}", "use mode ALLOW_ANY, or remove it")
    if not proxy.host or "*" in proxy.host:
        yield Problem(f"{path}.host", f"{proxy.host!r} is no host", "name one service")
    if proxy.port is None:
        yield Problem(f"{path}.port", "is missing", "give port.number")


def _ports(
    side: str, listeners: Sequence[IstioEgressListener | IstioIngressListener]
) -> Iterator[tuple[str, int | str]]:
    for index, listener in enumerate(listeners):
        number = listener.port.number if listener.port is not None else 0
        yield f"spec.{side}[{index}].port.number", f"{listener.bind}:{number}" if listener.bind and number else number
