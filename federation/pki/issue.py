"""Issues certificates: the mesh's root, a cluster's intermediate, and leaves of workloads, servers and store users.

Pure: `now` is an argument. Rules: RFC 5280; SPIFFE X.509-SVID (URI SAN, critical where the subject is empty). A
cluster's intermediate is bound by a name constraint to the cluster's own trust domain and may not make other CAs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.pki.keys import PrivateKey, generate_key

BACKDATE = timedelta(minutes=2)
ROOT_LIFETIME = timedelta(days=3650)
INTERMEDIATE_LIFETIME = timedelta(days=365)
MAX_COMMON_NAME = 64  # RFC 5280, ub-common-name
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True)
class Authority:
    """A certificate that may sign, its key, and the certificates between it and the root (its own first, no root)."""

    certificate: x509.Certificate
    key: PrivateKey
    chain_pem: bytes

    @property
    def not_after(self) -> datetime:
        """When it ends; nothing it signs lasts longer."""
        return self.certificate.not_valid_after_utc


def pem_of(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def make_root(name: str, now: datetime) -> Authority:
    """A new self-signed root."""
    key = generate_key()
    subject = _name(f"{name} root")
    builder = _builder(subject, subject, key.public_key(), now, now + ROOT_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = _ca_usage(builder).sign(key, hashes.SHA256())
    return Authority(certificate, key, b"")


def sign_intermediate(root: Authority, public_key: PublicKey, cluster: str, trust_domain: str, now: datetime) -> bytes:
    """A cluster's CA certificate, PEM: no further CA below it, URI names of `trust_domain` only."""
    end = min(now + INTERMEDIATE_LIFETIME, root.not_after)
    builder = _builder(_name(f"{cluster} intermediate"), root.certificate.subject, public_key, now, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    permitted = [x509.UniformResourceIdentifier(trust_domain)]
    builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    return pem_of(_ca_usage(builder, root).sign(root.key, hashes.SHA256()))


def sign_workload(issuer: Authority, public_key: PublicKey, identity: str, ttl: timedelta, now: datetime) -> bytes:
    """A workload's certificate, PEM: empty subject, the identity as critical URI SAN, client and server use."""
    builder = _leaf(issuer, x509.Name([]), public_key, ttl, now)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
    builder = builder.add_extension(names, critical=True)
    return pem_of(builder.sign(issuer.key, hashes.SHA256()))


def sign_server(
    issuer: Authority, public_key: PublicKey, names: tuple[str, ...], ttl: timedelta, now: datetime
) -> bytes:
    """A server's certificate, PEM: DNS names, IP addresses and URIs; the first is a DNS name or address."""
    builder = _leaf(issuer, _name(names[0]), public_key, ttl, now)
    builder = builder.add_extension(x509.SubjectAlternativeName([_server_name(name) for name in names]), critical=False)
    return pem_of(builder.sign(issuer.key, hashes.SHA256()))


def sign_user(issuer: Authority, public_key: PublicKey, user: str, ttl: timedelta, now: datetime) -> bytes:
    """A store user's certificate, PEM: the user as common name. Raises ValueError if it is too long for one: cut short
    it would be another user's.
    """
    if len(user) > MAX_COMMON_NAME:
        raise ValueError(f"the user {user!r} is longer than the {MAX_COMMON_NAME} characters of a common name")
    builder = _leaf(issuer, _name(user), public_key, ttl, now)
    return pem_of(builder.sign(issuer.key, hashes.SHA256()))


def _server_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _leaf(
    issuer: Authority, subject: x509.Name, key: PublicKey, ttl: timedelta, now: datetime
) -> x509.CertificateBuilder:
    end = min(now + ttl, issuer.not_after)
    if end <= now:
        raise ValueError(f"the issuing certificate ended at {issuer.not_after:%Y-%m-%d %H:%M:%S}Z: renew it")
    builder = _builder(subject, issuer.certificate.subject, key, now, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
    builder = builder.add_extension(usage, critical=True)
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return _with_issuer(builder.add_extension(purposes, critical=False), issuer)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - BACKDATE).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _ca_usage(builder: x509.CertificateBuilder, issuer: Authority | None = None) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = builder.add_extension(usage, critical=True)
    return _with_issuer(builder, issuer) if issuer is not None else builder


def _with_issuer(builder: x509.CertificateBuilder, issuer: Authority) -> x509.CertificateBuilder:
    return builder.add_extension(_key_identifier(issuer.certificate), critical=False)


def _key_identifier(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """How leaves name their issuer's key: as its certificate does; where that does not (an older CA), by RFC 5280's
    hash.
    """
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(said)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:MAX_COMMON_NAME])])
