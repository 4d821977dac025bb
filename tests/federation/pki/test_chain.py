"""Who is believed: above all, that the CA of one cluster cannot speak for another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from federation.model.identity import SpiffeId
from federation.pki.chain import MAX_CHAIN_BYTES, read_certificates, spiffe_identity, verify_chain
from federation.pki.issue import Authority, make_root, pem_of, sign_intermediate, sign_server, sign_workload
from federation.pki.keys import generate_key

KEY = generate_key()
HOUR = timedelta(hours=1)


def leaf_of(issuer: Authority, identity: str, now: datetime) -> x509.Certificate:
    return x509.load_pem_x509_certificate(sign_workload(issuer, KEY.public_key(), identity, HOUR, now))


def test_a_leaf_of_its_own_trust_domain_is_trusted(root: Authority, west: Authority, now: datetime) -> None:
    leaf = leaf_of(west, "spiffe://west.m1/ns/shop/sa/web", now)
    verify_chain([leaf, west.certificate], [root.certificate], now)
    assert spiffe_identity(leaf) == SpiffeId("west.m1", "shop", "web")


@pytest.mark.parametrize(
    "domain",
    [
        "east.m1",
        "m1",
        "deeper.west.m1",
        "notwest.m1",
        "west.m1.evil.example",
        "west",
    ],
)
def test_a_stolen_cluster_ca_cannot_speak_for_another(
    root: Authority, west: Authority, now: datetime, domain: str
) -> None:
    leaf = leaf_of(west, f"spiffe://{domain}/ns/shop/sa/web", now)
    with pytest.raises(ValueError, match="permitted subtree violation"):
        verify_chain([leaf, west.certificate], [root.certificate], now)


def test_nor_with_a_second_name_beside_its_own(root: Authority, west: Authority, now: datetime) -> None:
    uris = [x509.UniformResourceIdentifier(f"spiffe://{domain}/ns/shop/sa/web") for domain in ("west.m1", "east.m1")]
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(west.certificate.subject)
    builder = builder.public_key(KEY.public_key()).serial_number(7).not_valid_before(now).not_valid_after(now + HOUR)
    leaf = builder.add_extension(x509.SubjectAlternativeName(uris), critical=True).sign(west.key, hashes.SHA256())
    with pytest.raises(ValueError, match="permitted subtree violation"):
        verify_chain([leaf, west.certificate], [root.certificate], now)
    with pytest.raises(ValueError, match="2 URI names"):
        spiffe_identity(leaf)


def test_a_cluster_ca_makes_no_other_ca(root: Authority, west: Authority, now: datetime) -> None:
    """West signs an intermediate for east's trust domain, below its own."""
    key = generate_key()
    pem = sign_intermediate(west, key.public_key(), "east", "west.m1", now)
    below = Authority(x509.load_pem_x509_certificate(pem), key, pem)
    leaf = leaf_of(below, "spiffe://west.m1/ns/shop/sa/web", now)
    with pytest.raises(ValueError, match="path length constraint exceeded"):
        verify_chain([leaf, below.certificate, west.certificate], [root.certificate], now)


def test_who_holds_a_leaf_makes_no_certificates(root: Authority, west: Authority, now: datetime) -> None:
    leaf = x509.load_pem_x509_certificate(sign_server(west, KEY.public_key(), ("web",), HOUR, now))
    forged = leaf_of(Authority(leaf, KEY, b""), "spiffe://west.m1/ns/shop/sa/admin", now)
    with pytest.raises(ValueError, match=r"invalid CA certificate|path length"):
        verify_chain([forged, leaf, west.certificate], [root.certificate], now)


def test_another_root_is_not_trusted(west: Authority, now: datetime) -> None:
    """Of the same name even."""
    leaf = leaf_of(west, "spiffe://west.m1/ns/shop/sa/web", now)
    with pytest.raises(ValueError, match="is not trusted"):
        verify_chain([leaf, west.certificate], [make_root("m1", now).certificate], now)


def test_during_a_change_of_roots_both_count(root: Authority, west: Authority, now: datetime) -> None:
    leaf = leaf_of(west, "spiffe://west.m1/ns/shop/sa/web", now)
    verify_chain([leaf, west.certificate], [make_root("m1", now).certificate, root.certificate], now)


def test_the_intermediate_may_not_be_left_out(root: Authority, west: Authority, now: datetime) -> None:
    with pytest.raises(ValueError, match="is not trusted"):
        verify_chain([leaf_of(west, "spiffe://west.m1/ns/shop/sa/web", now)], [root.certificate], now)


def test_another_clusters_intermediate_does_not_help(
    root: Authority, west: Authority, cluster_ca: Callable[[str], Authority], now: datetime
) -> None:
    leaf = leaf_of(west, "spiffe://west.m1/ns/shop/sa/web", now)
    with pytest.raises(ValueError, match="is not trusted"):
        verify_chain([leaf, cluster_ca("east").certificate], [root.certificate], now)


@pytest.mark.parametrize(
    ("after", "reason"), [(HOUR + timedelta(seconds=1), "expired"), (-timedelta(seconds=121), "not yet valid")]
)
def test_time_counts(root: Authority, west: Authority, now: datetime, after: timedelta, reason: str) -> None:
    chain = [leaf_of(west, "spiffe://west.m1/ns/shop/sa/web", now), west.certificate]
    verify_chain(chain, [root.certificate], now - timedelta(seconds=119))
    with pytest.raises(ValueError, match=reason):
        verify_chain(chain, [root.certificate], now + after)


def test_no_certificate_is_not_trusted(root: Authority, now: datetime) -> None:
    with pytest.raises(ValueError, match="there is no certificate"):
        verify_chain([], [root.certificate], now)


def test_a_certificate_without_an_identity_has_none(west: Authority, now: datetime) -> None:
    server = x509.load_pem_x509_certificate(sign_server(west, KEY.public_key(), ("istiod",), HOUR, now))
    with pytest.raises(ValueError, match="0 URI names"):
        spiffe_identity(server)
    with pytest.raises(ValueError, match="no subject alternative name"):
        spiffe_identity(west.certificate)
    with pytest.raises(ValueError, match="is not spiffe"):
        spiffe_identity(leaf_of(west, "spiffe://west.m1/other", now))


def test_certificates_are_read_in_order(root: Authority, west: Authority) -> None:
    text = b"# a comment\n" + pem_of(west.certificate) + b"\n# another\n" + pem_of(root.certificate)
    assert read_certificates(text) == [west.certificate, root.certificate]


@pytest.mark.parametrize("damage", [bytes, lambda pem: b"x", lambda pem: pem[:-60], lambda pem: pem * 1000])
def test_what_is_no_certificate_is_refused(west: Authority, damage: Callable[[bytes], bytes]) -> None:
    pem = pem_of(west.certificate)
    wrong = b"" if damage is bytes else damage(pem)
    assert len(pem) * 1000 > MAX_CHAIN_BYTES
    with pytest.raises(ValueError, match=r"."):
        read_certificates(wrong)
