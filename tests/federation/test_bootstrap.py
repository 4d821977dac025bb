"""What the bootstrap of a proxy keeps of its statistics."""

from __future__ import annotations

from pathlib import Path

from federation.bootstrap import ProxyBootstrap, render_bootstrap


def test_istios_metrics_are_among_the_statistics_that_are_kept() -> None:
    proxy = ProxyBootstrap(
        type="sidecar", name="web-1", namespace="shop", service_account="web", address="10.0.0.1", cluster="east",
        network="n", mesh="m", xds_host="127.0.0.1", xds_port=15012, server_name="istiod", root_file=Path("root.pem"),
        token_file=Path("token"), directory=Path(), admin_socket=Path("admin.sock"),
    )  # fmt: skip
    kept = render_bootstrap(proxy)["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    assert any("istio.requests_total".startswith(pattern.get("prefix", "?")) for pattern in kept)
