"""Certificate signing requests: making them where the key is, and reading them without believing them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from federation.pki.keys import PrivateKey

MAX_CSR_BYTES = 64 << 10


def make_csr(key: PrivateKey, common_name: str = "", uris: tuple[str, ...] = ()) -> bytes:
    """A request signed with the key itself, PEM."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=not common_name)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_csr(pem: bytes | str) -> x509.CertificateSigningRequest:
    """A request whose signature proves that its sender has the key; raises ValueError otherwise. Names in it prove
    nothing.
    """
    raw = pem.encode() if isinstance(pem, str) else pem
    if len(raw) > MAX_CSR_BYTES:
        raise ValueError(f"a signing request of {len(raw)} bytes is too large")
    try:
        request = x509.load_pem_x509_csr(raw)
        valid = request.is_signature_valid
    except Exception as wrong:
        raise ValueError(f"not a signing request: {wrong}") from wrong
    if not valid:
        raise ValueError("the signing request is not signed with the key it names")
    return request
