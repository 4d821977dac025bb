"""An xDS node as plain values -> `Proxy`. Rules: Istio's node id and metadata contract.

Claims only: who the proxy really is, the authenticated peer says. Sizes are bounded, since anybody who can connect sends this.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.labels import Labels
from federation.model.locality import Locality
from istiod.registry.contribution import REGION_LABEL, SUBZONE_LABEL, ZONE_LABEL, locality_from
from istiod.view.proxy import Proxy, ProxyType

MAX_ID = 1_024
MAX_LABELS = 256
MAX_ADDRESSES = 64


def proxy_from_node(
    node_id: str, metadata: Mapping[str, Any], locality: Locality, envoy_version: tuple[int, int] | None = None
) -> Proxy:
    """The proxy that a node describes; raises InvalidInput with a finding for each thing wrong."""
    parts = node_id.split("~")
    if len(node_id) > MAX_ID or len(parts) != 4 or parts[0] not in ("sidecar", "router"):
        raise InvalidInput([_wrong(node_id, "node.id", "is not sidecar|router~address~name.namespace~domain")])
    kind, address, name, domain = parts
    pod, _, namespace = name.partition(".")
    labels = _labels(metadata.get("LABELS"), node_id)
    addresses = _addresses(metadata.get("INSTANCE_IPS"), address, node_id)
    place = locality_from(labels) if _has_place(labels) else locality
    grpc = metadata.get("GENERATOR") == "grpc"
    return Proxy(
        id=node_id,
        type=ProxyType.GRPC if grpc else ProxyType(kind),
        name=_text(metadata, "NAME") or pod,
        namespace=_text(metadata, "NAMESPACE") or namespace,
        service_account=_text(metadata, "SERVICE_ACCOUNT"),
        dns_domain=domain,
        addresses=addresses,
        cluster=_text(metadata, "CLUSTER_ID"),
        network=_text(metadata, "NETWORK"),
        locality=place,
        labels=_with_place(labels, place),
        requested_networks=tuple(sorted(n for n in _text(metadata, "REQUESTED_NETWORK_VIEW").split(",") if n)),
        agentless=_truth(metadata.get("ISTHMUS_SDS")),
        http10=_truth(metadata.get("HTTP10")) or metadata.get("HTTP10") == "1",
        interception=_text(metadata, "INTERCEPTION_MODE") or "REDIRECT",
        envoy_version=envoy_version,
    )


def _has_place(labels: Labels) -> bool:
    return bool(locality_from(labels).region)


def _with_place(labels: Labels, place: Locality) -> Labels:
    found = {REGION_LABEL: place.region, ZONE_LABEL: place.zone, SUBZONE_LABEL: place.subzone}
    return labels.merged({key: value for key, value in found.items() if value})


def _labels(said: Any, node_id: str) -> Labels:
    if said is None:
        return Labels()
    if not isinstance(said, Mapping) or len(said) > MAX_LABELS:
        raise InvalidInput([_wrong(node_id, "node.metadata.LABELS", f"is no mapping of at most {MAX_LABELS} labels")])
    return Labels({str(key): str(value) for key, value in said.items()})


def _addresses(said: Any, address: str, node_id: str) -> tuple[str, ...]:
    texts = [part.strip() for part in said.split(",")] if isinstance(said, str) and said else [address]
    if len(texts) > MAX_ADDRESSES:
        raise InvalidInput([_wrong(node_id, "node.metadata.INSTANCE_IPS", f"has more than {MAX_ADDRESSES} addresses")])
    try:
        return tuple(str(ip_address(text)) for text in texts if text)
    except ValueError as wrong:
        raise InvalidInput([_wrong(node_id, "node.metadata.INSTANCE_IPS", str(wrong))]) from wrong


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key, "")
    return value if isinstance(value, str) else ""


def _truth(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _wrong(node_id: str, path: str, message: str) -> Finding:
    fix = "start the proxy with a bootstrap of `isthmus proxy bootstrap`, or with Istio's node metadata"
    return Finding(Severity.ERROR, "InvalidNode", f"Proxy {node_id[:200]}", path, message, fix)
