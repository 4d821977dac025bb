"""Key sets: which keys Envoy can use, and that nothing else of a set passes on."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from istiod.api.jwks import NO_KEYS, parse_key_set

# RFC 7517 A.1, RFC 8037 A.2.
EC: dict[str, Any] = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
RSA: dict[str, Any] = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
    "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
    "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
    "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
}
OKP: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
OCT: dict[str, Any] = {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}


def without(key: dict[str, Any], name: str) -> dict[str, Any]:
    return {part: value for part, value in key.items() if part != name}


GOOD = {
    "rsa": RSA,
    "rsa with algorithm": RSA | {"alg": "RS512"},
    "rsa-pss": RSA | {"alg": "PS256"},
    "rsa padded": RSA | {"n": RSA["n"] + "=="},
    "ec": EC,
    "ec by algorithm": without(EC, "crv") | {"alg": "ES256"},
    "ec by default": without(EC, "crv"),
    "ed25519": OKP,
    "secret": OCT,
    "secret with algorithm": OCT | {"alg": "HS512"},
    "number as kid": OCT | {"kid": 1},
}
BAD = {
    "unknown type": {"kty": "DH"},
    "rsa without modulus": without(RSA, "n"),
    "rsa with a number": RSA | {"n": 5},
    "rsa that is even": RSA | {"n": RSA["n"][:-1] + "A"},
    "rsa too short": RSA | {"n": RSA["n"][:64]},
    "rsa with odd exponent": RSA | {"e": "BQ"},
    "rsa of elliptic curves": RSA | {"alg": "ES256"},
    "plain base64": RSA | {"n": "+/" + RSA["n"]},
    "ec off the curve": EC | {"x": EC["y"]},
    "ec with too large numbers": EC | {"x": EC["x"] + EC["x"]},
    "ec of another curve": EC | {"crv": "P-384"},
    "ec of an unknown curve": EC | {"crv": "secp256k1"},
    "ec with another algorithm": EC | {"alg": "ES384"},
    "ec without y": without(EC, "y"),
    "ed25519 too short": OKP | {"x": OKP["x"][:40]},
    "x25519": OKP | {"crv": "X25519"},
    "ed25519 without curve": without(OKP, "crv"),
    "empty secret": OCT | {"k": ""},
    "secret of rsa": OCT | {"alg": "RS256"},
    "stray bits": OCT | {"k": "YR"},
    "half a pair": OCT | {"kid": "\ud800"},
}


@pytest.mark.parametrize("key", GOOD.values(), ids=GOOD.keys())
def test_good_keys(key: dict[str, Any]) -> None:
    found = parse_key_set(json.dumps({"keys": [key]}))
    assert found.unusable == ()
    (kept,) = json.loads(found.keys)["keys"]
    assert kept == {name: value for name, value in key.items() if isinstance(value, str)}


@pytest.mark.parametrize("key", BAD.values(), ids=BAD.keys())
def test_bad_keys_do_not_cost_the_good_ones(key: dict[str, Any]) -> None:
    assert parse_key_set(json.dumps({"keys": [key]})).keys == NO_KEYS.keys
    found = parse_key_set(json.dumps({"keys": [key, OCT, key]}))
    assert found.unusable == (0, 2)
    assert json.loads(found.keys) == {"keys": [OCT]}


def test_private_parts_and_certificates_stay_here() -> None:
    found = parse_key_set(json.dumps({"keys": [RSA | {"d": "secret", "p": "secret", "x5c": ["MIIC"], "use": "sig"}]}))
    assert json.loads(found.keys) == {"keys": [RSA]}


def test_one_form_whatever_the_order() -> None:
    one = parse_key_set(json.dumps({"keys": [EC]}, indent=4))
    assert one == parse_key_set(json.dumps({"x": 1, "keys": [dict(reversed(EC.items()))]}))


def test_own_keys() -> None:
    for size in (1024, 2048, 4096):
        numbers = rsa.generate_private_key(65537, size).public_key().public_numbers()
        key = {"kty": "RSA", "e": "AQAB", "n": base64(numbers.n, size // 8)}
        assert parse_key_set(json.dumps({"keys": [key]})).unusable == ()
    for curve, name in ((ec.SECP256R1(), "P-256"), (ec.SECP384R1(), "P-384"), (ec.SECP521R1(), "P-521")):
        point = ec.generate_private_key(curve).public_key().public_numbers()
        length = (curve.key_size + 7) // 8
        key = {"kty": "EC", "crv": name, "x": base64(point.x, length), "y": base64(point.y, length)}
        assert parse_key_set(json.dumps({"keys": [key]})).unusable == ()


def base64(number: int, length: int) -> str:
    return urlsafe_b64encode(number.to_bytes(length, "big")).decode().rstrip("=")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text()
    | st.sampled_from([EC["x"], RSA["n"], "AQAB", "P-256", "ES256"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
KEYS = st.dictionaries(st.sampled_from(["kid", "alg", "crv", "x", "y", "n", "e", "k"]), VALUES)


@given(st.lists(st.tuples(st.sampled_from(["RSA", "EC", "oct", "OKP", "?"]), KEYS), max_size=3))
@settings(max_examples=300, deadline=None)
def test_no_set_is_a_surprise(keys: list[tuple[str, dict[str, Any]]]) -> None:
    found = parse_key_set(json.dumps({"keys": [{**key, "kty": kty} for kty, key in keys]}))
    assert len(found.unusable) + len(json.loads(found.keys or '{"keys":[]}')["keys"]) == len(keys)
    assert found.keys.isascii()
