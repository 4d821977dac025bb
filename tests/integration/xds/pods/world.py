"""Pods as network namespaces with captured traffic, sidecars and a gateway, on a control plane of their own.

Everything is real but Kubernetes: capture is by Istio's REDIRECT rules (both address families), certificates come over
TLS xDS, services are Kubernetes objects in files.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives import serialization

from federation.bootstrap import TOKEN_SDS_FILE, ProxyBootstrap, render_bootstrap, render_token_sds
from federation.lab import netns
from federation.lab.capture import PROXY_UID, capture_rules
from federation.lab.ports import free_ports
from federation.lab.probe import admin
from federation.pki.keys import generate_key
from federation.pki.token import TokenIdentity, issue_token
from tests.integration.conftest import Istiod

T = TypeVar("T")
PATIENCE = 10.0
START_SECONDS = 40.0
STOP_SECONDS = 5.0
NAMESPACE = "apps"
BIN = Path(sys.executable).parent
APP = Path(__file__).with_name("app.py")
IPV6_RULES = {"127.0.0.6/32": "::6/128", "127.0.0.1/32": "::1/128"}
READ_FILES = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


@dataclass(frozen=True)
class Pod:
    """A pod; `number` is the last part of its addresses. `kind` is sidecar, router, or "" for one without a proxy."""

    name: str
    number: int
    kind: str = "sidecar"
    dual: bool = True
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return f"10.9.0.{self.number}"

    @property
    def address6(self) -> str:
        """Its IPv6 address, if it is `dual`."""
        return f"fd00:9::{self.number}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them."""
        return (self.address, self.address6) if self.dual else (self.address,)

    @property
    def app(self) -> str:
        """The label of what it runs, and its service account."""
        return self.name.partition("-")[0]


class World:
    """The pods, their proxies and their control plane; files of configuration are written while it runs."""

    def __init__(self, pods: tuple[Pod, ...], credential: Any) -> None:
        self.pods = {pod.name: pod for pod in pods}
        self.directory = Path(tempfile.mkdtemp(prefix="isthmus-pods-"))
        self.directory.chmod(0o755)
        self.credential = credential("server.apps")
        self._prefix = f"t{uuid.uuid4().hex[:6]}-"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._key = generate_key()
        (self._secure,) = free_ports(1)
        self._relay = Relay(self.directory / "xds.sock", self._secure)
        self.config = self.directory / "config"
        self.config.mkdir()
        self.mesh_config = self.directory / "mesh.yaml"
        self.mesh_config.write_text("isthmus: {defaults: istio}\n")

    def start(self) -> None:
        """Make the namespaces and start everything, until every proxy has its configuration."""
        self._network()
        public, form = self.directory / "tokens.pub", serialization.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(self._key.public_key().public_bytes(serialization.Encoding.PEM, form))
        state = self.directory / "state"
        flags = {"mesh_config": str(self.mesh_config), "state": str(state), "workload_token_key": str(public)}
        flags["secure_xds_address"] = f"127.0.0.1:{self._secure}"
        self.plane = Istiod(self.config, self.directory / "istiod.log", flags)
        self.run(self.plane.start())
        self._relay.start()
        for name, text in (("app.pem", self.credential.chain), ("app.key", self.credential.key)):
            (self.directory / name).write_text(text)
        for pod in self.pods.values():
            files = (str(self.directory / "app.pem"), str(self.directory / "app.key"))
            if pod.kind != "router":
                self._spawn(pod, f"{pod.name}-app", [sys.executable, str(APP), pod.name, *files], uid=0)
            if pod.kind:
                self._envoy(pod, state / "ca" / "root-cert.pem")
        self.until(self._connected, "every proxy has its configuration", START_SECONDS)

    def stop(self) -> None:
        """End all of it."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if hasattr(self, "plane"):
            self.plane.stop()
        self._relay.stop()
        netns.down(self._prefix)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _network(self) -> None:
        names = [f"{self._prefix}{name}" for name in ("net", *self.pods)]
        netns.run(["ip", "-batch", "-"], "".join(f"netns add {name}\n" for name in names))
        hub = f"{self._prefix}net"
        lines = [f"link add br0 netns {hub} type bridge"]
        lines += [
            f"link add eth0 netns {self._prefix}{pod.name} type veth peer name v{pod.number} netns {hub}"
            for pod in self.pods.values()
        ]
        netns.run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
        inside = ["link set lo up", "addr add 10.9.0.1/24 dev br0", "addr add fd00:9::1/64 dev br0 nodad"]
        for pod in self.pods.values():
            inside += [f"link set v{pod.number} master br0", f"link set v{pod.number} up"]
        # What no sidecar catches on its way to a service's address is told so at once.
        nowhere = [f"route add unreachable {network}" for network in ("10.255.0.0/16", "fd00:255::/64")]
        self._ip(hub, [*inside, "link set br0 up", *nowhere])
        for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            netns.inside(hub, lambda path=Path("/proc/sys/net") / setting: path.write_text("1"))  # type: ignore[misc]
        for pod in self.pods.values():
            self._set_up(pod)

    def _set_up(self, pod: Pod) -> None:
        lines = ["link set lo up", "link set eth0 up", f"addr add {pod.address}/24 dev eth0"]
        lines += ["route add default via 10.9.0.1"]
        if pod.dual:
            lines += [f"addr add {pod.address6}/64 dev eth0 nodad", "addr add ::6/128 dev lo nodad"]
            lines += ["route add default via fd00:9::1"]
        self._ip(f"{self._prefix}{pod.name}", lines)
        if pod.kind == "sidecar":
            namespace, rules = f"{self._prefix}{pod.name}", capture_rules()
            netns.load_rules(namespace, rules)
            for old, new in IPV6_RULES.items():
                rules = rules.replace(old, new)
            netns.run([*netns.enter(namespace), "ip6tables-restore", "-w"], rules)

    def _ip(self, namespace: str, lines: list[str]) -> None:
        netns.run(["ip", "-n", namespace, "-batch", "-"], "\n".join(lines) + "\n")

    def _spawn(self, pod: Pod, name: str, command: list[str], uid: int) -> None:
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *READ_FILES] if uid else []
        with (self.directory / f"{name}.log").open("ab") as log:
            argv = [*netns.enter(f"{self._prefix}{pod.name}"), *become, *command]
            self._processes.append(subprocess.Popen(argv, stdout=log, stderr=log, cwd="/"))

    def _envoy(self, pod: Pod, roots: Path) -> None:
        directory = self.directory / pod.name
        tokens = directory / "tokens"
        tokens.mkdir(parents=True)
        identity = TokenIdentity(NAMESPACE, pod.app, "c", time.time() + 3600)
        (tokens / "token").write_text(issue_token(self._key, identity))
        proxy = ProxyBootstrap(
            type=pod.kind, name=pod.name, namespace=NAMESPACE, service_account=pod.app, address=pod.address,
            cluster="c", network="n", mesh="mesh", xds_host="127.0.0.1", xds_port=self._secure,
            server_name="istiod.istio-system.svc", root_file=roots, token_file=tokens / "token", directory=directory,
            admin_socket=directory / "admin.sock", labels={"app": pod.app},
            extra_addresses=(pod.address6,) if pod.dual else (),
        )  # fmt: skip
        bootstrap = render_bootstrap(proxy)
        bootstrap.pop("stats_config")
        bootstrap["node"]["metadata"].update(pod.metadata)
        (endpoint,) = bootstrap["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"] = {"pipe": {"path": str(self._relay.path)}}
        (directory / "bootstrap.json").write_text(json.dumps(bootstrap))
        (directory / TOKEN_SDS_FILE).write_text(json.dumps(render_token_sds(proxy)))
        shutil.chown(directory, PROXY_UID, PROXY_UID)
        command = [str(BIN / "envoy"), "-c", str(directory / "bootstrap.json"), "--concurrency", "1"]
        command += ["--disable-hot-restart", "--use-dynamic-base-id", "--log-level", "info"]
        self._spawn(pod, pod.name, command, PROXY_UID)

    def _connected(self) -> bool:
        proxies = self.run(self.plane.view("syncz"))
        wanted = sum(1 for pod in self.pods.values() if pod.kind)
        return len(proxies) == wanted and all(
            len(proxy["types"]) >= 3 and not any(item["pending"] for item in proxy["types"]) for proxy in proxies
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine."""
        return asyncio.run(work)

    def until(self, check: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """The first true answer of a check; a connection that is refused or cut is a wrong answer like others."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = check()
            except (OSError, EOFError) as error:
                answer = None
                said: Any = repr(error)
            else:
                said = answer
            if answer:
                return answer
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}: {said!r}\n{self.logs()}"
            time.sleep(0.02)

    def logs(self) -> str:
        """The last things that proxies complained about."""
        lines = (
            f"{pod.name}: {line}"
            for pod in self.pods.values()
            if pod.kind
            for line in (self.directory / f"{pod.name}.log").read_text(errors="replace").splitlines()[-100:]
            if "[error]" in line or "[critical]" in line or "rejected" in line
        )
        return "\n".join(list(lines)[-20:])

    def write(self, name: str, text: str) -> None:
        """A whole file of configuration at once."""
        self.plane.write(name, text)

    def connect(self, pod: str, address: str, port: int) -> socket.socket:
        """A connection of a pod's application, which its sidecar captures."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = netns.inside(f"{self._prefix}{pod}", lambda: socket.socket(family, socket.SOCK_STREAM))
        made.settimeout(PATIENCE)
        made.connect((address, port))
        return made

    def stats(self, pod: str, pattern: str) -> Mapping[str, int]:
        """Counters and gauges of a pod's proxy by name."""
        found = json.loads(self.admin(pod, f"/stats?format=json&filter={pattern}"))
        return {item["name"]: item["value"] for item in found["stats"] if "value" in item}

    def admin(self, pod: str, path: str) -> str:
        """An answer of a proxy's admin interface."""
        return self.run(admin(self.directory / pod / "admin.sock", path))[1].decode()

    def refused(self) -> dict[str, Mapping[str, int]]:
        """Updates that proxies refused."""
        found = {pod.name: self.stats(pod.name, "update_rejected$") for pod in self.pods.values() if pod.kind}
        return {name: bad for name, values in found.items() if (bad := {k: v for k, v in values.items() if v})}


class Relay:
    """Brings connections to a unix socket, which every namespace can reach, to the control plane's port."""

    def __init__(self, path: Path, port: int) -> None:
        self.path, self._port = path, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Open the socket, to everybody."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(self._bring, self.path), self._loop).result()
        os.chmod(self.path, 0o666)

    def stop(self) -> None:
        """Close everything."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    async def _bring(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
