"""Envoy's format strings."""

from __future__ import annotations

import pytest

from istiod.api.formats import format_problem


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "100%%",
        "%PROTOCOL%x%%",
        "%REQ(X-A?:PATH):3%",
        '%DYNAMIC_METADATA(["a","b"])%',
        "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)% %START_TIME%",
        "%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)%",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ],
)
def test_right(text: str) -> None:
    assert format_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("100%", "'%' at character 4 begins no command"),
        ("%%%", "'%' at character 3 begins no command"),
        ("%protocol%", "'%' at character 1 begins no command"),
        ("%NOPE%", "'%NOPE%' is no command that Envoy knows"),
        ("%REQ%", "'%REQ%' is no command that Envoy knows"),
        ("%PROTOCOL(x)%", "'%PROTOCOL(x)%' is no command that Envoy knows"),
        ("%PROTOCOL:3%", "'%PROTOCOL:3%' is no command that Envoy knows"),
    ],
)
def test_wrong(text: str, problem: str) -> None:
    assert format_problem(text) == problem
