"""A mesh's root and the CAs of two of its clusters, made once: they are values that nobody changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509

from federation.pki.issue import Authority, make_root, sign_intermediate
from federation.pki.keys import generate_key


@pytest.fixture(scope="session")
def now() -> datetime:
    """The time at which everything here is made."""
    return datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def root(now: datetime) -> Authority:
    return make_root("m1", now)


@pytest.fixture(scope="session")
def cluster_ca(root: Authority, now: datetime) -> Callable[[str], Authority]:
    """Makes the CA of a cluster, with the trust domain `<cluster>.m1`."""

    def make(cluster: str) -> Authority:
        key = generate_key()
        pem = sign_intermediate(root, key.public_key(), cluster, f"{cluster}.m1", now)
        return Authority(x509.load_pem_x509_certificate(pem), key, pem)

    return make


@pytest.fixture(scope="session")
def west(cluster_ca: Callable[[str], Authority]) -> Authority:
    return cluster_ca("west")
