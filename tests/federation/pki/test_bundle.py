from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from federation.pki.bundle import CERT, CHAIN, KEY, ROOT, fingerprint, load_authority, save_authority
from federation.pki.chain import read_certificates, verify_chain
from federation.pki.issue import Authority, pem_of, sign_workload
from federation.pki.keys import encode_key, generate_key

IDENTITY = "spiffe://west.m1/ns/shop/sa/web"


def write(directory: Path, authority: Authority, root: Authority) -> None:
    pem = pem_of(authority.certificate)
    save_authority(directory, pem, encode_key(authority.key), pem, pem_of(root.certificate))


def test_a_ca_reads_back(tmp_path: Path, west: Authority, root: Authority) -> None:
    write(tmp_path / "ca", west, root)
    loaded, roots = load_authority(tmp_path / "ca")
    assert loaded.certificate == west.certificate
    assert encode_key(loaded.key) == encode_key(west.key)
    assert loaded.chain_pem == pem_of(west.certificate)
    assert roots == pem_of(root.certificate)


def test_only_the_owner_reads_the_key(tmp_path: Path, west: Authority, root: Authority) -> None:
    write(tmp_path / "ca", west, root)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "ca").iterdir()}
    assert modes == {KEY: 0o600, CERT: 0o644, CHAIN: 0o644, ROOT: 0o644}
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700


def test_a_key_that_others_could_read_is_closed(tmp_path: Path, west: Authority, root: Authority) -> None:
    (tmp_path / KEY).write_bytes(b"")
    (tmp_path / KEY).chmod(0o666)
    write(tmp_path, west, root)
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600


def test_a_root_that_signs_itself_has_no_chain(tmp_path: Path, root: Authority) -> None:
    write(tmp_path, root, root)
    loaded, roots = load_authority(tmp_path)
    assert loaded.chain_pem == b""
    assert roots == pem_of(root.certificate)


def test_without_a_chain_the_ca_itself_is_it(tmp_path: Path, west: Authority, root: Authority) -> None:
    write(tmp_path, west, root)
    (tmp_path / CHAIN).unlink()
    assert load_authority(tmp_path)[0].chain_pem == pem_of(west.certificate)


@pytest.fixture
def istio(tmp_path: Path) -> Path:
    """The `cacerts` of an existing Istio: RSA keys in OpenSSL's own form, text around the certificates, root in the
    chain.
    """
    now = datetime.now(UTC)

    def made(name: str, key: rsa.RSAPrivateKey, issuer: str, signer: rsa.RSAPrivateKey, length: int | None) -> bytes:
        subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, issuer))
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        builder = builder.not_valid_after(now + timedelta(days=700))
        builder = builder.add_extension(x509.BasicConstraints(True, length), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return f"{name} certificate:\n  Data:\n".encode() + pem_of(builder.sign(signer, hashes.SHA256()))

    root_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    root = made("Root CA", root_key, "Root CA", root_key, None)
    intermediate = made("Intermediate CA", key, "Root CA", root_key, 0)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    files = {
        CERT: intermediate,
        KEY: key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()),
        CHAIN: intermediate + root,
        ROOT: root,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_an_existing_istios_files_work(istio: Path) -> None:
    authority, roots = load_authority(istio)
    now = datetime.now(UTC)
    leaf = sign_workload(authority, generate_key().public_key(), IDENTITY, timedelta(hours=1), now)
    verify_chain(read_certificates(leaf + authority.chain_pem), read_certificates(roots), now)


def test_what_is_missing_is_named(tmp_path: Path, west: Authority, root: Authority) -> None:
    for name in (CERT, KEY, ROOT):
        write(tmp_path, west, root)
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{name}: No such file"):
            load_authority(tmp_path)


@pytest.mark.parametrize("name", [CERT, KEY, ROOT, CHAIN])
@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"garbage", lambda b: b[: len(b) // 2]])
def test_what_is_damaged_is_named(
    tmp_path: Path, west: Authority, root: Authority, name: str, damage: Callable[[bytes], bytes]
) -> None:
    write(tmp_path, west, root)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(ValueError, match=name):
        load_authority(tmp_path)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, west: Authority, root: Authority) -> None:
    write(tmp_path, west, root)
    (tmp_path / KEY).write_bytes(encode_key(generate_key()))
    with pytest.raises(ValueError, match=f"{KEY} is not the key of .*{CERT}"):
        load_authority(tmp_path)


def test_a_fingerprint_is_of_the_certificates_alone(west: Authority, root: Authority) -> None:
    one, other = pem_of(west.certificate), pem_of(root.certificate)
    assert fingerprint(one + other) == fingerprint(b"# text\n" + other + b"\n\n" + one)
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) != fingerprint(one + other)
