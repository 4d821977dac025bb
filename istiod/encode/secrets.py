"""Certificates and roots -> SDS secrets. Keys pass through and are kept nowhere: these results are never cached."""

from __future__ import annotations

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from istiod.encode.resource import SECRET, Resource, frame_resource


def encode_certificate(name: str, key_pem: bytes, chain_pem: bytes) -> Resource:
    """A private key with its certificate chain, leaf first."""
    secret = Secret(name=name)
    secret.tls_certificate.private_key.inline_bytes = key_pem
    secret.tls_certificate.certificate_chain.inline_bytes = chain_pem
    return frame_resource(SECRET, name, secret.SerializeToString(deterministic=True))


def encode_roots(name: str, roots_pem: bytes) -> Resource:
    """The roots that peers are verified against."""
    secret = Secret(name=name)
    secret.validation_context.trusted_ca.inline_bytes = roots_pem
    return frame_resource(SECRET, name, secret.SerializeToString(deterministic=True))
