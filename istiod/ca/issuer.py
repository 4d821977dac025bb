"""Issues this cluster's certificates from its CA. Pure: time is an argument; keys it makes are handed out and not kept.

The subject is always the authenticated identity, whatever a request may say. Lifetimes are bounded and end with the
CA's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from federation.model.errors import InvalidInput, Unavailable
from federation.model.findings import Finding, Severity
from federation.model.identity import SpiffeId
from federation.pki.chain import read_certificates
from federation.pki.csr import read_csr
from federation.pki.issue import Authority, PublicKey, pem_of, sign_server, sign_workload
from federation.pki.keys import encode_key, generate_key

MAX_TTL = timedelta(hours=72)
SERVER_TTL = timedelta(days=7)
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key with its chain (leaf first, no root), and the times between which it is valid, in Unix seconds."""

    key_pem: bytes
    chain_pem: bytes
    issued: float
    not_after: float

    @property
    def renew_at(self) -> float:
        """Half of its life, in Unix seconds."""
        return self.issued + (self.not_after - self.issued) / 2


@dataclass(frozen=True)
class Issuer:
    """The CA in use. `roots_pem` is what peers are verified against; `ttl` the lifetime where nobody asks for
    another.
    """

    authority: Authority
    roots_pem: bytes
    trust_domain: str
    ttl: timedelta = timedelta(hours=24)

    def workload(self, identity: SpiffeId, now: datetime) -> Certificate:
        """A new key and certificate for a workload."""
        key = generate_key()
        leaf = sign_workload(self.authority, key.public_key(), str(identity), self.ttl, now)
        return _certificate(encode_key(key), leaf, self.authority.chain_pem, now)

    def server(self, names: tuple[str, ...], now: datetime) -> Certificate:
        """A new key and certificate for this process's own listeners."""
        key = generate_key()
        leaf = sign_server(self.authority, key.public_key(), names, SERVER_TTL, now)
        return _certificate(encode_key(key), leaf, self.authority.chain_pem, now)

    def sign_csr(self, csr: str, identity: SpiffeId, seconds: int, now: datetime) -> list[str]:
        """The chain for a request: leaf, intermediates, root. Raises InvalidInput for a bad request or too long a
        life, and Unavailable when the CA itself has ended.
        """
        if seconds > MAX_TTL.total_seconds():
            message = f"{seconds} s is more than the longest lifetime, {int(MAX_TTL.total_seconds())} s"
            raise InvalidInput([_wrong("validity_duration", message, "ask for less")])
        if self.authority.not_after <= now:
            raise Unavailable(f"the CA of this cluster ended at {self.authority.not_after:%Y-%m-%d %H:%M:%S}Z")
        ttl = timedelta(seconds=seconds) if seconds > 0 else self.ttl
        try:
            leaf = sign_workload(self.authority, _usable_key(read_csr(csr)), str(identity), ttl, now)
        except ValueError as wrong:
            raise InvalidInput([_wrong("csr", str(wrong), "send a PEM request with an EC P-256 or RSA key")]) from wrong
        between = [pem_of(c).decode() for c in _certificates(self.authority.chain_pem)]
        return [leaf.decode(), *between, self.roots_pem.decode()]


def _usable_key(request: x509.CertificateSigningRequest) -> PublicKey:
    """The key of a request; raises ValueError for one that Envoy cannot use or that protects nothing."""
    key = request.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return key
    raise ValueError("the request has a key of another type or size")


def _certificate(key_pem: bytes, leaf_pem: bytes, chain_pem: bytes, now: datetime) -> Certificate:
    leaf = x509.load_pem_x509_certificate(leaf_pem)
    return Certificate(key_pem, leaf_pem + chain_pem, now.timestamp(), leaf.not_valid_after_utc.timestamp())


def _certificates(pem: bytes) -> list[x509.Certificate]:
    return read_certificates(pem) if pem else []


def _wrong(path: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "InvalidCsr", "Certificate request", path, message, fix)


def utc_now(unix: float) -> datetime:
    """Unix seconds as the time that certificates are written in."""
    return datetime.fromtimestamp(unix, UTC)
