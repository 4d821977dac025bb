"""TLS contexts of both directions, and where their certificates come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from istiod.resolve.specs.match import StringMatch


class SecretSource(StrEnum):
    """Who serves an SDS secret: istiod on the proxy's own ADS stream, or the static upstream `sds-grpc` of an
    Istio-style agent. `INLINE` ones are served by nobody: the name is the PEM text of CA certificates itself.
    """

    ADS = "ads"
    SDS_GRPC = "sds-grpc"
    INLINE = "inline"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """An SDS secret by name (`default`, `ROOTCA`, `file-cert:…`, `kubernetes://…`).

    `optional` ones may never come: Envoy must not hold back all other upstreams for them, and so waits only a moment.
    """

    name: str
    source: SecretSource
    optional: bool = False


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """The client side. `certificate` None = no client certificate; `roots` None = the server is not verified.

    `auto_sni` takes the server name from the request's host, `auto_san_validation` verifies it.
    """

    certificate: SecretRef | None
    roots: SecretRef | None
    sni: str = ""
    san_matches: tuple[StringMatch, ...] = ()
    san_type: str = "URI"  # URI for SPIFFE identities; "ANY" = DNS and URI for user-given subjectAltNames
    alpn: tuple[str, ...] = ()
    auto_sni: bool = False
    auto_san_validation: bool = False
    minimum: str = "TLSv1_2"
    maximum: str = "TLSv1_3"
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DownstreamTls:
    """The server side. `roots` set verifies client certificates; `require_client_certificate` insists on one.

    `certificate_hashes` (SHA-256, hexadecimal) and `key_hashes` (SHA-256 of the public key, base64) allow only those.
    """

    certificates: tuple[SecretRef, ...]
    roots: SecretRef | None
    require_client_certificate: bool
    alpn: tuple[str, ...] = ()
    san_matches: tuple[StringMatch, ...] = ()
    minimum: str = "TLSv1_2"
    maximum: str = ""  # "" = Envoy's own
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()
    certificate_hashes: tuple[str, ...] = ()
    key_hashes: tuple[str, ...] = ()
