"""SDS secrets made of Kubernetes Secrets. Private: never logged, shown or kept longer than a stream needs them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CertificateSpec:
    """A certificate chain, leaf first, with its key (PEM), and an OCSP response about the leaf (DER, may be empty)."""

    name: str
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    staple: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class RootsSpec:
    """Certificates that a peer's must lead to, and revocation lists (PEM; the lists may be empty)."""

    name: str
    roots: bytes = field(repr=False)
    revoked: bytes = field(default=b"", repr=False)
