"""Workload tokens: a signed statement that its holder runs as one service account of one cluster, for a while.

Where there is no Kubernetes to ask (lab, virtual machines), an Envoy shows such a token to its control plane. The
form is a JWT
with ES256 and the claims of a Kubernetes service account token (`sub`, `aud`), so that both are read alike.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from federation.model.errors import Denied
from federation.pki.keys import PrivateKey

AUDIENCE = "istio-ca"
MAX_TOKEN_CHARACTERS = 8_192


class _Header(msgspec.Struct, omit_defaults=True):
    alg: str
    typ: str = ""
    kid: str = ""


class _Claims(msgspec.Struct):
    sub: str
    aud: str
    exp: float
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Who a token speaks for."""

    namespace: str
    service_account: str
    cluster: str
    expires: float


def issue_token(key: PrivateKey, identity: TokenIdentity) -> str:
    """A token for a service account."""
    subject = f"system:serviceaccount:{identity.namespace}:{identity.service_account}"
    claims = _Claims(subject, AUDIENCE, identity.expires, identity.cluster)
    return sign_es256(key, msgspec.json.encode(claims))


def sign_es256(key: PrivateKey, claims: bytes, key_id: str = "") -> str:
    """A JWT with these claims (JSON), signed with ES256 (RFC 7515, RFC 7518 §3.4); raises ValueError for other keys."""
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("tokens are signed with EC P-256 keys")
    header = msgspec.json.encode(_Header("ES256", "JWT", key_id))
    body = f"{base64url(header)}.{base64url(claims)}"
    r, s = decode_dss_signature(key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{body}.{base64url(r.to_bytes(32) + s.to_bytes(32))}"


def verify_token(token: str, public_pem: bytes, cluster: str, now: float) -> TokenIdentity:
    """Who the holder is; raises Denied with the reason, never repeating the token."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN_CHARACTERS or len(parts) != 3:
        raise Denied("the bearer token is not a workload token")
    try:
        header = msgspec.json.decode(_decode(parts[0]), type=_Header)
        claims = msgspec.json.decode(_decode(parts[1]), type=_Claims)
        signature = _decode(parts[2])
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise Denied("the bearer token is damaged") from None
    if header.alg != "ES256" or len(signature) != 64:
        raise Denied("the bearer token is not signed with ES256")
    key = _public_key(public_pem)
    raw = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    try:
        key.verify(raw, f"{parts[0]}.{parts[1]}".encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Denied("the bearer token was signed by somebody else") from None
    return _identity(claims, cluster, now)


def _public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise Denied("the key of workload tokens is damaged") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Denied("the key of workload tokens is no EC P-256 key")
    return key


def _identity(claims: _Claims, cluster: str, now: float) -> TokenIdentity:
    if claims.aud != AUDIENCE:
        raise Denied(f"the bearer token is for {claims.aud[:100]!r}, not for {AUDIENCE!r}")
    if claims.exp <= now:
        raise Denied(f"the bearer token ran out {int(now - claims.exp)} s ago")
    if claims.cluster != cluster:
        raise Denied(f"the bearer token is of cluster {claims.cluster[:100]!r}, this is {cluster!r}")
    parts = claims.sub.split(":")
    if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"] or not all(parts):
        raise Denied("the bearer token names no service account")
    return TokenIdentity(parts[2], parts[3], claims.cluster, claims.exp)


def base64url(raw: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
