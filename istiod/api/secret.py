"""core/v1 Secret, as far as it holds a certificate, its key, or certificates to trust.

Owns which entries of a Secret mean what (Istio's: `tls.crt`/`tls.key`/`ca.crt` or `cert`/`key`/`cacert`, revocation
lists, an OCSP staple) and whether they fit together. Values are in no representation and in no message of ours; who may
have them is decided elsewhere (`istiod.resolve.credentials`), and so is whether they are out of date, which takes a
clock.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from pydantic import BeforeValidator, Field

from federation.pki.chain import read_certificates
from federation.pki.keys import PrivateKey, decode_key
from istiod.api.fields import LenientModel
from istiod.api.problems import Problem

TLS_TYPE = "kubernetes.io/tls"
LEAST_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")
# Certificate and key under the names of `kubectl create secret generic`, then those of `create secret tls`.
PAIRS = (("cert", "key"), ("tls.crt", "tls.key"))
ROOTS = ("cacert", "ca.crt")
REVOKED = ("crl", "ca.crl")
STAPLE = "tls.ocsp-staple"


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("text in base64 is wanted")
    try:
        return b64decode("".join(value.split()), validate=True)
    except binascii.Error:
        raise ValueError("text in base64 is wanted") from None


class Secret(LenientModel):
    """A Secret. Of an entry in both, `string_data` counts, as in Kubernetes."""

    type: str = "Opaque"
    data: dict[str, Annotated[bytes, BeforeValidator(_decoded)]] = Field(default={}, repr=False)
    string_data: dict[str, str] = Field(default={}, repr=False)

    def entry(self, *names: str) -> bytes:
        """The first of these entries that is not empty."""
        for name in names:
            found = self.string_data[name].encode() if name in self.string_data else self.data.get(name, b"")
            if found:
                return found
        return b""

    @property
    def names(self) -> list[str]:
        """The names of all entries, sorted."""
        return sorted({*self.data, *self.string_data})

    @property
    def pair(self) -> tuple[str, str] | None:
        """The names of the entries with certificate and key; None if it has not both."""
        return next((pair for pair in PAIRS if self.entry(pair[0]) and self.entry(pair[1])), None)

    @property
    def roots(self) -> bytes:
        """Certificates to trust, PEM."""
        return self.entry(*ROOTS)

    @property
    def revoked(self) -> bytes:
        """Revocation lists of those, PEM."""
        return self.entry(*REVOKED)

    @property
    def staple(self) -> bytes:
        """An OCSP response about the certificate, DER."""
        return self.entry(STAPLE)


def validate(secret: Secret) -> Iterator[Problem]:
    """What keeps Envoy from using the certificates in a Secret, which then counts as absent. Others are not looked
    into.
    """
    if secret.type == TLS_TYPE and secret.pair is None:
        yield from (_missing(name) for name in PAIRS[1] if not secret.entry(name))
    if secret.pair is not None:
        yield from _pair_problems(secret, *secret.pair)
    if secret.pair is not None or secret.type == TLS_TYPE or set(secret.names) <= {*ROOTS, *REVOKED}:
        yield from _trust_problems(secret)


def _pair_problems(secret: Secret, certificate_name: str, key_name: str) -> Iterator[Problem]:
    chain = _read(read_certificates, secret.entry(certificate_name))
    key = _read(decode_key, secret.entry(key_name))
    if chain is None:
        yield _wrong(secret, certificate_name, "holds no certificates that can be read", "put a PEM chain there")
    if key is None:
        fix = "put an unencrypted PEM key there, RSA or ECDSA"
        yield _wrong(secret, key_name, "holds no private key that can be used", fix)
    elif not _is_strong(key):
        fix = f"use RSA of {LEAST_RSA_BITS} bits or more, or ECDSA on P-256, P-384 or P-521"
        yield _wrong(secret, key_name, "holds a key that Envoy refuses", fix)
    if chain is not None and key is not None and chain[0].public_key() != key.public_key():
        fix = "put the certificate of this key first, then the intermediate ones"
        yield _wrong(secret, certificate_name, f"begins with a certificate that is not for the key in {key_name}", fix)
    if chain is not None and secret.staple:
        response = _read(ocsp.load_der_ocsp_response, secret.staple)
        if response is None or response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            yield _wrong(secret, STAPLE, "is no OCSP response that tells anything", "put a DER response there")
        elif response.serial_number != chain[0].serial_number:
            yield _wrong(secret, STAPLE, f"is not about the certificate in {certificate_name}", "fetch a new one")


def _trust_problems(secret: Secret) -> Iterator[Problem]:
    for names, read, what in (
        (ROOTS, read_certificates, "certificates"),
        (REVOKED, x509.load_pem_x509_crl, "revocation list"),
    ):
        name = next((name for name in names if secret.entry(name)), "")
        if name and _read(read, secret.entry(name)) is None:
            yield _wrong(secret, name, f"holds no {what} that can be read", "put PEM there")


def _is_strong(key: PrivateKey) -> bool:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.key_size >= LEAST_RSA_BITS
    return isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES


def _read(read: Callable[[bytes], Any], text: bytes) -> Any:
    """What a reader makes of an entry; None if it refuses. Its reasons are not passed on: they may quote."""
    try:
        return read(text)
    except ValueError:
        return None


def _missing(name: str) -> Problem:
    return Problem(f"data.{name}", "is missing", f"give a Secret of type {TLS_TYPE} both", "MissingField")


def _wrong(secret: Secret, name: str, message: str, fix: str) -> Problem:
    field = "stringData" if name in secret.string_data else "data"
    return Problem(f"{field}.{name}", message, fix, "InvalidCredential")
