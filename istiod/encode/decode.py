"""Finished resources back to plain data, for people who look at what a proxy was given."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse
from google.protobuf import json_format, symbol_database

from istiod.encode.resource import Resource


def decode_resource(resource: Resource) -> Any:
    """The resource's message as protobuf's JSON has it, nested messages too; ValueError if it is not one."""
    framed = DeltaDiscoveryResponse.FromString(resource.delta)
    packed = framed.resources[0].resource
    name = packed.type_url.rpartition("/")[2]
    try:
        message = symbol_database.Default().GetSymbol(name)()
    except KeyError as unknown:
        raise ValueError(f"{name} is no message that this version makes") from unknown
    packed.Unpack(message)
    return json_format.MessageToDict(message)


def describe_secret(resource: Resource) -> dict[str, Any] | None:
    """What anybody may know of a secret: the certificates in it. The key is never looked at; None if none can be read.

    `type` is Istio's word, the times are RFC 3339; of several certificates the first is described.
    """
    framed = DeltaDiscoveryResponse.FromString(resource.delta)
    secret = Secret.FromString(framed.resources[0].resource.value)
    chain = secret.HasField("tls_certificate")
    source = secret.tls_certificate.certificate_chain if chain else secret.validation_context.trusted_ca
    return describe_certificates("Cert Chain" if chain else "CA", source.inline_bytes or source.inline_string.encode())


def describe_certificates(kind: str, pem: bytes) -> dict[str, Any] | None:
    """The first of some certificates (PEM) as data; None if there is none that can be read."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return None
    first = certificates[0]
    return {
        "type": kind,
        "serialNumber": f"{first.serial_number:x}",
        "notBefore": first.not_valid_before_utc.isoformat(),
        "notAfter": first.not_valid_after_utc.isoformat(),
        "certificates": len(certificates),
    }
