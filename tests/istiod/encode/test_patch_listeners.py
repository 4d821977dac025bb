"""EnvoyFilter patches of listeners: each kind of object with each operation, and what is matched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf import json_format

from istiod.api.envoyfilter import ApplyTo, FilterClass, Operation
from istiod.encode.patch import message_type
from istiod.encode.patch_listeners import patch_listener
from istiod.resolve.specs.patch import ListenerTarget, PatchRef, PatchSpec, RouteTarget

TYPE = "type.googleapis.com/"
HCM = "envoy.filters.network.http_connection_manager"
MANAGER = f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{TYPE}envoy.extensions.filters.http.router.v3.Router"},
}
LUA_TYPE = f"{TYPE}envoy.extensions.filters.http.lua.v3.Lua"
ADDED = {"name": "added", "typed_config": {"@type": f"{TYPE}envoy.extensions.filters.http.cors.v3.Cors"}}
ADDED_ELSEWHERE = {
    ApplyTo.NETWORK_FILTER: f"{TYPE}envoy.extensions.filters.network.echo.v3.Echo",
    ApplyTo.LISTENER_FILTER: f"{TYPE}envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
}
for url in (
    LUA_TYPE,
    f"{TYPE}envoy.extensions.filters.http.router.v3.Router",
    f"{TYPE}envoy.extensions.filters.http.cors.v3.Cors",
):
    assert message_type(url)  # known from now on


def http(name: str, kind: str = "cors") -> dict[str, Any]:
    return {
        "name": name,
        "typed_config": {"@type": f"{TYPE}envoy.extensions.filters.http.{kind}.v3.{kind.capitalize()}"},
    }


def chain(name: str, port: int = 0, filters: tuple[str, ...] = ("first",), **match: Any) -> dict[str, Any]:
    manager = {
        "@type": MANAGER,
        "stat_prefix": name,
        "route_config": {"name": "inbound|8080||", "virtual_hosts": [{"name": "all", "domains": ["*"]}]},
        "http_filters": [http(f"{name}-cors"), ROUTER],
    }
    return {
        "name": name,
        "filter_chain_match": {**({"destination_port": port} if port else {}), **match},
        "filters": [*({"name": item} for item in filters), {"name": HCM, "typed_config": manager}],
    }


def listener(name: str = "virtualInbound") -> Listener:
    said = {
        "name": name,
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
        "listener_filters": [{"name": "one"}, {"name": "two"}],
        "filter_chains": [
            chain("a", 8080, transport_protocol="tls", application_protocols=["istio", "h2"], server_names=["a.test"]),
            chain("b", 9090),
        ],
        "default_filter_chain": chain("rest"),
    }
    return json_format.ParseDict(said, Listener())


def patch(
    apply_to: ApplyTo,
    operation: Operation,
    value: Any = None,
    target: ListenerTarget | RouteTarget | None = None,
    filter_class: FilterClass = FilterClass.UNSPECIFIED,
) -> PatchSpec:
    if value is ADDED and apply_to in ADDED_ELSEWHERE:
        value = {**ADDED, "typed_config": {"@type": ADDED_ELSEWHERE[apply_to]}}
    text = json.dumps(value) if value is not None else ""
    return PatchSpec(
        PatchRef("EnvoyFilter x/y", 0), apply_to, operation, text, target or ListenerTarget(), filter_class
    )


def manager(made: Listener, index: int = 0) -> HttpConnectionManager:
    result = HttpConnectionManager()
    found = [item for item in made.filter_chains[index].filters if item.name == HCM]
    assert found[0].typed_config.Unpack(result)
    return result


def network(made: Listener, index: int = 0) -> list[str]:
    return [item.name for item in made.filter_chains[index].filters]


def requests(made: Listener, index: int = 0) -> list[str]:
    return [item.name for item in manager(made, index).http_filters]


def test_a_listener_is_merged() -> None:
    made = listener()
    value = {"per_connection_buffer_limit_bytes": 1024, "listener_filters": [{**ADDED, "name": "three"}]}
    assert patch_listener(made, [patch(ApplyTo.LISTENER, Operation.MERGE, value)])
    assert made.per_connection_buffer_limit_bytes.value == 1024
    assert [item.name for item in made.listener_filters] == ["one", "two", "three"]


def test_lists_are_written_over_where_that_is_said() -> None:
    made = listener()
    value = {"listener_filters": [{**ADDED, "name": "three"}]}
    assert patch_listener(made, [patch(ApplyTo.LISTENER, Operation.MERGE_AND_REPLACE_LIST, value)])
    assert [item.name for item in made.listener_filters] == ["three"]


@pytest.mark.parametrize(
    ("operation", "named", "expected"),
    [
        (Operation.ADD, "", ["one", "two", "added"]),
        (Operation.INSERT_FIRST, "", ["added", "one", "two"]),
        (Operation.INSERT_FIRST, "two", ["added", "one", "two"]),
        (Operation.INSERT_BEFORE, "two", ["one", "added", "two"]),
        (Operation.INSERT_BEFORE, "", ["added", "one", "two"]),
        (Operation.INSERT_AFTER, "one", ["one", "added", "two"]),
        (Operation.INSERT_AFTER, "", ["one", "two", "added"]),
        (Operation.REPLACE, "one", ["added", "two"]),
        (Operation.MERGE, "one", ["added", "two"]),
        (Operation.REMOVE, "one", ["two"]),
    ],
)
def test_listener_filters(operation: Operation, named: str, expected: list[str]) -> None:
    made = listener()
    value = None if operation is Operation.REMOVE else ADDED
    done = patch_listener(
        made, [patch(ApplyTo.LISTENER_FILTER, operation, value, ListenerTarget(listener_filter=named))]
    )
    assert done == {PatchRef("EnvoyFilter x/y", 0)}
    assert [item.name for item in made.listener_filters] == expected


@pytest.mark.parametrize("operation", [Operation.REMOVE, Operation.REPLACE])
@pytest.mark.parametrize("apply_to", [ApplyTo.LISTENER_FILTER, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER])
def test_not_every_filter_is_meant(apply_to: ApplyTo, operation: Operation) -> None:
    made, before = listener(), listener()
    value = None if operation is Operation.REMOVE else ADDED
    assert patch_listener(made, [patch(apply_to, operation, value)]) == frozenset()
    assert made == before


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Operation.INSERT_BEFORE, 0),
        (Operation.INSERT_AFTER, 0),
        (Operation.REPLACE, 0),
        (Operation.REMOVE, 0),
        (Operation.MERGE, 0),
        (Operation.ADD, 1),
        (Operation.INSERT_FIRST, 1),
    ],
)
@pytest.mark.parametrize(
    ("apply_to", "target"),
    [
        (ApplyTo.LISTENER_FILTER, ListenerTarget(listener_filter="nobody")),
        (ApplyTo.NETWORK_FILTER, ListenerTarget(filter="nobody")),
        (ApplyTo.HTTP_FILTER, ListenerTarget(filter=HCM, sub_filter="nobody")),
    ],
)
def test_what_is_not_there_is_not_patched(
    apply_to: ApplyTo, target: ListenerTarget, operation: Operation, expected: int
) -> None:
    made = listener()
    value = None if operation is Operation.REMOVE else ADDED
    assert len(patch_listener(made, [patch(apply_to, operation, value, target)])) == expected


def test_chains_are_merged_added_and_removed() -> None:
    made = listener()
    value = {"transport_socket_connect_timeout": "3s"}
    assert patch_listener(made, [patch(ApplyTo.FILTER_CHAIN, Operation.MERGE, value, ListenerTarget(chain="b"))])
    assert [item.transport_socket_connect_timeout.seconds for item in made.filter_chains] == [0, 3]
    assert patch_listener(made, [patch(ApplyTo.FILTER_CHAIN, Operation.ADD, chain("c", filters=()))])
    assert [item.name for item in made.filter_chains] == ["a", "b", "c"]
    assert patch_listener(made, [patch(ApplyTo.FILTER_CHAIN, Operation.REMOVE, None, ListenerTarget(chain="a"))])
    assert [item.name for item in made.filter_chains] == ["b", "c"]
    assert patch_listener(made, [patch(ApplyTo.FILTER_CHAIN, Operation.REMOVE, None, ListenerTarget(chain="rest"))])
    assert not made.HasField("default_filter_chain")


def test_what_ends_a_chain_stays_while_others_are_there() -> None:
    made = listener()
    assert not patch_listener(made, [patch(ApplyTo.NETWORK_FILTER, Operation.REMOVE, None, ListenerTarget(filter=HCM))])
    target = ListenerTarget(filter=HCM, sub_filter=ROUTER["name"])
    assert not patch_listener(made, [patch(ApplyTo.HTTP_FILTER, Operation.REMOVE, None, target)])
    assert network(made) == ["first", HCM]
    assert requests(made) == ["a-cors", ROUTER["name"]]


def test_the_last_chains_stay() -> None:
    made = listener()
    assert patch_listener(made, [patch(ApplyTo.FILTER_CHAIN, Operation.REMOVE)])
    assert [item.name for item in made.filter_chains] == ["a", "b"]
    assert made.default_filter_chain.name == "rest"


def test_a_chain_without_filters_goes() -> None:
    made = listener()
    removals = [
        patch(ApplyTo.NETWORK_FILTER, Operation.REMOVE, None, ListenerTarget(chain="a", filter=name))
        for name in ("first", HCM)
    ]
    assert patch_listener(made, removals)
    assert [item.name for item in made.filter_chains] == ["b"]


@pytest.mark.parametrize(
    ("operation", "named", "expected"),
    [
        (Operation.ADD, "", ["first", "added", HCM]),
        (Operation.INSERT_FIRST, "", ["added", "first", HCM]),
        (Operation.INSERT_BEFORE, HCM, ["first", "added", HCM]),
        (Operation.INSERT_BEFORE, "", ["added", "first", HCM]),
        (Operation.INSERT_AFTER, "first", ["first", "added", HCM]),
        (Operation.INSERT_AFTER, HCM, ["first", "added", HCM]),  # nothing can follow a terminal filter
        (Operation.INSERT_AFTER, "", ["first", "added", HCM]),
        (Operation.REPLACE, "first", ["added", HCM]),
        (Operation.REMOVE, "first", [HCM]),
    ],
)
def test_network_filters(operation: Operation, named: str, expected: list[str]) -> None:
    made = listener()
    value = None if operation is Operation.REMOVE else ADDED
    target = ListenerTarget(filter=named, chain_ports=(8080,))
    assert patch_listener(made, [patch(ApplyTo.NETWORK_FILTER, operation, value, target)])
    assert network(made) == expected
    assert network(made, 1) == ["first", HCM]


def test_a_connection_manager_is_merged_inside() -> None:
    made = listener()
    value = {
        "name": HCM,
        "typed_config": {
            "@type": MANAGER,
            "server_name": "mine",
            "http_filters": [http("more")],
            "xff_num_trusted_hops": 2,
        },
    }
    assert patch_listener(made, [patch(ApplyTo.NETWORK_FILTER, Operation.MERGE, value, ListenerTarget(filter=HCM))])
    assert [manager(made, index).server_name for index in (0, 1)] == ["mine", "mine"]
    assert manager(made).stat_prefix == "a"
    assert requests(made) == ["a-cors", "envoy.filters.http.router", "more"]


@pytest.mark.parametrize(
    ("operation", "named", "expected"),
    [
        (Operation.ADD, "", ["a-cors", "added", ROUTER["name"]]),
        (Operation.INSERT_FIRST, "", ["added", "a-cors", ROUTER["name"]]),
        (Operation.INSERT_FIRST, ROUTER["name"], ["added", "a-cors", ROUTER["name"]]),
        (Operation.INSERT_BEFORE, ROUTER["name"], ["a-cors", "added", ROUTER["name"]]),
        (Operation.INSERT_BEFORE, "", ["added", "a-cors", ROUTER["name"]]),
        (Operation.INSERT_AFTER, "a-cors", ["a-cors", "added", ROUTER["name"]]),
        (Operation.INSERT_AFTER, ROUTER["name"], ["a-cors", "added", ROUTER["name"]]),
        (Operation.REPLACE, "a-cors", ["added", ROUTER["name"]]),
        (Operation.REMOVE, "a-cors", [ROUTER["name"]]),
        (Operation.MERGE, "a-cors", ["added", ROUTER["name"]]),
    ],
)
def test_http_filters(operation: Operation, named: str, expected: list[str]) -> None:
    made = listener()
    value = None if operation is Operation.REMOVE else ADDED
    target = ListenerTarget(filter=HCM, sub_filter=named, chain="a")
    assert patch_listener(made, [patch(ApplyTo.HTTP_FILTER, operation, value, target)])
    assert requests(made) == expected
    assert requests(made, 1) == ["b-cors", ROUTER["name"]]


def test_an_http_filter_is_merged_inside() -> None:
    made = listener()
    target = ListenerTarget(filter=HCM, sub_filter="lua")
    first = {"name": "lua", "typed_config": {"@type": LUA_TYPE, "stat_prefix": "s", "inline_code": "old"}}
    second = {"name": "lua", "typed_config": {"@type": LUA_TYPE, "inline_code": "new"}}
    done = patch_listener(
        made,
        [
            patch(ApplyTo.HTTP_FILTER, Operation.MERGE, second, target),
            patch(ApplyTo.HTTP_FILTER, Operation.INSERT_FIRST, first),
        ],
    )
    assert done
    lua = json_format.MessageToDict(manager(made).http_filters[0].typed_config)
    assert lua == {"@type": LUA_TYPE, "statPrefix": "s", "inlineCode": "new"}


@pytest.mark.parametrize(
    ("filter_class", "expected"),
    [
        (FilterClass.AUTHN, ["jwt", "added", "rbac", "cors", "router"]),
        (FilterClass.AUTHZ, ["jwt", "rbac", "added", "cors", "router"]),
        (FilterClass.STATS, ["jwt", "rbac", "cors", "added", "router"]),
    ],
)
def test_a_class_of_filters_has_its_place(filter_class: FilterClass, expected: list[str]) -> None:
    made = Listener(name="0.0.0.0_80")
    names = ("jwt_authn", "rbac", "cors", "router")
    said = HttpConnectionManager()
    said.http_filters.extend(HttpConnectionManager().http_filters)
    for name in names:
        said.http_filters.add(name=f"envoy.filters.http.{name}")
    made.filter_chains.add().filters.add(name=HCM).typed_config.Pack(said)
    assert patch_listener(made, [patch(ApplyTo.HTTP_FILTER, Operation.ADD, ADDED, None, filter_class)])
    assert [name.removeprefix("envoy.filters.http.").removesuffix("_authn") for name in requests(made)] == expected


@pytest.mark.parametrize("operation", [Operation.MERGE, Operation.MERGE_AND_REPLACE_LIST])
def test_a_merge_without_a_name_means_the_filters_of_its_type(operation: Operation) -> None:
    made = listener()
    before = made.filter_chains[0].filters[0].SerializeToString()
    value = {"name": HCM, "typed_config": {"@type": MANAGER, "upgrade_configs": [{"upgrade_type": "websocket"}]}}
    assert patch_listener(made, [patch(ApplyTo.NETWORK_FILTER, operation, value)])
    assert made.filter_chains[0].filters[0].SerializeToString() == before
    assert [upgrade.upgrade_type for upgrade in manager(made).upgrade_configs] == ["websocket"]
    assert manager(made).stat_prefix == "a"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ListenerTarget(), [True, True]),
        (ListenerTarget(chain_ports=(8080,)), [True, False]),
        (ListenerTarget(chain_ports=(80, 9090)), [False, True]),
        (ListenerTarget(destination_port=9090), [False, True]),
        (ListenerTarget(chain="a"), [True, False]),
        (ListenerTarget(sni="a.test"), [True, False]),
        (ListenerTarget(sni="b.test"), [False, False]),
        (ListenerTarget(transport_protocol="tls"), [True, False]),
        (ListenerTarget(application_protocols=("h2",)), [True, False]),
        (ListenerTarget(application_protocols=("h2", "istio")), [True, False]),
        (ListenerTarget(application_protocols=("h2", "h3")), [False, False]),
    ],
)
def test_chains_are_told_apart(target: ListenerTarget, expected: list[bool]) -> None:
    made = listener()
    done = patch_listener(made, [patch(ApplyTo.NETWORK_FILTER, Operation.INSERT_FIRST, ADDED, target)])
    assert [network(made, index)[0] == "added" for index in (0, 1)] == expected
    assert bool(done) is any(expected)


def test_only_listeners_that_catch_everything_know_ports_by_chain() -> None:
    made = listener("0.0.0.0_15006")
    target = ListenerTarget(chain_ports=(15006,))
    assert patch_listener(made, [patch(ApplyTo.NETWORK_FILTER, Operation.INSERT_FIRST, ADDED, target)])
    assert network(made)[0] == "added"


def test_routes_inside_a_listener() -> None:
    made = listener()
    value = {"name": "all", "include_request_attempt_count": True}
    meant = patch(ApplyTo.VIRTUAL_HOST, Operation.MERGE, value, RouteTarget(port=8080, host="all"))
    assert patch_listener(made, [meant])
    assert manager(made).route_config.virtual_hosts[0].include_request_attempt_count
    other = patch(ApplyTo.VIRTUAL_HOST, Operation.MERGE, value, RouteTarget(port=9090))
    assert patch_listener(listener(), [other]) == frozenset()
