"""Verifies certificate chains with name constraints, and reads the identity of a verified leaf.

OpenSSL does it: `cryptography`'s verifier refuses URI name constraints as unsupported.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from OpenSSL import crypto

from federation.model.identity import SpiffeId

MAX_CHAIN_BYTES = 256 << 10


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """All certificates of a PEM text, in order; raises ValueError if there is none or one cannot be read."""
    if len(pem) > MAX_CHAIN_BYTES:
        raise ValueError(f"{len(pem)} bytes of certificates are too many")
    return x509.load_pem_x509_certificates(pem)


def verify_chain(chain: list[x509.Certificate], roots: list[x509.Certificate], now: datetime) -> None:
    """Check that the first certificate leads to one of the roots, name constraints included; raises ValueError that
    says why not.
    """
    if not chain:
        raise ValueError("there is no certificate")
    store = crypto.X509Store()
    for root in roots:
        store.add_cert(crypto.X509.from_cryptography(root))
    store.set_time(now)
    leaf, *between = [crypto.X509.from_cryptography(certificate) for certificate in chain]
    try:
        crypto.X509StoreContext(store, leaf, between).verify_certificate()
    except crypto.X509StoreContextError as wrong:
        raise ValueError(f"the certificate is not trusted: {wrong}") from wrong


def spiffe_identity(leaf: x509.Certificate) -> SpiffeId:
    """The identity in a leaf's URI name; raises ValueError if there is not exactly one."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("the certificate has no subject alternative name") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise ValueError(f"the certificate has {len(uris)} URI names, exactly one is wanted")
    return SpiffeId.parse(uris[0])
