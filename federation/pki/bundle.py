"""A CA as files, with Istio's names: `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`.

An existing Istio installation's files work unchanged; the files we write work there. Keys are written with mode 0600.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from federation.pki.chain import read_certificates
from federation.pki.issue import Authority, pem_of
from federation.pki.keys import decode_key
from federation.runtime.atomic import write_atomic

CERT, KEY, CHAIN, ROOT = "ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"


def fingerprint(pem: bytes) -> str:
    """SHA-256 of a PEM bundle's certificates in DER, order and comments left out: the same roots, the same text."""
    digests = sorted(sha256(pem_of(certificate)).digest() for certificate in read_certificates(pem))
    return sha256(b"".join(digests)).hexdigest()


def load_authority(directory: Path) -> tuple[Authority, bytes]:
    """The CA of a directory and its roots (PEM); raises FileNotFoundError or ValueError that names the file."""
    certificate = read_certificates(_certificates(directory / CERT))[0]
    try:
        key = decode_key(_read(directory / KEY))
    except ValueError as wrong:
        raise ValueError(f"{directory / KEY}: {wrong}") from wrong
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{directory / KEY} is not the key of {directory / CERT}")
    roots = _certificates(directory / ROOT)
    chain = directory / CHAIN
    chain_pem = _certificates(chain) if chain.exists() else pem_of(certificate)
    return Authority(certificate, key, b"" if chain_pem.strip() == roots.strip() else chain_pem), roots


def save_authority(directory: Path, certificate_pem: bytes, key: bytes, chain_pem: bytes, roots_pem: bytes) -> None:
    """Write a CA's files, the key last, so that a reader never sees a key without its certificate."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(directory / ROOT, roots_pem, 0o644)
    write_atomic(directory / CHAIN, chain_pem, 0o644)
    write_atomic(directory / CERT, certificate_pem, 0o644)
    write_atomic(directory / KEY, key)


def _certificates(path: Path) -> bytes:
    """A PEM file in which every certificate can be read."""
    pem = _read(path)
    try:
        read_certificates(pem)
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from wrong
    return pem


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileNotFoundError(f"{path}: {error.strerror}") from error
