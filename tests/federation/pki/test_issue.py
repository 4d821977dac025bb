"""What the certificates say. Whether they are believed is test_chain's business."""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from federation.pki.chain import spiffe_identity
from federation.pki.issue import (
    INTERMEDIATE_LIFETIME,
    Authority,
    make_root,
    sign_intermediate,
    sign_server,
    sign_user,
    sign_workload,
)
from federation.pki.keys import generate_key

KEY = generate_key()
WEB = "spiffe://west.m1/ns/shop/sa/web"
HOUR = timedelta(hours=1)


def load(pem: bytes) -> x509.Certificate:
    (certificate,) = x509.load_pem_x509_certificates(pem)
    return certificate


def workload(issuer: Authority, now: datetime, ttl: timedelta = HOUR) -> x509.Certificate:
    return load(sign_workload(issuer, KEY.public_key(), WEB, ttl, now))


def test_a_root_is_a_ca_of_its_own_for_ten_years(root: Authority, now: datetime) -> None:
    certificate = root.certificate
    assert certificate.subject == certificate.issuer
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).critical
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc == now + timedelta(days=3650)
    certificate.verify_directly_issued_by(certificate)


def test_an_intermediate_makes_no_further_ca(root: Authority, west: Authority) -> None:
    constraints = west.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    west.certificate.verify_directly_issued_by(root.certificate)


def test_an_intermediate_is_bound_to_its_trust_domain(west: Authority) -> None:
    bound = west.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert bound.critical
    assert bound.value.permitted_subtrees == [x509.UniformResourceIdentifier("west.m1")]
    assert bound.value.excluded_subtrees is None


def test_cas_sign_certificates_and_nothing_else(root: Authority, west: Authority) -> None:
    for authority in (root, west):
        usage = authority.certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert not usage.value.digital_signature


def test_an_intermediate_ends_with_its_root(root: Authority, west: Authority, now: datetime) -> None:
    assert west.not_after == now + INTERMEDIATE_LIFETIME
    late = root.not_after - timedelta(days=3)
    assert load(sign_intermediate(root, KEY.public_key(), "a", "a.m1", late)).not_valid_after_utc == root.not_after


def test_everything_begins_two_minutes_early(root: Authority, west: Authority, now: datetime) -> None:
    """For peers whose clock is behind."""
    leaves = (
        root.certificate,
        west.certificate,
        workload(west, now),
        load(sign_server(west, KEY.public_key(), ("istiod",), HOUR, now)),
        load(sign_user(root, KEY.public_key(), "root", HOUR, now)),
    )
    assert {leaf.not_valid_before_utc for leaf in leaves} == {now - timedelta(minutes=2)}


def test_a_leaf_lives_as_long_as_asked_for(west: Authority, now: datetime) -> None:
    assert workload(west, now).not_valid_after_utc == now + HOUR


def test_a_leaf_ends_with_its_issuer(west: Authority, now: datetime) -> None:
    assert workload(west, now, timedelta(days=9999)).not_valid_after_utc == west.not_after


def test_an_ended_issuer_signs_nothing_and_says_so(west: Authority) -> None:
    with pytest.raises(ValueError, match="the issuing certificate ended at 2027-03-01 12:00:00Z"):
        workload(west, west.not_after)


def test_a_workloads_name_is_critical_as_its_subject_is_empty(west: Authority, now: datetime) -> None:
    leaf = workload(west, now)
    assert list(leaf.subject) == []
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [WEB]
    assert str(spiffe_identity(leaf)) == WEB


def test_leaves_are_no_cas_and_serve_both_ends(west: Authority, now: datetime) -> None:
    leaf = workload(west, now)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).critical
    purposes = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    leaf.verify_directly_issued_by(west.certificate)


def test_serial_numbers_are_not_used_twice(west: Authority, now: datetime) -> None:
    assert workload(west, now).serial_number != workload(west, now).serial_number


def test_a_server_has_dns_names_and_addresses(west: Authority, now: datetime) -> None:
    given = ("istiod.istio-system.svc", "198.18.0.2", "fd00::1")
    leaf = load(sign_server(west, KEY.public_key(), given, HOUR, now))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("198.18.0.2"), ip_address("fd00::1")]


def test_a_store_user_is_its_common_name(root: Authority, now: datetime) -> None:
    leaf = load(sign_user(root, KEY.public_key(), "cluster-west", HOUR, now))
    assert leaf.subject.rfc4514_string() == "CN=cluster-west"


def test_a_store_user_is_never_cut_to_the_name_of_another(root: Authority, now: datetime) -> None:
    longest = "x" * 64
    assert load(sign_user(root, KEY.public_key(), longest, HOUR, now)).subject.rfc4514_string() == f"CN={longest}"
    with pytest.raises(ValueError, match="longer than the 64 characters"):
        sign_user(root, KEY.public_key(), longest + "y", HOUR, now)


def test_a_ca_of_another_tool_signs_too(now: datetime) -> None:
    """An RSA CA whose certificate does not name its own key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=9))
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    old = Authority(builder.sign(key, hashes.SHA256()), key, b"")
    leaf = workload(old, now)
    leaf.verify_directly_issued_by(old.certificate)
    hashed = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == hashed


def test_a_long_mesh_name_is_no_obstacle(now: datetime) -> None:
    assert make_root("m" * 100, now).certificate.subject.rfc4514_string() == "CN=" + "m" * 64
