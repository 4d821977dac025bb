"""Public CAs for proxies that have no agent to read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from istiod.ca.secrets import system_roots


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    system_roots.cache_clear()
    yield
    system_roots.cache_clear()


def test_are_those_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "roots.pem").write_bytes(b"PEM of all public CAs")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    (secret,) = system_roots().values()
    assert secret.name == "file-root:system"
    assert b"PEM of all public CAs" in secret.delta
