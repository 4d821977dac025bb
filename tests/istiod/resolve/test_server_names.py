"""Server names as Envoy takes them: one named twice would cost a whole listener."""

from __future__ import annotations

from istiod.resolve.outbound_chains import server_names


def test_each_once_and_none_for_all() -> None:
    assert server_names(("a.test", "b.test", "a.test")) == ("a.test", "b.test")
    assert server_names(("a.test", "*")) == ()
