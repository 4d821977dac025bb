"""An xDS node as plain values -> `Proxy`. Rules: Istio's node id and metadata contract.

Claims only: who the proxy really is, the authenticated peer says. Sizes are bounded, since anybody who can
connect sends this.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, TypeVar

from pydantic import ValidationError

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.labels import Labels
from federation.model.locality import Locality
from federation.model.workload import CLUSTER_LABEL, NETWORK_LABEL
from istiod.api.fields import Model
from istiod.api.proxysettings import ConnectionSettings, ProxyHeaders, Topology
from istiod.registry.contribution import REGION_LABEL, SUBZONE_LABEL, ZONE_LABEL, locality_from
from istiod.view.proxy import Proxy, ProxyType

M = TypeVar("M", bound=Model)

MAX_ID = 1_024
MAX_TEXT = 1_024
MAX_LABELS = 256
MAX_ADDRESSES = 64


def proxy_from_node(
    node_id: str, metadata: Mapping[str, Any], locality: Locality, envoy_version: tuple[int, int] | None = None
) -> Proxy:
    """The proxy that a node describes; raises InvalidInput with a finding for each thing wrong.

    `metadata` are the node's fields as JSON-like values; `locality` is what Envoy says, its labels have the first word.
    """
    read = _Reader(node_id, metadata)
    kind, address, pod, namespace, domain = read.id()
    labels, addresses = read.labels(), read.addresses(address)
    cluster, network = read.text("CLUSTER_ID"), read.text("NETWORK")
    said = locality_from(labels)
    place = said if said.region else locality
    proxy = Proxy(
        id=node_id[:MAX_ID],
        type=ProxyType.GRPC if metadata.get("GENERATOR") == "grpc" else kind,
        name=read.text("NAME") or pod,
        namespace=read.text("NAMESPACE") or namespace,
        service_account=read.text("SERVICE_ACCOUNT"),
        dns_domain=domain,
        addresses=addresses,
        cluster=cluster,
        network=network,
        locality=place,
        labels=_placed(labels, place, cluster, network),
        requested_networks=tuple(sorted({n.strip() for n in read.text("REQUESTED_NETWORK_VIEW").split(",")} - {""})),
        agentless=_truth(metadata.get("ISTHMUS_SDS")),
        dns_capture=_truth(metadata.get("DNS_CAPTURE")),
        http10=_truth(metadata.get("HTTP10")) or metadata.get("HTTP10") == "1",
        interception=read.text("INTERCEPTION_MODE") or "REDIRECT",
        topology=read.setting("gatewayTopology", Topology),
        proxy_headers=read.setting("proxyHeaders", ProxyHeaders),
        connection_settings=read.setting("connectionSettings", ConnectionSettings),
        envoy_version=envoy_version,
        metadata=read.texts(),
    )
    if not read.findings and not proxy.namespace:
        read.wrong("node.id", "names no namespace, and metadata NAMESPACE is empty")
    if read.findings:
        raise InvalidInput(read.findings)
    return proxy


def _placed(labels: Labels, place: Locality, cluster: str, network: str) -> Labels:
    """Labels with the proxy's place written in, as those of endpoints are, for failoverPriority to compare."""
    found = {
        REGION_LABEL: place.region,
        ZONE_LABEL: place.zone,
        SUBZONE_LABEL: place.subzone,
        CLUSTER_LABEL: cluster,
        NETWORK_LABEL: network,
    }
    return labels.merged({key: value for key, value in found.items() if value})


def _truth(value: Any) -> bool:
    """Istio's agents send booleans as text, others as themselves."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


class _Reader:
    """Reads fields of one node and gathers what is wrong with them."""

    def __init__(self, node_id: str, metadata: Mapping[str, Any]) -> None:
        self._id, self._metadata = node_id, metadata
        self.findings: list[Finding] = []

    def wrong(self, path: str, message: str) -> None:
        """One more thing wrong."""
        fix = "start the proxy with a bootstrap of `isthmus proxy bootstrap`, or with Istio's node metadata"
        self.findings.append(
            Finding(Severity.ERROR, "InvalidNode", f"Proxy {self._id[:200]!r}", path, message[:300], fix)
        )

    def id(self) -> tuple[ProxyType, str, str, str, str]:
        """Type, address, pod, namespace and domain; pod names may contain dots, namespaces may not."""
        parts = self._id.split("~")
        if len(self._id) > MAX_ID or len(parts) != 4 or parts[0] not in ("sidecar", "router"):
            self.wrong("node.id", "is not sidecar|router~address~name.namespace~domain")
            return ProxyType.SIDECAR, "", "", "", ""
        pod, dot, namespace = parts[2].rpartition(".")
        return ProxyType(parts[0]), parts[1], pod if dot else parts[2], namespace if dot else "", parts[3]

    def text(self, key: str) -> str:
        """A text field, "" if it is not there."""
        value = self._metadata.get(key) or ""
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            self.wrong(f"node.metadata.{key}", f"is no text of at most {MAX_TEXT} characters")
            return ""
        return value

    def texts(self) -> Labels:
        """All entries that are short texts, as patches may ask for any of them; others are nobody's business."""
        found = {
            key: value for key, value in self._metadata.items() if isinstance(value, str) and len(value) <= MAX_TEXT
        }
        return Labels(dict(list(found.items())[:MAX_LABELS]))

    def setting(self, key: str, model: type[M]) -> M | None:
        """A part of the proxy's own ProxyConfig; None if it has none."""
        config = self._metadata.get("PROXY_CONFIG")
        said = config.get(key) if isinstance(config, Mapping) else None
        if said is None:
            return None
        try:
            return model.model_validate(said)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            path = ".".join(str(part) for part in ("node.metadata.PROXY_CONFIG", key, *first["loc"]))
            self.wrong(path[:300], str(first["msg"]))
            return None

    def labels(self) -> Labels:
        """The workload's labels."""
        said = self._metadata.get("LABELS") or {}
        if not isinstance(said, Mapping) or len(said) > MAX_LABELS:
            self.wrong("node.metadata.LABELS", f"is no mapping of at most {MAX_LABELS} labels")
            return Labels()
        labels = {str(key): str(value) for key, value in said.items()}
        if any(len(key) > MAX_TEXT or len(value) > MAX_TEXT for key, value in labels.items()):
            self.wrong("node.metadata.LABELS", f"has a key or value of more than {MAX_TEXT} characters")
        return Labels(labels)

    def addresses(self, address: str) -> tuple[str, ...]:
        """The workload's addresses: INSTANCE_IPS, else the one of the id. Routers may do without."""
        said = self._metadata.get("INSTANCE_IPS")
        texts = said.split(",", MAX_ADDRESSES) if isinstance(said, str) and said else [address]
        if len(texts) > MAX_ADDRESSES:
            self.wrong("node.metadata.INSTANCE_IPS", f"has more than {MAX_ADDRESSES} addresses")
            return ()
        found = []
        for text in (part.strip() for part in texts):
            try:
                found += [str(ip_address(text))] if text else []
            except ValueError as wrong:
                self.wrong("node.metadata.INSTANCE_IPS" if said else "node.id", str(wrong))
        if not found and not self.findings and self._id.startswith("sidecar~"):
            self.wrong("node.metadata.INSTANCE_IPS", "is empty, and the id has no address either")
        return tuple(dict.fromkeys(found))
