"""What runs in a lab and with which files: etcd, control planes, name servers, gateways, sidecars, sample
applications.

Owns command lines and the files that they name. Starts nothing; `federation.lab.lab` does. The commands are the
product's own, with the flags that a user would give.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from federation.bootstrap import (
    TOKEN_SDS_FILE,
    ProxyBootstrap,
    istiod_identity,
    render_bootstrap,
    render_token_sds,
)
from federation.lab.capture import APP_UID, PROXY_UID
from federation.lab.config import trust_domain
from federation.lab.etcd_server import find_etcd
from federation.lab.faults import APP, SIDECAR
from federation.lab.files import MAX_SOCKET_PATH, LabFiles
from federation.lab.manifests import pod_labels, render_manifests, render_names, service_account
from federation.lab.state import ProcessSpec
from federation.lab.topology import GATEWAY_PORTS, STORE, STORE_ADDRESS, Node, Plan
from federation.mesh_files import MeshInfo
from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from federation.pki.keys import PrivateKey, generate_key
from federation.pki.token import TokenIdentity, issue_token
from federation.runtime.atomic import write_atomic

XDS_PORT, SECURE_XDS_PORT, HTTP_PORT, METRICS_PORT = 15010, 15012, 8080, 15014
STORE_PORT, STORE_HEALTH_PORT = 2379, 2381
SERVER_NAME = "istiod.istio-system.svc"
GATEWAY_NAMESPACE, GATEWAY_ACCOUNT = "istio-system", "eastwest-gateway"
TOKEN_SECONDS = 30 * 86_400
DRAIN_SECONDS = 5
STORE_ENDPOINT = f"{STORE_ADDRESS}:{STORE_PORT}"


def find_program(name: str) -> str:
    """A program beside this Python, else on the PATH. Raises Unavailable with what to do."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise Unavailable(f"there is no {name} program: pip install 'isthmus[lab]'")
    return found


def mesh_info(plan: Plan) -> MeshInfo:
    """The mesh of a lab."""
    return MeshInfo(plan.config.mesh, (STORE_ENDPOINT,))


def write_cluster_files(plan: Plan, files: LabFiles, cluster: str) -> None:
    """Everything of a cluster that does not depend on its membership. Keys of tokens are made here and thrown away."""
    for name, text in render_manifests(plan, cluster).items():
        write_atomic(files.config_dir(cluster) / name, text.encode(), 0o644)
    write_atomic(files.names(cluster), json.dumps(render_names(plan, cluster)).encode(), 0o644)
    write_atomic(files.resolver(cluster), _resolver(plan, cluster).encode(), 0o644)
    key = generate_key()
    write_atomic(files.token_key(cluster), _public_pem(key), 0o644)
    for node in plan.pods(cluster):
        _write_pod_files(plan, files, node, key)
    for node in plan.gateways(cluster):
        _write_token(files, node, key, GATEWAY_NAMESPACE, GATEWAY_ACCOUNT)
        _owned(files.state(node))


def _public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _resolver(plan: Plan, cluster: str) -> str:
    namespaces = sorted({pod.workload.namespace for pod in plan.pods(cluster) if pod.workload})
    search = [*(f"{name}.svc.cluster.local" for name in namespaces[:3]), "svc.cluster.local", "cluster.local"]
    return f"nameserver {plan.resolver(cluster)}\nsearch {' '.join(search)}\noptions ndots:5 timeout:1 attempts:2\n"


def _write_pod_files(plan: Plan, files: LabFiles, node: Node, key: PrivateKey) -> None:
    workload = node.workload
    if workload is None or not workload.sidecar:
        return
    socket = files.admin_socket(node)
    if len(str(socket)) > MAX_SOCKET_PATH:
        message = f"its sockets would have names of {len(str(socket))} characters, {MAX_SOCKET_PATH} are possible"
        finding = Finding(
            Severity.ERROR, "PathTooLong", f"Directory {files.directory}", "", message, "set ISTHMUS_LAB_DIR"
        )
        raise InvalidInput([finding])
    _write_token(files, node, key, workload.namespace, service_account(node))
    network = plan.cluster(node.cluster).network
    bootstrap = ProxyBootstrap(
        type="sidecar",
        name=node.short,
        namespace=workload.namespace,
        service_account=service_account(node),
        address=node.address,
        cluster=node.cluster,
        network=network,
        mesh=plan.config.mesh,
        xds_host=plan.istiod(node.cluster).address,
        xds_port=SECURE_XDS_PORT,
        server_name=SERVER_NAME,
        server_identity=istiod_identity(trust_domain(plan.config.mesh, node.cluster)),
        root_file=files.authority.root_cert,
        token_file=files.token(node),
        directory=files.pod(node),
        admin_socket=socket,
        locality=node.locality,
        labels=pod_labels(node, network),
    )
    write_atomic(files.pod(node) / "bootstrap.json", json.dumps(render_bootstrap(bootstrap)).encode(), 0o644)
    write_atomic(files.pod(node) / TOKEN_SDS_FILE, json.dumps(render_token_sds(bootstrap)).encode(), 0o644)


def _write_token(files: LabFiles, node: Node, key: PrivateKey, namespace: str, account: str) -> None:
    _owned(files.pod(node))
    identity = TokenIdentity(namespace, account, node.cluster, time.time() + TOKEN_SECONDS)
    write_atomic(files.token(node), issue_token(key, identity).encode())
    os.chown(files.token(node), PROXY_UID, PROXY_UID)


def _owned(directory: Path) -> None:
    """A directory that the proxy's user may write."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    os.chown(directory, PROXY_UID, PROXY_UID)


def store_process(plan: Plan, files: LabFiles) -> ProcessSpec:
    """The shared store, with TLS and client certificates."""
    authority, url = files.authority, f"https://{STORE_ENDPOINT}"
    argv = (
        str(find_etcd()),
        "--name=lab",
        f"--data-dir={files.store}",
        f"--listen-client-urls={url},https://127.0.0.1:{STORE_PORT}",
        f"--advertise-client-urls={url}",
        f"--cert-file={authority.server_cert}",
        f"--key-file={authority.server_key}",
        f"--trusted-ca-file={authority.store_root_cert}",
        "--client-cert-auth",
        f"--listen-metrics-urls=http://{STORE_ADDRESS}:{STORE_HEALTH_PORT}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--heartbeat-interval=50",
        "--election-timeout=500",
        "--logger=zap",
        "--log-level=warn",
    )
    return _process(plan, files, STORE, plan.node(STORE), argv)


def istiod_process(plan: Plan, files: LabFiles, cluster: str, joined: bool) -> ProcessSpec:
    """The control plane of a cluster; one that has not joined signs with a CA of its own and knows nobody."""
    node, member = plan.istiod(cluster), files.member(cluster)
    argv = [
        find_program("istiod"),
        "run",
        f"--config-dir={files.config_dir(cluster)}",
        f"--cluster={cluster}",
        f"--network={plan.cluster(cluster).network}",
        f"--mesh={plan.config.mesh}",
        f"--xds-address=127.0.0.1:{XDS_PORT}",
        f"--secure-xds-address={node.address}:{SECURE_XDS_PORT}",
        f"--http-address={node.address}:{HTTP_PORT},unix:{files.http_socket(node)}",
        f"--metrics-address={node.address}:{METRICS_PORT}",
        f"--defaults={plan.config.defaults}",
        f"--state={files.state(node)}",
        f"--workload-token-key={files.token_key(cluster)}",
        f"--workload-ttl={plan.config.workload_ttl_seconds}",
    ]
    if joined:
        argv += [
            f"--ca-dir={member.ca}",
            f"--trust-domain={member.info().trust_domain}",
            f"--etcd={STORE_ENDPOINT}",
            f"--etcd-ca={member.etcd_ca}",
            f"--etcd-cert={member.etcd_cert}",
            f"--etcd-key={member.etcd_key}",
        ]
    return _process(plan, files, node.name, node, tuple(argv))


def dns_process(plan: Plan, files: LabFiles, cluster: str) -> ProcessSpec:
    """The name server of a cluster, on its network's router."""
    argv = (
        sys.executable,
        "-m",
        "federation.lab.dns",
        f"--listen={plan.resolver(cluster)}",
        f"--names={files.names(cluster)}",
        f"--control-plane=http://{plan.istiod(cluster).address}:{HTTP_PORT}",
    )
    key = f"{cluster}/dns"
    netns = plan.netns(plan.network(plan.cluster(cluster).network))
    return ProcessSpec(key, key, netns, argv, str(files.log(key)))


def gateway_process(plan: Plan, files: LabFiles, node: Node) -> ProcessSpec:
    """An east-west gateway."""
    member = files.member(node.cluster)
    assert node.wan is not None
    argv = (
        find_program("eastwest-gateway"),
        "run",
        f"--name={node.short}",
        f"--cluster={node.cluster}",
        f"--network={plan.cluster(node.cluster).network}",
        f"--mesh={plan.config.mesh}",
        f"--region={node.locality.region}",
        f"--zone={node.locality.zone}",
        f"--xds-address={plan.istiod(node.cluster).address}:{SECURE_XDS_PORT}",
        f"--root-cert={files.authority.root_cert}",
        f"--token-file={files.token(node)}",
        f"--address={node.wan.address}",
        f"--port={GATEWAY_PORTS[0]}",
        f"--state={files.state(node)}",
        f"--etcd={STORE_ENDPOINT}",
        f"--trust-domain={member.info().trust_domain}",
        f"--etcd-ca={member.etcd_ca}",
        f"--etcd-cert={member.gateway_cert}",
        f"--etcd-key={member.gateway_key}",
        f"--envoy={find_program('envoy')}",
    )
    return _process(plan, files, node.name, node, argv, PROXY_UID)


def pod_processes(plan: Plan, files: LabFiles, node: Node) -> list[ProcessSpec]:
    """A pod's sidecar and sample application, as far as it has them."""
    workload = node.workload
    assert workload is not None
    found: list[ProcessSpec] = []
    argv: tuple[str, ...]
    if workload.sidecar:
        argv = (
            find_program("envoy"),
            *("--config-path", str(files.pod(node) / "bootstrap.json")),
            *("--concurrency", "1"),
            *("--drain-time-s", str(DRAIN_SECONDS)),
            *("--log-level", "warning"),
            "--disable-hot-restart",
        )
        found.append(_process(plan, files, f"{node.name}:{SIDECAR}", node, argv, PROXY_UID))
    if workload.port:
        argv = (
            sys.executable,
            "-m",
            "federation.lab.app",
            f"--cluster={node.cluster}",
            f"--pod={node.short}",
            f"--zone={node.locality.zone}",
            f"--port={workload.port}",
            f"--delay-ms={workload.delay_ms}",
        )
        found.append(
            _process(plan, files, f"{node.name}:{APP}", node, argv, APP_UID, str(files.resolver(node.cluster)))
        )
    return found


def _process(
    plan: Plan, files: LabFiles, key: str, node: Node, argv: tuple[str, ...], uid: int = 0, resolver: str = ""
) -> ProcessSpec:
    return ProcessSpec(key, node.name, plan.netns(node), argv, str(files.log(key)), uid, resolver)
