"""A cluster's CA, and the key that its workload tokens are signed with."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from federation.pki.issue import Authority, make_root, pem_of, sign_intermediate
from federation.pki.keys import generate_key
from federation.pki.token import TokenIdentity, issue_token
from istiod.ca.issuer import Issuer

TOKEN_KEY = generate_key()


@pytest.fixture(scope="session")
def now() -> datetime:
    """The present, to the second: certificates have no smaller parts."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="session")
def make_issuer(now: datetime) -> Callable[..., Issuer]:
    """Makes the issuer of a cluster `west`; `ends` after so much time if given."""

    def make(ttl: timedelta = timedelta(hours=24), ends: timedelta | None = None) -> Issuer:
        made = now if ends is None else now + ends - timedelta(days=365)  # the lifetime of an intermediate
        root, key = make_root("m1", made), generate_key()
        pem = sign_intermediate(root, key.public_key(), "west", "west.m1", made)
        authority = Authority(x509.load_pem_x509_certificate(pem), key, pem)
        return Issuer(authority, pem_of(root.certificate), "west.m1", ttl)

    return make


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The public key of workload tokens."""
    path = tmp_path / "tokens.pub"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(TOKEN_KEY.public_key().public_bytes(serialization.Encoding.PEM, form))
    return path


@pytest.fixture
def token() -> Callable[..., str]:
    """Makes a token for a service account of cluster west."""

    def make(namespace: str = "shop", account: str = "web", cluster: str = "west", seconds: float = 60) -> str:
        return issue_token(TOKEN_KEY, TokenIdentity(namespace, account, cluster, time.time() + seconds))

    return make
