from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from federation.model.errors import InvalidInput, Unavailable
from federation.model.identity import SpiffeId
from federation.pki.chain import read_certificates, spiffe_identity, verify_chain
from federation.pki.csr import make_csr
from federation.pki.keys import decode_key, generate_key
from istiod.ca.issuer import MAX_TTL, Certificate, Issuer

WEB = SpiffeId("west.m1", "shop", "web")
CSR_KEY = generate_key()
CSR = make_csr(CSR_KEY, "whoever", ("spiffe://west.m1/ns/kube-system/sa/admin",)).decode()


@pytest.fixture(scope="session")
def issuer(make_issuer: Callable[..., Issuer]) -> Issuer:
    return make_issuer()


def leaf_of(chain: list[str]) -> x509.Certificate:
    return read_certificates(chain[0].encode())[0]


def test_a_workload_gets_a_key_with_its_certificate(issuer: Issuer, now: datetime) -> None:
    made = issuer.workload(WEB, now)
    leaf, *between = read_certificates(made.chain_pem)
    assert decode_key(made.key_pem).public_key() == leaf.public_key()
    verify_chain([leaf, *between], read_certificates(issuer.roots_pem), now)
    assert spiffe_identity(leaf) == WEB
    assert (made.issued, made.not_after) == (now.timestamp(), (now + issuer.ttl).timestamp())


def test_keys_are_made_anew(issuer: Issuer, now: datetime) -> None:
    assert issuer.workload(WEB, now).key_pem != issuer.workload(WEB, now).key_pem


def test_renewal_is_due_at_half_life() -> None:
    assert Certificate(b"", b"", issued=1000.0, not_after=3000.0).renew_at == 2000.0


def test_also_where_the_ca_ends_sooner(make_issuer: Callable[..., Issuer], now: datetime) -> None:
    made = make_issuer(ends=timedelta(hours=2)).workload(WEB, now)
    assert made.not_after == (now + timedelta(hours=2)).timestamp()
    assert made.renew_at == (now + timedelta(hours=1)).timestamp()


def test_a_server_has_its_names(issuer: Issuer, now: datetime) -> None:
    made = issuer.server(("istiod.istio-system.svc", "127.0.0.1"), now)
    leaf, *between = read_certificates(made.chain_pem)
    verify_chain([leaf, *between], read_certificates(issuer.roots_pem), now)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
    assert made.not_after == (now + timedelta(days=7)).timestamp()


def test_a_request_gets_leaf_intermediate_and_root(issuer: Issuer, now: datetime) -> None:
    chain = issuer.sign_csr(CSR, WEB, 0, now)
    leaf, intermediate, root = (read_certificates(pem.encode())[0] for pem in chain)
    assert intermediate == issuer.authority.certificate
    assert root == read_certificates(issuer.roots_pem)[0]
    verify_chain([leaf, intermediate], [root], now)
    assert leaf.public_key() == CSR_KEY.public_key()


def test_names_in_a_request_prove_nothing(issuer: Issuer, now: datetime) -> None:
    """It names kube-system/admin; its sender is shop/web."""
    leaf = leaf_of(issuer.sign_csr(CSR, WEB, 0, now))
    assert spiffe_identity(leaf) == WEB
    assert list(leaf.subject) == []


@pytest.mark.parametrize(
    ("seconds", "ttl"),
    [
        (0, timedelta(hours=24)),
        (-1, timedelta(hours=24)),
        (-(2**63), timedelta(hours=24)),
        (1, timedelta(seconds=1)),
        (3600, timedelta(hours=1)),
        (72 * 3600, MAX_TTL),
    ],
)
def test_it_lives_as_long_as_asked_for(issuer: Issuer, now: datetime, seconds: int, ttl: timedelta) -> None:
    assert leaf_of(issuer.sign_csr(CSR, WEB, seconds, now)).not_valid_after_utc == now + ttl


@pytest.mark.parametrize("seconds", [72 * 3600 + 1, 10**9, 2**63 - 1])
def test_but_not_for_ever(issuer: Issuer, now: datetime, seconds: int) -> None:
    with pytest.raises(InvalidInput, match=f"validity_duration: {seconds} s is more than the longest"):
        issuer.sign_csr(CSR, WEB, seconds, now)


def test_nor_longer_than_the_ca(make_issuer: Callable[..., Issuer], now: datetime) -> None:
    issuer = make_issuer(ends=timedelta(minutes=5))
    assert leaf_of(issuer.sign_csr(CSR, WEB, 0, now)).not_valid_after_utc == now + timedelta(minutes=5)


def test_a_ca_that_has_ended_signs_nothing(make_issuer: Callable[..., Issuer], now: datetime) -> None:
    issuer = make_issuer(ends=timedelta(seconds=-1))
    with pytest.raises(Unavailable, match="the CA of this cluster ended at"):
        issuer.sign_csr(CSR, WEB, 0, now)


@pytest.mark.parametrize("csr", ["", "garbage", CSR[:-50], CSR.replace("M", "N", 1)])
def test_what_is_no_request_is_refused(issuer: Issuer, now: datetime, csr: str) -> None:
    with pytest.raises(InvalidInput, match="InvalidCsr: Certificate request csr"):
        issuer.sign_csr(csr, WEB, 0, now)


def other_csr(key: ed25519.Ed25519PrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, None).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    "csr",
    [
        other_csr(ed25519.Ed25519PrivateKey.generate()),
        make_csr(rsa.generate_private_key(65537, 1024)).decode(),
        make_csr(ec.generate_private_key(ec.SECP256K1())).decode(),
    ],
    ids=["ed25519", "short rsa", "secp256k1"],
)
def test_keys_that_nobody_could_use_are_refused(issuer: Issuer, now: datetime, csr: str) -> None:
    with pytest.raises(InvalidInput, match="a key of another type or size"):
        issuer.sign_csr(csr, WEB, 0, now)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_other_keys_that_istio_agents_make_are_signed(
    issuer: Issuer, now: datetime, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    assert leaf_of(issuer.sign_csr(make_csr(key).decode(), WEB, 0, now)).public_key() == key.public_key()


def test_a_root_that_signs_itself_has_nothing_between(now: datetime) -> None:
    """Istio's own CA without a mesh: no intermediate."""
    from federation.pki.issue import make_root, pem_of

    root = make_root("alone", now)
    alone = Issuer(replace(root, chain_pem=b""), pem_of(root.certificate), "alone")
    leaf, last = alone.sign_csr(CSR, WEB, 0, now)
    verify_chain(read_certificates(leaf.encode()), read_certificates(last.encode()), now)
    assert read_certificates(leaf.encode())[0].signature_hash_algorithm.name == hashes.SHA256.name  # type: ignore[union-attr]
