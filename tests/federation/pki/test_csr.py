import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.pki.csr import MAX_CSR_BYTES, make_csr, read_csr
from federation.pki.keys import generate_key

KEY = generate_key()
CSR = make_csr(KEY, "west intermediate")


def names(request: x509.CertificateSigningRequest) -> x509.Extension[x509.SubjectAlternativeName]:
    return request.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_request_reads_back() -> None:
    request = read_csr(CSR)
    assert request.public_key() == KEY.public_key()
    assert request.subject.rfc4514_string() == "CN=west intermediate"
    assert read_csr(CSR.decode()) == request


def test_names_are_critical_where_the_subject_is_empty() -> None:
    uri = "spiffe://west.m1/ns/shop/sa/web"
    bare = names(read_csr(make_csr(KEY, uris=(uri,))))
    assert bare.critical
    assert bare.value.get_values_for_type(x509.UniformResourceIdentifier) == [uri]
    assert not names(read_csr(make_csr(KEY, "web", (uri,)))).critical


def test_an_rsa_key_may_ask_too() -> None:
    key = rsa.generate_private_key(65537, 2048)
    assert read_csr(make_csr(key, "x")).public_key() == key.public_key()


def test_a_request_signed_with_another_key_is_refused() -> None:
    """Proof of possession: the public key of one, the signature of another."""
    lines = CSR.decode().splitlines()
    der = bytearray(base64.b64decode("".join(lines[1:-1])))
    der[-1] ^= 1
    body = base64.b64encode(bytes(der)).decode()
    with pytest.raises(ValueError, match="is not signed with the key it names"):
        read_csr(f"{lines[0]}\n{body}\n{lines[-1]}\n")


@pytest.mark.parametrize("text", ["", "no request", CSR.decode()[:-40], "\ud800"])
def test_damage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_csr(text)


def test_a_request_without_end_is_refused_unread() -> None:
    with pytest.raises(ValueError, match="too large"):
        read_csr(CSR + b"\n" * MAX_CSR_BYTES)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(body: bytes) -> None:
    armoured = b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n"
    for text in (body, armoured % base64.b64encode(body)):
        with pytest.raises(ValueError, match=r"."):
            read_csr(text)
