from pathlib import Path

import pytest

from federation.model.errors import InvalidInput
from istiod.settings import Address, UnixAddress, parse_http_addresses


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.1:80", (Address("127.0.0.1", 80),)),
        ("[::1]:80", (Address("::1", 80),)),
        ("unix:/run/x.sock", (UnixAddress(Path("/run/x.sock")),)),
        ("127.0.0.1:80,unix:/run/x.sock", (Address("127.0.0.1", 80), UnixAddress(Path("/run/x.sock")))),
        ("off", ()),
        ("", ()),
    ],
)
def test_http_addresses(text: str, addresses: object) -> None:
    assert parse_http_addresses(text, "--http-address") == addresses


@pytest.mark.parametrize("text", ["unix:", "unix:run/x.sock", "unix:/" + "x" * 107, "localhost", "localhost:70000"])
def test_wrong_http_address_names_the_flag(text: str) -> None:
    with pytest.raises(InvalidInput, match="--http-address"):
        parse_http_addresses(text, "--http-address")
