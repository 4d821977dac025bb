"""Secrets: which entries count, what is wrong with them, and that no value of one ever shows."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import ocsp

from federation.pki.issue import pem_of
from istiod.api.meta import Object
from istiod.api.parse import Parsed, parse_documents

HIDDEN = "hunter2-which-is-not-base64"


def parse(texts: dict[str, str] | None = None, kind: str = "kubernetes.io/tls", **fields: Any) -> Parsed:
    """A Secret with this `stringData`, or with other fields."""
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": "edge"}, "type": kind}
    return parse_documents(json.dumps({**document, "stringData": texts, **fields}), "f.yaml")


def said(parsed: Parsed) -> list[tuple[str, str]]:
    return [(finding.path, finding.message) for finding in parsed.findings]


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(("certificate", "key", "roots"), [("tls.crt", "tls.key", "ca.crt"), ("cert", "key", "cacert")])
def test_both_families_of_names(credential: Any, certificate: str, key: str, roots: str) -> None:
    made = credential("web.test")
    data = {certificate: encoded(made.chain), key: encoded(made.key), roots: encoded(made.roots)}
    parsed = parse(None, "Opaque", data=data)
    assert not parsed.findings
    (item,) = parsed.objects
    assert isinstance(item, Object)
    assert item.spec.pair == (certificate, key)
    assert item.spec.entry(key) == made.key.encode()
    assert item.spec.roots == made.roots.encode()


def test_string_data_counts_before_data(credential: Any) -> None:
    one, two = credential("one.test"), credential("two.test")
    data = {"tls.crt": encoded(one.chain), "tls.key": encoded(one.key)}
    (item,) = parse({"tls.crt": two.chain, "tls.key": two.key}, data=data).objects
    assert isinstance(item, Object)
    assert item.spec.entry("tls.crt") == two.chain.encode()


def test_base64_may_have_line_breaks(credential: Any) -> None:
    made = credential("web.test")
    broken = "\n".join(encoded(made.chain)[i : i + 60] for i in range(0, len(encoded(made.chain)), 60))
    assert not parse(None, data={"tls.crt": broken, "tls.key": encoded(made.key)}).findings


def test_a_pair_that_does_not_match(credential: Any) -> None:
    parsed = parse({"tls.crt": credential("one.test").chain, "tls.key": credential("two.test").key})
    assert not parsed.objects
    assert said(parsed) == [("stringData.tls.crt", "begins with a certificate that is not for the key in tls.key")]


def test_all_errors_at_once(credential: Any) -> None:
    parsed = parse({"tls.crt": "x", "tls.key": "y", "ca.crt": "z", "ca.crl": "q"})
    assert said(parsed) == [
        ("stringData.tls.crt", "holds no certificates that can be read"),
        ("stringData.tls.key", "holds no private key that can be used"),
        ("stringData.ca.crt", "holds no certificates that can be read"),
        ("stringData.ca.crl", "holds no revocation list that can be read"),
    ]
    assert all(finding.fix for finding in parsed.findings)


def test_a_tls_secret_needs_both() -> None:
    assert said(parse({"other": "x"})) == [("data.tls.crt", "is missing"), ("data.tls.key", "is missing")]


def pem(key: Any, password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (pem(rsa.generate_private_key(65537, 1024)), "holds a key that Envoy refuses"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "holds a key that Envoy refuses"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "holds no private key that can be used"),
        (pem(ec.generate_private_key(ec.SECP256R1()), b"password"), "holds no private key that can be used"),
    ],
    ids=["small RSA", "odd curve", "Ed25519", "encrypted"],
)
def test_keys_that_envoy_would_refuse(credential: Any, key: str, message: str) -> None:
    assert ("stringData.tls.key", message) in said(parse({"tls.crt": credential("web.test").chain, "tls.key": key}))


def test_a_staple_must_be_about_the_certificate(credential: Any) -> None:
    made, other = credential("web.test"), credential("other.test")

    def staple(of: Any) -> str:
        leaf = x509.load_pem_x509_certificate(of.chain.encode())
        issuer = made.issuer.certificate
        now = leaf.not_valid_before_utc
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                leaf, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now, now + timedelta(days=1), None, None
            )
            .responder_id(ocsp.OCSPResponderEncoding.NAME, issuer)
            .sign(made.issuer.key, hashes.SHA256())
        )
        return b64encode(response.public_bytes(serialization.Encoding.DER)).decode()

    text = {"tls.crt": made.chain, "tls.key": made.key}
    assert not parse(text, data={"tls.ocsp-staple": staple(made)}).findings
    wrong = ("data.tls.ocsp-staple", "is not about the certificate in tls.crt")
    assert said(parse(text, data={"tls.ocsp-staple": staple(other)})) == [wrong]
    assert said(parse(text, data={"tls.ocsp-staple": "eHg="}))[0][0] == "data.tls.ocsp-staple"


def test_revocation_lists(credential: Any) -> None:
    made = credential("web.test")
    issuer = made.issuer.certificate
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(issuer.not_valid_before_utc)
        .next_update(issuer.not_valid_after_utc)
        .sign(made.issuer.key, hashes.SHA256())
    )
    text = crl.public_bytes(serialization.Encoding.PEM).decode()
    (item,) = parse({"cacert": pem_of(issuer).decode(), "crl": text}, "Opaque").objects
    assert isinstance(item, Object)
    assert item.spec.revoked == text.encode()


def test_other_secrets_are_not_looked_into() -> None:
    parsed = parse({"key": "an API key", "ca.crt": "of a service account"}, "Opaque")
    assert not parsed.findings
    assert parsed.objects


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"tls.key": HIDDEN}},
        {"data": {"tls.key": {"nested": HIDDEN}}},
        {"data": [HIDDEN]},
        {"data": HIDDEN},
        {"stringData": {"tls.crt": [HIDDEN]}},
        {"stringData": {"tls.crt": HIDDEN, "tls.key": HIDDEN}},
        {"type": {"a": HIDDEN}},
    ],
)
def test_no_value_is_ever_shown(fields: dict[str, Any]) -> None:
    parsed = parse(None, **fields)
    assert parsed.findings
    assert HIDDEN not in repr(parsed)


def test_no_value_in_a_tagged_scalar_is_shown() -> None:
    parsed = parse_documents(f"kind: Secret\ndata: {{tls.key: !!int {HIDDEN}}}\n", "f.yaml")
    assert [finding.code for finding in parsed.findings] == ["NotYaml"]
    assert HIDDEN not in repr(parsed)


def test_no_value_in_the_representation_of_a_good_one(credential: Any) -> None:
    made = credential("web.test")
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"stringData": {"tls.key": made.key}})}
    meta = {"name": "web", "namespace": "edge", "annotations": last}
    parsed = parse({"tls.crt": made.chain, "tls.key": made.key}, metadata=meta)
    assert parsed.objects
    shown = repr(parsed) + str(parsed.objects[0])
    assert "PRIVATE" not in shown
    assert "CERTIFICATE" not in shown
