"""What one gateway is started with. Values only; flags and environment are read by `eastwest_gateway.main`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from federation.model.locality import Locality
from federation.model.workload import NetworkGateway
from federation.runtime.address import Address

NAMESPACE, SERVICE_ACCOUNT = "istio-system", "eastwest-gateway"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `eastwest-gateway run` was told. Times are seconds.

    `gateway` is what others dial. `withdraw` is how long others get to take it out of their configuration before
    connections are drained; `drain` is how long open ones may go on after that.
    """

    name: str
    mesh: str
    gateway: NetworkGateway
    xds: Address
    xds_server_name: str
    trust_domain: str
    root_cert: Path
    token_file: Path
    state: Path
    envoy: str
    http: Address | None
    concurrency: int = 1
    lease: int = 10
    withdraw: float = 2.0
    drain: float = 5.0

    @property
    def locality(self) -> Locality:
        """Where the gateway runs."""
        return self.gateway.locality

    @property
    def admin_socket(self) -> Path:
        """Envoy's admin interface, for this user alone."""
        return self.state / "admin.sock"
