"""The proxies of a directory of objects, where no control plane runs that they are connected to.

Owns what stands in for a proxy's own word: a Pod's name, labels, addresses and account. Pods that a Gateway selects
count as gateways, all others as sidecars, whether or not they are injected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.model.labels import Labels
from federation.model.locality import NO_LOCALITY, Locality
from istiod.api.gateway import Gateway
from istiod.api.kinds import Kind
from istiod.api.kubernetes import Pod
from istiod.api.meta import Meta
from istiod.cli.inputs import PLACE
from istiod.resolve.objects import table_of, valid_objects
from istiod.snapshot import Snapshot
from istiod.view.node import proxy_from_node
from istiod.view.proxy import Proxy, ProxyType

ConfigDir = Annotated[
    Path | None, typer.Option(help="Read objects in this directory (and below) instead of asking a control plane.")
]
MeshConfigFile = Annotated[Path | None, typer.Option(help="With --config-dir: file with a MeshConfig.")]
MeshNetworksFile = Annotated[Path | None, typer.Option(help="With --config-dir: file with MeshNetworks.")]
NOBODY = "192.0.2.1"  # the address of a proxy without one, from a range that nobody uses


def proxies_of(snapshot: Snapshot) -> tuple[Proxy, ...]:
    """A proxy for each Pod that has an address."""
    return tuple(sorted(_proxies(snapshot), key=lambda proxy: proxy.id))


def _proxies(snapshot: Snapshot) -> Iterator[Proxy]:
    selectors = [item.spec.selector for item in valid_objects(table_of(snapshot, Kind.GATEWAY), Gateway)]
    for item in valid_objects(table_of(snapshot, Kind.POD), Pod):
        ips = [ip.ip for ip in item.spec.status.pod_ips] or [item.spec.status.pod_ip]
        if ips[0]:
            chosen = any(selector and item.meta.labels.selected_by(selector) for selector in selectors)
            kind = ProxyType.ROUTER if chosen else ProxyType.SIDECAR
            yield _proxy(kind, item.meta, ips, item.spec.spec.service_account_name, _locality(snapshot, ips[0]))


def made_up(kind: ProxyType, name: str, labels: Mapping[str, str]) -> Proxy:
    """A proxy of which only `pod.namespace` and labels are known; no service has it."""
    pod, _, namespace = name.rpartition(".")
    if not pod:
        message, fix = f"{name!r} is in none of the files", "name it pod.namespace to have it made up, with --labels"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidQuery", "proxy", "", message, fix)])
    return _proxy(kind, Meta(pod, namespace, Labels(labels)), [NOBODY], "default", NO_LOCALITY)


def find_proxy(proxies: tuple[Proxy, ...], wanted: str) -> Proxy | None:
    """The proxy that a node id, `pod.namespace` or the name of just one pod means."""
    named = [p for p in proxies if wanted in (p.id, f"{p.name}.{p.namespace}")]
    found = named or [p for p in proxies if p.name == wanted]
    if len(found) > 1:
        message = f"{len(found)} pods are called {wanted!r}"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidQuery", "proxy", "", message, "name it pod.namespace")])
    return found[0] if found else None


def _proxy(kind: ProxyType, meta: Meta, addresses: list[str], account: str, locality: Locality) -> Proxy:
    domain = f"{meta.namespace}.svc.{PLACE.domain}"
    metadata = {
        "NAMESPACE": meta.namespace,
        "SERVICE_ACCOUNT": account,
        "CLUSTER_ID": PLACE.cluster,
        "NETWORK": PLACE.network,
        "INSTANCE_IPS": ",".join(addresses),
        "LABELS": dict(meta.labels),
        "DNS_CAPTURE": "true",
        "ISTHMUS_SDS": "true",
    }
    node = f"{kind.value}~{addresses[0]}~{meta.name}.{meta.namespace}~{domain}"
    return proxy_from_node(node, metadata, locality)


def _locality(snapshot: Snapshot, address: str) -> Locality:
    """Where a Pod runs, as its endpoints say it."""
    for key in snapshot.addresses.get(address, ()):
        for endpoint in snapshot.endpoints[key]:
            if endpoint.address == address:
                return endpoint.locality
    return NO_LOCALITY
