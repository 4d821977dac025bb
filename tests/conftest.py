"""What any test may need of the machine. A part that is absent skips a test with a word on how to get it; in CI it
fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from federation.lab import netns
from federation.model.errors import InvalidInput
from federation.pki.issue import Authority, make_root, pem_of, sign_server
from federation.pki.keys import encode_key, generate_key


@pytest.fixture(scope="session")
def machine() -> None:
    """A machine on which namespaces can be made; skips elsewhere, fails in CI."""
    try:
        netns.check_machine()
    except InvalidInput as wrong:
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent(str(wrong))


@dataclass(frozen=True)
class Credential:
    """A server's or client's certificate with its key, and the root that it leads to; PEM."""

    chain: str
    key: str
    roots: str
    issuer: Authority

    def secret(self, name: str, namespace: str, *entries: str, kind: str = "kubernetes.io/tls") -> str:
        """A Secret with these entries of the usual names, all three of `kubectl create secret tls` if none is named."""
        values = {"crt": self.chain, "cert": self.chain, "key": self.key, "cacert": self.roots}
        values |= {"tls.crt": self.chain, "tls.key": self.key, "ca.crt": self.roots}
        data = {entry: values[entry] for entry in entries or ("tls.crt", "tls.key", "ca.crt")}
        meta = {"name": name, "namespace": namespace}
        return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "stringData": data})


@pytest.fixture(scope="session")
def credential() -> Callable[..., Credential]:
    """Makes certificates for names, of a new CA if none is given; `age` shifts all their times into the past."""

    def make(*names: str, issuer: Authority | None = None, age: timedelta = timedelta()) -> Credential:
        then = datetime.now(UTC).replace(microsecond=0) - age
        key, root = generate_key(), issuer or make_root(names[0], then)
        chain = sign_server(root, key.public_key(), names, timedelta(days=1), then)
        return Credential(chain.decode(), encode_key(key).decode(), pem_of(root.certificate).decode(), root)

    return make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever makes namespaces runs in one worker, one after the other: there requests are counted and delays
    measured.
    """
    for item in items:
        if "machine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("labs"))
