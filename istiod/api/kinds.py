"""The catalogue of kinds: which API groups and versions there are, which model reads them, which rules hold.

The one place to add a kind. `Kind` values are the names of the store's tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from istiod.api import (
    authorizationpolicy,
    destinationrule,
    envoyfilter,
    envoyfilter_rules,
    gateway,
    peerauthentication,
    proxyconfig,
    requestauthentication,
    secret,
    serviceentry,
    sidecar,
    telemetry,
    virtualservice,
    workloadentry,
    workloadgroup,
)
from istiod.api import kubernetes as k8s
from istiod.api.gatewayapi import (
    backendtlspolicy,
    gatewayclass,
    grpcroute,
    httproute,
    referencegrant,
    tcproute,
    tlsroute,
)
from istiod.api.gatewayapi import gateway as gatewayapi
from istiod.api.gatewayapi.references import GROUP as GATEWAY_API
from istiod.api.problems import Problem
from istiod.api.rules import destinationrule as destinationrule_rules
from istiod.api.rules import virtualservice as virtualservice_rules


class Kind(StrEnum):
    """Names of kinds and of tables."""

    SERVICE = "Service"
    ENDPOINT_SLICE = "EndpointSlice"
    POD = "Pod"
    NAMESPACE = "Namespace"
    NODE = "Node"
    SERVICE_EXPORT = "ServiceExport"
    SERVICE_ENTRY = "ServiceEntry"
    WORKLOAD_ENTRY = "WorkloadEntry"
    WORKLOAD_GROUP = "WorkloadGroup"
    SECRET = "Secret"
    CONFIG_MAP = "ConfigMap"
    VIRTUAL_SERVICE = "VirtualService"
    DESTINATION_RULE = "DestinationRule"
    GATEWAY = "Gateway"
    SIDECAR = "Sidecar"
    PROXY_CONFIG = "ProxyConfig"
    ENVOY_FILTER = "EnvoyFilter"
    PEER_AUTHENTICATION = "PeerAuthentication"
    REQUEST_AUTHENTICATION = "RequestAuthentication"
    AUTHORIZATION_POLICY = "AuthorizationPolicy"
    TELEMETRY = "Telemetry"
    GATEWAY_CLASS = "GatewayClass"
    KUBERNETES_GATEWAY = "KubernetesGateway"  # gateway.networking.k8s.io Gateway; the name alone is Istio's
    HTTP_ROUTE = "HTTPRoute"
    GRPC_ROUTE = "GRPCRoute"
    TLS_ROUTE = "TLSRoute"
    TCP_ROUTE = "TCPRoute"
    REFERENCE_GRANT = "ReferenceGrant"
    BACKEND_TLS_POLICY = "BackendTLSPolicy"
    KEY_SETS = "KeySets"  # token keys fetched from issuers
    MESH_CONFIG = "MeshConfig"
    MESH_NETWORKS = "MeshNetworks"
    PEER = "Peer"  # what is served of another cluster of the mesh


@dataclass(frozen=True, slots=True)
class KindInfo:
    """How one kind is read. `whole` kinds have their fields beside metadata, not under `spec`.

    `called` is the kind's name in its API where the table has another one, as two APIs use the same name. Of a
    `confidential` kind no value may show in a message, nor are annotations kept, which may repeat the whole object.
    """

    kind: Kind
    groups: frozenset[str]
    model: type[BaseModel]
    validate: Callable[[Any], Iterator[Problem]] | None = None
    cluster_scoped: bool = False
    whole: bool = False
    security: bool = False
    called: str = ""
    confidential: bool = False


_NETWORKING = frozenset({"networking.istio.io"})
_SECURITY = frozenset({"security.istio.io"})
_CORE = frozenset({""})
_GATEWAY_API = frozenset({GATEWAY_API})

KINDS: dict[str, KindInfo] = {
    info.kind.value: info
    for info in (
        KindInfo(Kind.SERVICE, _CORE, k8s.ServiceSpec),
        KindInfo(Kind.POD, _CORE, k8s.Pod, whole=True),
        KindInfo(Kind.SECRET, _CORE, secret.Secret, secret.validate, whole=True, confidential=True),
        KindInfo(Kind.NAMESPACE, _CORE, k8s.Namespace, whole=True, cluster_scoped=True),
        KindInfo(Kind.NODE, _CORE, k8s.Node, whole=True, cluster_scoped=True),
        KindInfo(Kind.ENDPOINT_SLICE, frozenset({"discovery.k8s.io"}), k8s.EndpointSliceSpec, whole=True),
        KindInfo(Kind.SERVICE_EXPORT, frozenset({"multicluster.x-k8s.io"}), k8s.ServiceExport, whole=True),
        KindInfo(Kind.SERVICE_ENTRY, _NETWORKING, serviceentry.ServiceEntry, serviceentry.validate),
        KindInfo(Kind.WORKLOAD_ENTRY, _NETWORKING, workloadentry.WorkloadEntry, workloadentry.validate_entry),
        KindInfo(Kind.WORKLOAD_GROUP, _NETWORKING, workloadgroup.WorkloadGroup, workloadgroup.validate),
        KindInfo(Kind.VIRTUAL_SERVICE, _NETWORKING, virtualservice.VirtualService, virtualservice_rules.validate),
        KindInfo(Kind.DESTINATION_RULE, _NETWORKING, destinationrule.DestinationRule, destinationrule_rules.validate),
        KindInfo(Kind.GATEWAY, _NETWORKING, gateway.Gateway, gateway.validate),
        KindInfo(Kind.SIDECAR, _NETWORKING, sidecar.Sidecar, sidecar.validate),
        KindInfo(Kind.ENVOY_FILTER, _NETWORKING, envoyfilter.EnvoyFilter, envoyfilter_rules.validate),
        KindInfo(Kind.PROXY_CONFIG, _NETWORKING, proxyconfig.ProxyConfig, proxyconfig.validate),
        KindInfo(Kind.TELEMETRY, frozenset({"telemetry.istio.io"}), telemetry.Telemetry, telemetry.validate),
        KindInfo(
            Kind.PEER_AUTHENTICATION,
            _SECURITY,
            peerauthentication.PeerAuthentication,
            peerauthentication.validate,
            security=True,
        ),
        KindInfo(
            Kind.REQUEST_AUTHENTICATION,
            _SECURITY,
            requestauthentication.RequestAuthentication,
            requestauthentication.validate,
            security=True,
        ),
        KindInfo(
            Kind.AUTHORIZATION_POLICY,
            _SECURITY,
            authorizationpolicy.AuthorizationPolicy,
            authorizationpolicy.validate,
            security=True,
        ),
        KindInfo(Kind.CONFIG_MAP, _CORE, k8s.ConfigMap, whole=True),
        KindInfo(
            Kind.GATEWAY_CLASS, _GATEWAY_API, gatewayclass.GatewayClass, gatewayclass.validate, cluster_scoped=True
        ),
        KindInfo(
            Kind.KUBERNETES_GATEWAY, _GATEWAY_API, gatewayapi.Gateway, gatewayapi.validate, called=Kind.GATEWAY.value
        ),
        KindInfo(Kind.HTTP_ROUTE, _GATEWAY_API, httproute.HTTPRoute, httproute.validate),
        KindInfo(Kind.GRPC_ROUTE, _GATEWAY_API, grpcroute.GRPCRoute, grpcroute.validate),
        KindInfo(Kind.TLS_ROUTE, _GATEWAY_API, tlsroute.TLSRoute, tlsroute.validate),
        KindInfo(Kind.TCP_ROUTE, _GATEWAY_API, tcproute.TCPRoute, tcproute.validate),
        KindInfo(Kind.REFERENCE_GRANT, _GATEWAY_API, referencegrant.ReferenceGrant, referencegrant.validate),
        KindInfo(Kind.BACKEND_TLS_POLICY, _GATEWAY_API, backendtlspolicy.BackendTLSPolicy, backendtlspolicy.validate),
    )
}

_BY_NAME = {(group, info.called or info.kind.value): info for info in KINDS.values() for group in info.groups}


def info_of(group: str, kind: str) -> KindInfo | None:
    """How objects of this API group and kind are read; None if they are not."""
    return _BY_NAME.get((group, kind))


# Kinds that are not followed yet, by group; those of the security group are named loudly, as nothing enforces them.
UNBUILT = {
    "WasmPlugin": "extensions.istio.io",
    "TrafficExtension": "extensions.istio.io",
}
VERSIONS = frozenset({"v1", "v1beta1", "v1alpha3", "v1alpha2", "v1alpha1"})
