"""JSON Web Key Sets (RFC 7517): what counts as one, which of its keys Envoy can use, and where one is to be had.

Pure. Envoy refuses a whole listener for a set without one good key, so its tests (`jwks.cc`, RFC 7518 section 6, RFC
8037) are made here first; what passes on is good keys, and of them nothing but what verifying takes. Fetching is the
business of `istiod.sources.keysets`; who asks for which set is told by `istiod.resolve.jwt`.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from federation.model.names import NamespacedName

_CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "P-256": ("ES256", ec.SECP256R1()),
    "P-384": ("ES384", ec.SECP384R1()),
    "P-521": ("ES512", ec.SECP521R1()),
}
_BASE64 = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_RSA_BITS = range(512, 8193)  # BoringSSL's bounds
_RSA_EXPONENTS = (3, 65537)
_ED25519_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where keys are to be had: the address of a key set, or an issuer whose OpenID configuration names it."""

    uri: str
    discovery: bool = False

    @property
    def key(self) -> NamespacedName:
        """The row of this source in the table of key sets."""
        return NamespacedName("issuer" if self.discovery else "", self.uri)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys as JSON text, "" if there is none that Envoy could use; and the places of those that it could not."""

    keys: str
    unusable: tuple[int, ...] = ()


# No token is valid, whoever signed it.
NO_KEYS = KeySet("")


@lru_cache(maxsize=256)
def parse_key_set(text: str) -> KeySet:
    """The set in one form, whatever its spacing and order; raises ValueError with the reason if it is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if isinstance(data, dict) and "keys" not in data and "kty" in data:
        raise ValueError('is a single key, not a set: {"keys": [...]}')
    keys = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(keys, list):
        raise ValueError('is no key set: {"keys": [...]}')
    for index, key in enumerate(keys):
        if not isinstance(key, dict) or not isinstance(key.get("kty"), str):
            raise ValueError(f"key {index} of the set has no type (kty)")
    found = [_usable(key) for key in keys]
    good = [key for key in found if key is not None]
    text = json.dumps({"keys": good}, sort_keys=True, separators=(",", ":")) if good else ""
    return KeySet(text, tuple(index for index, key in enumerate(found) if key is None))


def _usable(key: Mapping[str, Any]) -> dict[str, str] | None:
    """The parts of a key that verify signatures; None if Envoy could do nothing with it."""
    kind = _KINDS.get(key["kty"])
    if kind is None:
        return None
    is_good, names = kind
    parts = {name: key[name] for name in ("kty", "kid", "alg", *names) if isinstance(key.get(name), str)}
    try:
        json.dumps(parts, ensure_ascii=False).encode()  # half a surrogate pair would cost the whole set
        return parts if is_good(parts) else None
    except (ValueError, KeyError):
        return None


def _is_good_rsa(key: Mapping[str, str]) -> bool:
    modulus = _number(key["n"])
    signs = key.get("alg", "RS")[:2] in ("RS", "PS")
    return signs and modulus.bit_length() in _RSA_BITS and modulus % 2 == 1 and _number(key["e"]) in _RSA_EXPONENTS


def _is_good_curve(key: Mapping[str, str]) -> bool:
    said = key.get("alg", "")
    name = key.get("crv") or next((curve for curve, (alg, _) in _CURVES.items() if alg == said), "P-256")
    algorithm, curve = _CURVES[name]
    ec.EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), curve).public_key()  # ValueError off the curve
    return said in ("", algorithm)


def _is_good_secret(key: Mapping[str, str]) -> bool:
    return key.get("alg", "HS256") in ("HS256", "HS384", "HS512") and bool(_bytes(key["k"]))


def _is_good_edwards(key: Mapping[str, str]) -> bool:
    known = key.get("alg", "EdDSA") == "EdDSA" and key["crv"] == "Ed25519"
    return known and len(_bytes(key["x"])) == _ED25519_BYTES


# By type of key: whether it is good, and the names of its public parts (of `oct` the secret itself).
_KINDS: dict[str, tuple[Callable[[Mapping[str, str]], bool], tuple[str, ...]]] = {
    "RSA": (_is_good_rsa, ("n", "e")),
    "EC": (_is_good_curve, ("crv", "x", "y")),
    "oct": (_is_good_secret, ("k",)),
    "OKP": (_is_good_edwards, ("crv", "x")),
}


def _bytes(text: str) -> bytes:
    """Base64url in the form that everybody reads alike; raises ValueError."""
    bare = text.rstrip("=")
    found = urlsafe_b64decode(bare + "=" * (-len(bare) % 4)) if _BASE64.fullmatch(text) else b""
    whole = urlsafe_b64encode(found).decode()
    if not found or text not in (whole, whole.rstrip("=")):
        raise ValueError("is no base64url")
    return found


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")


def url_problem(text: str) -> str:
    """Why a text is no http or https address; "" if it is one."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as wrong:
        return str(wrong)
    if parts.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    if not host or any(character <= " " for character in text):
        return "is no address"
    return ""
