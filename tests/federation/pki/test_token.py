from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.errors import Denied
from federation.pki.keys import PrivateKey, generate_key
from federation.pki.token import MAX_TOKEN_CHARACTERS, TokenIdentity, issue_token, verify_token

NOW = 1_700_000_000.0
WEB = TokenIdentity("shop", "web", "west", NOW + 60)
KEY = generate_key()


def public(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


PUBLIC = public(KEY)
TOKEN = issue_token(KEY, WEB)


def packed(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unpacked(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def signed(claims: dict[str, Any]) -> str:
    """A token with these claims and a good signature."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    body = f"{packed({'alg': 'ES256'})}.{packed(claims)}"
    r, s = decode_dss_signature(KEY.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{body}.{packed(r.to_bytes(32) + s.to_bytes(32))}"


CLAIMS: dict[str, Any] = {
    "sub": "system:serviceaccount:shop:web",
    "aud": "istio-ca",
    "exp": NOW + 60,
    "cluster": "west",
}


def denied(token: str, reason: str, key: bytes = PUBLIC, now: float = NOW) -> None:
    with pytest.raises(Denied, match=reason) as refused:
        verify_token(token, key, "west", now)
    assert not token or token not in str(refused.value)


def test_a_token_says_who_its_holder_is() -> None:
    assert verify_token(TOKEN, PUBLIC, "west", NOW) == WEB
    assert verify_token(signed(CLAIMS), PUBLIC, "west", NOW) == WEB


def test_its_form_is_that_of_a_kubernetes_token() -> None:
    header, claims, _ = TOKEN.split(".")
    assert unpacked(header) == {"alg": "ES256", "typ": "JWT"}
    assert unpacked(claims)["sub"] == "system:serviceaccount:shop:web"
    assert unpacked(claims)["aud"] == "istio-ca"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"aud": "vault"}, "is for 'vault', not for 'istio-ca'"),
        ({"exp": NOW - 5}, "ran out 5 s ago"),
        ({"exp": NOW}, "ran out 0 s ago"),
        ({"cluster": "east"}, "is of cluster 'east', this is 'west'"),
        ({"cluster": ""}, "is of cluster '', this is 'west'"),
        ({"sub": "shop:web"}, "names no service account"),
        ({"sub": "system:serviceaccount:shop"}, "names no service account"),
        ({"sub": "system:serviceaccount:shop:web:more"}, "names no service account"),
        ({"sub": "system:serviceaccount::web"}, "names no service account"),
        ({"sub": "system:serviceaccount:shop:"}, "names no service account"),
        ({"sub": "system:node:shop:web"}, "names no service account"),
        ({"sub": 7}, "is damaged"),
        ({"exp": "tomorrow"}, "is damaged"),
        ({"exp": None}, "is damaged"),
    ],
)
def test_what_it_says_must_hold_here(change: dict[str, Any], reason: str) -> None:
    denied(signed({**CLAIMS, **change}), reason)


def test_a_claim_left_out_is_not_made_up() -> None:
    for claim in CLAIMS:
        denied(signed({key: value for key, value in CLAIMS.items() if key != claim}), "is damaged|cluster ''")


def test_it_ends() -> None:
    assert verify_token(TOKEN, PUBLIC, "west", NOW + 59.9) == WEB
    denied(TOKEN, "ran out 3 s ago", now=NOW + 63)


def test_somebody_elses_signature_is_refused() -> None:
    denied(issue_token(generate_key(), WEB), "was signed by somebody else")


def test_claims_cannot_be_exchanged_under_a_signature() -> None:
    header, _, signature = TOKEN.split(".")
    denied(f"{header}.{packed({**CLAIMS, 'sub': 'system:serviceaccount:shop:admin'})}.{signature}", "somebody else")


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256", "es256", ""])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    _, claims, signature = TOKEN.split(".")
    for proof in (signature, ""):
        denied(f"{packed({'alg': algorithm})}.{claims}.{proof}", "not signed with ES256")


def test_the_public_key_is_no_shared_secret() -> None:
    """The classic confusion: HMAC with the public key as its secret."""
    body = f"{packed({'alg': 'HS256'})}.{packed(CLAIMS)}"
    proof = hmac.digest(PUBLIC, body.encode(), "sha256")
    denied(f"{body}.{packed(proof + proof)}", "not signed with ES256")


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 64, b"\1" * 63, b"\1" * 65, b"\1" * 128])
def test_no_made_up_signature_is_taken(signature: bytes) -> None:
    header, claims, _ = TOKEN.split(".")
    denied(f"{header}.{claims}.{packed(signature)}", "somebody else|not signed with ES256")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "is not a workload token"),
        ("x", "is not a workload token"),
        (TOKEN.rpartition(".")[0], "is not a workload token"),
        (TOKEN + ".x", "is not a workload token"),
        (f"{'a' * MAX_TOKEN_CHARACTERS}.b.c", "is not a workload token"),
        ("..", "is damaged"),
        ("a.b.c", "is damaged"),
        ("\u00e4.b.c", "is damaged"),
        (f"{packed(b'[]')}.{packed(CLAIMS)}.x", "is damaged"),
        (f"{packed(b'{')}.{packed(CLAIMS)}.x", "is damaged"),
        (TOKEN[1:], "is damaged"),
    ],
)
def test_damage_is_refused(token: str, reason: str) -> None:
    denied(token, reason)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("ABCDabcd0123-_.!\u00e4 "))
def test_one_wrong_character_is_enough(place: int, character: str) -> None:
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    # the last character of the signature also carries bits that mean nothing
    if changed != TOKEN and place < len(TOKEN) - 1:
        with pytest.raises(Denied):
            verify_token(changed, PUBLIC, "west", NOW)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "the key of workload tokens is damaged"),
        (b"garbage", "the key of workload tokens is damaged"),
        (PUBLIC[:-40], "the key of workload tokens is damaged"),
        (public(rsa.generate_private_key(65537, 2048)), "is no EC P-256 key"),
        (public(ec.generate_private_key(ec.SECP384R1())), "is no EC P-256 key"),
    ],
)
def test_a_key_that_cannot_be_used_admits_nobody(pem: bytes, reason: str) -> None:
    denied(TOKEN, reason, key=pem)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_tokens_are_signed_with_p256_only(key: PrivateKey) -> None:
    with pytest.raises(ValueError, match="EC P-256"):
        issue_token(key, WEB)
