"""Certificates and roots -> SDS secrets. Keys pass through and are kept nowhere: these results are never cached."""

from __future__ import annotations

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from istiod.encode.resource import SECRET, Resource, frame_resource
from istiod.resolve.specs.secret import CertificateSpec, RootsSpec


def encode_credential(spec: CertificateSpec | RootsSpec) -> Resource:
    """A part of a Kubernetes Secret."""
    if isinstance(spec, RootsSpec):
        return encode_roots(spec.name, spec.roots, spec.revoked)
    return encode_certificate(spec.name, spec.key, spec.chain, spec.staple)


def encode_certificate(name: str, key_pem: bytes, chain_pem: bytes, staple: bytes = b"") -> Resource:
    """A private key with its certificate chain, leaf first, and an OCSP response about that if there is one."""
    secret = Secret(name=name)
    secret.tls_certificate.private_key.inline_bytes = key_pem
    secret.tls_certificate.certificate_chain.inline_bytes = chain_pem
    if staple:
        secret.tls_certificate.ocsp_staple.inline_bytes = staple
    return frame_resource(SECRET, name, secret.SerializeToString(deterministic=True))


def encode_roots(name: str, roots_pem: bytes, revoked_pem: bytes = b"") -> Resource:
    """The roots that peers are verified against, and revocation lists."""
    secret = Secret(name=name)
    secret.validation_context.trusted_ca.inline_bytes = roots_pem
    if revoked_pem:
        secret.validation_context.crl.inline_bytes = revoked_pem
    return frame_resource(SECRET, name, secret.SerializeToString(deterministic=True))
