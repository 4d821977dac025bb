import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from federation.pki.keys import decode_key, encode_key, generate_key


def test_a_key_reads_back() -> None:
    key = generate_key()
    assert isinstance(key.curve, ec.SECP256R1)
    assert decode_key(encode_key(key)).private_numbers() == key.private_numbers()
    assert encode_key(key).startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_rsa_keys_are_read_in_both_forms(form: serialization.PrivateFormat) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    assert decode_key(pem).private_numbers() == key.private_numbers()


def test_two_keys_differ() -> None:
    assert encode_key(generate_key()) != encode_key(generate_key())


def encrypted() -> bytes:
    return generate_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


def of_another_type() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def cut() -> bytes:
    return encode_key(generate_key())[:-60]


@pytest.mark.parametrize("make", [encrypted, of_another_type, cut, bytes, lambda: b"no key"])
def test_anything_else_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_key(make())  # type: ignore[operator]
