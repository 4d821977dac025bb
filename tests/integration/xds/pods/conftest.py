"""One world of pods for all tests here, and the objects that tell a control plane of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from federation.lab import netns
from tests.integration.xds.pods.world import NAMESPACE, Pod, World

PODS = (
    Pod("client", 10),
    Pod("server", 20, metadata=(("HTTP10", "1"),)),
    Pod("web-0", 30, dual=False),
    Pod("web-1", 31, dual=False),
    Pod("naked", 50, kind=""),
    Pod("gateway", 60, kind="router"),
)
# Port: name and number, of the service and of the pod alike.
PORTS = {
    "http": 8080,
    "http2-main": 8081,
    "http-lie": 8082,
    "grpc": 7070,
    "grpc-web": 7071,
    "tcp": 9000,
    "tcp-lie": 9001,
    "any": 9090,
    "https": 8443,
    "any-tls": 8444,
}


def _object(kind: str, name: str, version: str = "v1", labels: dict[str, str] | None = None, **fields: Any) -> Any:
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels or {}}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}


def _pod(pod: Pod) -> Any:
    labels = {"app": pod.app, **({"security.istio.io/tlsMode": "istio"} if pod.kind == "sidecar" else {})}
    ips = [{"ip": address} for address in pod.addresses]
    status = {"podIP": pod.address, "podIPs": ips, "phase": "Running"}
    return _object("Pod", pod.name, labels=labels, spec={"serviceAccountName": pod.app}, status=status)


def _service(name: str, ports: dict[str, int], pods: list[Pod], addresses: list[str]) -> list[Any]:
    listed = [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports.items()]
    spec = {"clusterIP": (addresses or ["None"])[0], "clusterIPs": addresses or ["None"], "ports": listed}
    found = [_object("Service", name, spec=spec)]
    families = {"IPv4": pods, **({"IPv6": [pod for pod in pods if pod.dual]} if any(pod.dual for pod in pods) else {})}
    for family, members in families.items():
        endpoints = [
            {
                "addresses": [pod.address if family == "IPv4" else pod.address6],
                "conditions": {"ready": True},
                "hostname": pod.name,
                "targetRef": {"kind": "Pod", "name": pod.name, "namespace": NAMESPACE},
            }
            for pod in members
        ]
        fields = {"addressType": family, "endpoints": endpoints, "ports": listed}
        labels = {"kubernetes.io/service-name": name}
        slice_name = f"{name}-{family.lower()}"
        found.append(_object("EndpointSlice", slice_name, "discovery.k8s.io/v1", labels, **fields))
    return found


def _objects() -> list[Any]:
    by_name = {pod.name: pod for pod in PODS}
    webs = [by_name["web-0"], by_name["web-1"]]
    return [
        *(_pod(pod) for pod in PODS),
        *_service("server", PORTS, [by_name["server"]], ["10.255.1.1", "fd00:255::1"]),
        *_service("naked", PORTS, [by_name["naked"]], ["10.255.1.2", "fd00:255::2"]),
        *_service("web", {"http": 8080, "tcp": 9000}, webs, []),
    ]


@pytest.fixture(scope="session")
def world(machine: None, credential: Any, tmp_path_factory: Any) -> Iterator[World]:
    """The pods, with their sidecars connected."""
    made = World(PODS, credential)
    (Path(made.config) / "pods.yaml").write_text("\n---\n".join(map(json.dumps, _objects())))
    try:
        netns.check_machine()
        made.start()
        yield made
        refused = made.refused()
    finally:
        made.stop()
    assert refused == {}
