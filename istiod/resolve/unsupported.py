"""Fields that are valid and have no effect, as findings: what is not built is said, never silent.

One table of messages and fields, with what happens where one is set; docs/compatibility.md is made of it too. Nothing
else in the package needs to know what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from federation.model.findings import Finding, Severity
from istiod.api import destinationrule, envoyfilter, gateway, proxyconfig, sidecar, telemetry, virtualservice
from istiod.api.gatewayapi import gateway as kubernetes_gateway
from istiod.api.gatewayapi import gatewayclass, grpcroute, httproute, tcproute, tlsroute
from istiod.api.kinds import KINDS
from istiod.api.meta import Object
from istiod.memo import memo
from istiod.resolve.objects import Table, table_of
from istiod.snapshot import Snapshot

IGNORED = "has no effect yet"
NO_DEPLOYMENT = "has no effect, as nothing is deployed for a Gateway"
NOT_IN_ISTIO = "has no effect, as in Istio, whose istiod does not follow it either"
NOT_IN_ENVOY = "has no effect: stock Envoy cannot do it"
AT_THE_END = "has no effect: bytes are counted when a connection ends"
STILL_VERIFIED = "has no effect: certificates of clients are verified where the mode asks for them"
CRL_FILE = "has no effect: a revocation list counts in the Secret of credentialName (ca.crl) only"

# Message -> Python name of the field -> what happens. A field counts as set when it differs from its default, wherever
# in a kind the message stands.
NOT_BUILT: Mapping[type[BaseModel], Mapping[str, str]] = {
    virtualservice.Delay: {"exponential_delay": NOT_IN_ISTIO},
    virtualservice.Abort: dict.fromkeys(("http2_error", "percent"), NOT_IN_ISTIO),
    destinationrule.ClientTLSSettings: {"ca_crl": CRL_FILE},
    destinationrule.LoadBalancerSettings: {"zone_aware_lb_setting": IGNORED},
    destinationrule.OutlierDetection: {"outlier_detection_http_error_codes": NOT_IN_ISTIO},
    destinationrule.RetryBudget: {"budget_interval": NOT_IN_ENVOY},
    gateway.Server: {"default_endpoint": NOT_IN_ISTIO},
    gateway.GatewayPort: {"target_port": NOT_IN_ISTIO},
    gateway.ServerTLSSettings: {"ca_crl": CRL_FILE, "insecure_skip_verify": STILL_VERIFIED},
    envoyfilter.ListenerMatch: {"port_name": IGNORED},
    proxyconfig.ProxyConfig: {"concurrency": IGNORED, "environment_variables": IGNORED, "image": IGNORED},
    sidecar.SidecarPort: {"target_port": NOT_IN_ISTIO},
    telemetry.Metrics: {"reporting_interval": AT_THE_END},
    gatewayclass.GatewayClass: {"parameters_ref": NO_DEPLOYMENT},
    kubernetes_gateway.Gateway: {
        "infrastructure": NO_DEPLOYMENT,
        "allowed_listeners": IGNORED,
        "default_scope": IGNORED,
    },
    kubernetes_gateway.BackendTLS: {"client_certificate_ref": IGNORED},
    httproute.HTTPRoute: {"use_default_gateways": IGNORED},
    httproute.HTTPRule: {"session_persistence": IGNORED},
    grpcroute.GRPCRoute: {"use_default_gateways": IGNORED},
    grpcroute.GRPCRule: {"session_persistence": IGNORED},
    tlsroute.TLSRoute: {"use_default_gateways": IGNORED},
    tcproute.TCPRoute: {"use_default_gateways": IGNORED},
}


def unsupported_fields(snapshot: Snapshot) -> tuple[Finding, ...]:
    """A finding for each field in use that nothing follows yet."""
    kinds = (info for info in KINDS.values() if _concerned(info.model))
    return tuple(finding for info in kinds for finding in _of_table(table_of(snapshot, info.kind)))


@memo(size=64)
def _of_table(table: Table) -> tuple[Finding, ...]:
    return tuple(finding for item in table.values() if isinstance(item, Object) for finding in _of_object(item))


@memo(size=20_000)
def _of_object(item: Object[Any]) -> tuple[Finding, ...]:
    return tuple(
        Finding(Severity.WARNING, "FieldNotSupported", str(item), where, what, "do not rely on it")
        for where, what in _used(item.spec, "spec")
    )


@cache
def _concerned(model: type[BaseModel]) -> bool:
    """Whether a message has such a field, itself or in a message inside."""
    inner = (field.annotation for field in model.model_fields.values())
    return model in NOT_BUILT or any(_concerned(part) for annotation in inner for part in messages_in(annotation))


def messages_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The messages in the type of a field, e.g. those of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from messages_in(part)


def _used(message: BaseModel, where: str) -> Iterator[tuple[str, str]]:
    """The places, as Istio spells them, where such a field is set, and what happens."""
    if not _concerned(type(message)):
        return
    not_built = NOT_BUILT.get(type(message), {})
    for name in message.model_fields_set:
        info, value = type(message).model_fields[name], getattr(message, name)
        here = f"{where}.{info.alias or name}"
        if name in not_built and value and value != info.default:
            yield here, not_built[name]
        yield from _inside(value, here)


def _inside(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from _used(value, where)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _inside(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, f"{where}.{key}")
