"""What one control plane is started with. Values only; flags and environment are read by `istiod.main`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("127.0.0.1", "::1", "localhost")


def parse_address(text: str, flag: str) -> Address | None:
    """`host:port`; "" or "off" is None. Raises InvalidInput that names the flag."""
    if text in ("", "off"):
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        message = f"{text!r} is not host:port"
        raise InvalidInput([Finding(Severity.ERROR, "InvalidFlag", flag, "", message, f"e.g. {flag} 127.0.0.1:15010")])
    return Address(host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """The shared store, if there is one."""

    endpoints: tuple[str, ...] = ()
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `istiod run` was told."""

    cluster: str
    network: str
    mesh: str
    config_dir: Path | None
    mesh_config: Path | None
    mesh_networks: Path | None
    defaults: str
    xds: Address | None
    secure_xds: Address | None
    http: Address | None
    metrics: Address | None
    state: Path | None
    ca_dir: Path | None
    trust_domain: str
    workload_token_key: Path | None
    server_names: tuple[str, ...]
    etcd: EtcdSettings = EtcdSettings()
    domain: str = "cluster.local"
    publish: bool = True
    workload_ttl: float = 86_400.0
