"""What one control plane is started with. Values only; flags and environment are read by `istiod.main`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity
from federation.runtime.address import Address, parse_address
from istiod.api.kinds import Kind
from istiod.api.meshconfig import Defaults, IsthmusSettings, MeshConfig
from istiod.events import Event, Upsert

MAX_SOCKET_PATH = 107  # sun_path of Linux, without its closing zero


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket file to listen on, for its owner alone."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_http_addresses(text: str, flag: str) -> tuple[Address | UnixAddress, ...]:
    """`host:port` or `unix:/path`, several with commas; "" or "off" is none. Raises InvalidInput that names the
    flag.
    """
    parts = [part.strip() for part in text.split(",")]
    found = [_parse_unix(part, flag) if part.startswith("unix:") else parse_address(part, flag) for part in parts]
    return tuple(address for address in found if address is not None)


def _parse_unix(text: str, flag: str) -> UnixAddress:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or len(path.encode()) > MAX_SOCKET_PATH:
        message = f"{path!r} is not an absolute path of at most {MAX_SOCKET_PATH} bytes"
        raise InvalidInput(
            [Finding(Severity.ERROR, "InvalidFlag", flag, "", message, f"e.g. {flag} unix:/run/istiod.sock")]
        )
    return UnixAddress(Path(path))


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
    http: tuple[Address | UnixAddress, ...]
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
    key_refresh: float = 1200.0  # as Istio's PILOT_JWT_PUB_KEY_REFRESH_INTERVAL


def own_mesh_config(mesh: MeshConfig | None, settings: Settings) -> MeshConfig:
    """A MeshConfig with this process's flags filled in where it is silent."""
    if mesh is None:
        defaults = IsthmusSettings(defaults=Defaults(settings.defaults))
        return MeshConfig(trust_domain=settings.trust_domain, isthmus=defaults)
    if "trust_domain" in mesh.model_fields_set:
        return mesh
    return mesh.model_copy(update={"trust_domain": settings.trust_domain})


def with_own_mesh(events: Sequence[Event], settings: Settings) -> list[Event]:
    """Events of a source, with flags filled into a MeshConfig among them."""
    return [
        replace(event, value=own_mesh_config(event.value, settings))
        if isinstance(event, Upsert) and event.kind is Kind.MESH_CONFIG
        else event
        for event in events
    ]
