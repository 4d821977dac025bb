from __future__ import annotations

import json
import stat

from eastwest_gateway.bootstrap import proxy_bootstrap, write_bootstrap
from eastwest_gateway.settings import Settings
from federation.bootstrap import TOKEN_SDS_FILE


def test_the_control_plane_is_told_of_a_router_for_its_own_network(settings: Settings) -> None:
    proxy = proxy_bootstrap(settings, "10.2.0.4")
    assert proxy.type == "router"
    assert proxy.requested_networks == ("net-west",)
    assert (proxy.cluster, proxy.network, proxy.address) == ("west", "net-west", "10.2.0.4")
    assert (proxy.namespace, proxy.service_account) == ("istio-system", "eastwest-gateway")


def test_the_address_for_others_is_not_taken_for_its_own(settings: Settings) -> None:
    write_bootstrap(settings)
    node = json.loads((settings.state / "bootstrap.json").read_text())["node"]
    assert node["metadata"]["INSTANCE_IPS"] == "127.0.0.1"
    assert "203.0.113.7" not in json.dumps(node)


def test_files_are_for_the_gateway_alone_and_the_command_names_them(settings: Settings) -> None:
    argv = write_bootstrap(settings)
    files = [settings.state / "bootstrap.json", settings.state / TOKEN_SDS_FILE]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert str(files[0]) in argv
    assert argv[argv.index("--drain-time-s") + 1] == "5"


def test_a_socket_that_a_dead_envoy_left_is_no_obstacle(settings: Settings) -> None:
    settings.state.mkdir()
    settings.admin_socket.touch()
    write_bootstrap(settings)
    assert not settings.admin_socket.exists()


def test_the_token_is_only_named(settings: Settings) -> None:
    settings.token_file.write_text("secret-token")
    write_bootstrap(settings)
    assert all("secret-token" not in file.read_text() for file in settings.state.iterdir())
