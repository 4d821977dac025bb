"""Sidecar: what a workload's proxy sees of the mesh, and its own ports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from federation.model.findings import Severity
from istiod.api.destinationrule import ConnectionPoolSettings
from istiod.api.fields import Model, Port, WorkloadSelector
from istiod.api.gateway import GatewayTLSMode, ServerTLSSettings, check_server_tls
from istiod.api.problems import Problem, check_distinct
from istiod.api.rules.destinationrule import check_pool
from istiod.api.rules.values import SOCKET, check_port_name, check_protocol, is_host, is_ip, is_label, is_socket
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
    """What is visible: `namespace/host` patterns; `.` and `*` as namespaces, `~` before one to exclude it."""

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


_ENDPOINT = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):\d{1,5}|unix://(/|/?@).*[^/]")


def validate(sidecar: Sidecar) -> Iterator[Problem]:
    """Istio's rules for Sidecar beyond types."""
    said = (sidecar.egress, sidecar.ingress, sidecar.outbound_traffic_policy, sidecar.inbound_connection_pool)
    if not any(said):
        yield Problem("spec", "is empty", "give egress, ingress, outboundTrafficPolicy or inboundConnectionPool")
    yield from _selector(sidecar.workload_selector)
    yield from check_pool(sidecar.inbound_connection_pool, "spec.inboundConnectionPool")
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
        yield from _listener(listener, f"spec.egress[{index}]")
        for number, host in enumerate(listener.hosts):
            yield from _host(host, f"spec.egress[{index}].hosts[{number}]")
            again = host in listener.hosts[:number] or (number > 0 and "*/*" in listener.hosts)
            if again and not host.startswith("~"):
                message, fix = f"{host[:100]!r} is imported already", "remove it"
                at = f"spec.egress[{index}].hosts[{number}]"
                yield Problem(at, message, fix, severity=Severity.WARNING)
    for index, ingress in enumerate(sidecar.ingress):
        yield from _ingress(ingress, f"spec.ingress[{index}]")
        if not ingress.port.number:
            yield Problem(f"spec.ingress[{index}].port.number", "is missing", "give the port that clients dial")
        if ingress.default_endpoint and not _ENDPOINT.fullmatch(ingress.default_endpoint):
            yield Problem(
                f"spec.ingress[{index}].defaultEndpoint",
                f"{ingress.default_endpoint[:80]!r} is no endpoint of the workload",
                "write 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///PATH",
            )


def _selector(selector: WorkloadSelector | None) -> Iterator[Problem]:
    if selector is None:
        return
    if not selector.all_labels:
        message, fix = "has no labels, so the Sidecar is for the whole namespace", "name labels, or remove it"
        yield Problem("spec.workloadSelector", message, fix, severity=Severity.WARNING)
    for key, value in selector.all_labels.items():
        if not key or "*" in key or "*" in value:
            path = f"spec.workloadSelector.labels.{key[:100]}"
            yield Problem(path, "has a wildcard or no key, which labels do not know", "name the label and its value")


def _port(port: SidecarPort, path: str) -> Iterator[Problem]:
    if port.name:
        yield from check_port_name(port.name, f"{path}.name")
    yield from check_protocol(port.protocol, f"{path}.protocol")


def _listener(listener: IstioEgressListener, path: str) -> Iterator[Problem]:
    """A port and an address to listen on, or a socket in place of both."""
    port = listener.port
    if port is None:
        return
    yield from _port(port, f"{path}.port")
    if port.number:
        if listener.bind and not is_ip(listener.bind):
            yield Problem(f"{path}.bind", f"{listener.bind[:80]!r} is no IP address", "give one, or remove it")
        return
    if not is_socket(listener.bind):
        yield Problem(f"{path}.bind", f"{listener.bind[:80]!r} is no socket, and the port is 0", "write unix:///path")
    if listener.capture_mode is CaptureMode.IPTABLES:
        yield Problem(f"{path}.captureMode", "is IPTABLES with a socket", "use DEFAULT or NONE")


def _ingress(listener: IstioIngressListener, path: str) -> Iterator[Problem]:
    yield from _port(listener.port, f"{path}.port")
    if listener.bind and not is_ip(listener.bind):
        yield Problem(f"{path}.bind", f"{listener.bind[:80]!r} is no IP address", "give one, or remove it")
    yield from check_pool(listener.connection_pool, f"{path}.connectionPool")
    tls = listener.tls
    if tls is None:
        return
    for name, given in (
        ("subjectAltNames", tls.subject_alt_names),
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", tls.credential_name),
        ("credentialNames", tls.credential_names),
        ("tlsCertificates", tls.tls_certificates),
    ):
        if given:
            yield Problem(f"{path}.tls.{name}", "is not supported at a sidecar", "remove it")
    if tls.mode in (GatewayTLSMode.ISTIO_MUTUAL, GatewayTLSMode.AUTO_PASSTHROUGH):
        yield Problem(f"{path}.tls.mode", f"is {tls.mode}, which is for gateways", "use SIMPLE or MUTUAL")
    elif listener.port.protocol.upper() not in ("HTTPS", "TLS"):
        message = f"is given on a port of protocol {listener.port.protocol or 'unknown'}"
        yield Problem(f"{path}.tls", message, "use protocol HTTPS or TLS")
    elif not (tls.credential_name or tls.credential_names or tls.tls_certificates):
        yield from check_server_tls(tls, "HTTPS", f"{path}.tls")


def _host(host: str, path: str) -> Iterator[Problem]:
    """`namespace/host`; namespaces are also `*` and `.`, hosts in full or `*` or `*.suffix`. `~` before the namespace
    takes out what the rest lets in.
    """
    namespace, slash, name = host.partition("/")
    if not slash or not namespace or not name:
        yield Problem(path, f"{host!r} has not the form namespace/host", "write ns/host")
        return
    if namespace.removeprefix("~") not in ("", "*", ".") and not is_label(namespace.removeprefix("~")):
        yield Problem(
            path, f"{namespace[:80]!r} is no namespace", "use a namespace, '.' or '*', after '~' to exclude it"
        )
    if not is_host(name) or (name.startswith("*") and name[1:2] not in ("", ".")):
        yield Problem(path, f"{name[:100]!r} is no host", "write a DNS name, *.suffix or *")
    elif name != "*" and "." not in name:
        yield Problem(path, f"{name[:100]!r} is a short name", "write the name in full")


def _outbound(policy: OutboundTrafficPolicy) -> Iterator[Problem]:
    path, proxy = "spec.outboundTrafficPolicy.egressProxy", policy.egress_proxy
    if proxy is None:
        return
    if policy.mode is not OutboundMode.ALLOW_ANY:
        yield Problem(path, f"is given in mode {policy.mode}", "use mode ALLOW_ANY, or remove it")
    if not is_host(proxy.host, wildcard=False):
        yield Problem(f"{path}.host", f"{proxy.host[:100]!r} is no host", "name one service")
    if proxy.subset and not is_label(proxy.subset):
        yield Problem(f"{path}.subset", f"{proxy.subset[:80]!r} is no name", "use letters, digits and '-'")
    if proxy.port is None:
        yield Problem(f"{path}.port", "is missing", "give port.number")


def _ports(
    side: str, listeners: Sequence[IstioEgressListener | IstioIngressListener]
) -> Iterator[tuple[str, int | str]]:
    for index, listener in enumerate(listeners):
        number = listener.port.number if listener.port is not None else 0
        place = f"{listener.bind}:{number}" if number or listener.bind.startswith(SOCKET) else ""
        yield f"spec.{side}[{index}].port.number", place if listener.bind else number
