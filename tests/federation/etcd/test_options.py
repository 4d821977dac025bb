"""What options allow, and what they hide."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation.etcd.options import Options, read_tls, target
from federation.model.errors import InvalidInput

ETCD_KEEPALIVE_MIN_TIME = 5.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoints": ()},
        {"endpoints": ("host",)},
        {"endpoints": ("https://host",)},
        {"endpoints": ("host:1",), "cert": b"c"},
        {"endpoints": ("http://host:1",), "ca": b"c"},
    ],
)
def test_wrong_options_are_said_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Options(**wrong)  # type: ignore[arg-type]


def test_secrets_are_not_shown() -> None:
    options = Options(("h:1",), ca=b"c", cert=b"c", key=b"hidden", user="u", password="hidden")
    assert "hidden" not in repr(options)
    assert "hidden" not in repr(read_tls(options))


def test_tls_follows_from_the_scheme_or_the_material(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"pem")
    material = read_tls(Options(("h:1",), ca=tmp_path / "ca.pem"))
    assert material is not None
    assert material.ca == b"pem"
    assert read_tls(Options(("https://h:1",))) is not None
    assert read_tls(Options(("h:1", "http://h:2"))) is None
    assert target("https://h:1/") == "h:1"


def test_default_pings_are_slower_than_etcd_minds() -> None:
    assert Options(("h:1",)).keepalive_time > ETCD_KEEPALIVE_MIN_TIME
