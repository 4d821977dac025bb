"""EnvoyFilter patches of route configurations, virtual hosts and routes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf import json_format

from istiod.api.envoyfilter import ApplyTo, Operation, RouteAction
from istiod.encode.patch_routes import patch_configuration
from istiod.encode.routes import encode_routes
from istiod.resolve.specs.patch import PatchRef, PatchSpec, RouteTarget
from istiod.resolve.specs.route import RouteConfigSpec

REF = PatchRef("EnvoyFilter x/y", 0)
ADDED_ROUTE = {"name": "added", "match": {"prefix": "/"}, "route": {"cluster": "c"}}


def routes() -> RouteConfiguration:
    def route(name: str, **action: Any) -> dict[str, Any]:
        return {"name": name, "match": {"prefix": f"/{name}"}, **(action or {"route": {"cluster": "c"}})}

    said = {
        "name": "80",
        "virtual_hosts": [
            {
                "name": "a:80",
                "domains": ["a", "a.test"],
                "routes": [
                    route("one"),
                    route("two", redirect={"host_redirect": "x"}),
                    route("three", direct_response={"status": 200}),
                ],
            },
            {"name": "b:80", "domains": ["b"], "routes": [route("one")]},
        ],
    }
    return json_format.ParseDict(said, RouteConfiguration())


def patch(apply_to: ApplyTo, operation: Operation, value: Any = None, **target: Any) -> PatchSpec:
    return PatchSpec(REF, apply_to, operation, json.dumps(value) if value is not None else "", RouteTarget(**target))


def names(made: RouteConfiguration, host: int = 0) -> list[str]:
    return [route.name for route in made.virtual_hosts[host].routes]


def hosts(made: RouteConfiguration) -> list[str]:
    return [host.name for host in made.virtual_hosts]


def test_a_route_configuration_is_merged() -> None:
    made = routes()
    value = {"request_headers_to_remove": ["x"], "max_direct_response_body_size_bytes": 10}
    assert patch_configuration(made, [patch(ApplyTo.ROUTE_CONFIGURATION, Operation.MERGE, value)]) == {REF}
    assert list(made.request_headers_to_remove) == ["x"]
    assert made.max_direct_response_body_size_bytes.value == 10


def test_it_keeps_the_name_that_listeners_ask_for() -> None:
    renaming = patch(ApplyTo.ROUTE_CONFIGURATION, Operation.MERGE, {"name": "other"})
    resource = encode_routes(RouteConfigSpec("80", (), patches=(renaming,)))
    assert resource.name == "80"
    assert b"other" not in resource.delta
    assert resource.patches == {REF}


@pytest.mark.parametrize(
    ("operation", "target", "expected"),
    [
        (Operation.ADD, {}, ["a:80", "b:80", "added"]),
        (Operation.ADD, {"host": "a:80"}, ["a:80", "b:80", "added"]),
        (Operation.REMOVE, {"host": "a:80"}, ["b:80"]),
        (Operation.REMOVE, {"domain": "b"}, ["a:80"]),
        (Operation.REMOVE, {}, []),
        (Operation.REPLACE, {"host": "a:80"}, ["added", "b:80"]),
        (Operation.MERGE, {"domain": "a.test"}, ["added", "b:80"]),
    ],
)
def test_virtual_hosts(operation: Operation, target: dict[str, str], expected: list[str]) -> None:
    made = routes()
    value = None if operation is Operation.REMOVE else {"name": "added", "domains": ["added"]}
    assert patch_configuration(made, [patch(ApplyTo.VIRTUAL_HOST, operation, value, **target)]) == {REF}
    assert hosts(made) == expected


def test_lists_of_a_merged_virtual_host_grow() -> None:
    made = routes()
    patch_configuration(made, [patch(ApplyTo.VIRTUAL_HOST, Operation.MERGE, {"domains": ["c"]}, host="b:80")])
    assert list(made.virtual_hosts[1].domains) == ["b", "c"]
    assert names(made, 1) == ["one"]


@pytest.mark.parametrize(
    ("operation", "target", "expected"),
    [
        (Operation.ADD, {}, ["one", "two", "three", "added"]),
        (Operation.INSERT_FIRST, {}, ["added", "one", "two", "three"]),
        (Operation.INSERT_FIRST, {"route": "two"}, ["added", "one", "two", "three"]),
        (Operation.INSERT_BEFORE, {"route": "two"}, ["one", "added", "two", "three"]),
        (Operation.INSERT_BEFORE, {}, ["added", "one", "two", "three"]),
        (Operation.INSERT_AFTER, {"route": "two"}, ["one", "two", "added", "three"]),
        (Operation.INSERT_AFTER, {}, ["one", "two", "three", "added"]),
        (Operation.REMOVE, {"route": "two"}, ["one", "three"]),
        (Operation.REMOVE, {"action": RouteAction.DIRECT_RESPONSE}, ["one", "two"]),
        (Operation.REMOVE, {"action": RouteAction.ROUTE}, ["two", "three"]),
        (Operation.REMOVE, {"action": RouteAction.REDIRECT, "route": "two"}, ["one", "three"]),
    ],
)
def test_routes(operation: Operation, target: dict[str, Any], expected: list[str]) -> None:
    made = routes()
    value = None if operation is Operation.REMOVE else ADDED_ROUTE
    assert patch_configuration(made, [patch(ApplyTo.HTTP_ROUTE, operation, value, host="a:80", **target)]) == {REF}
    assert names(made) == expected
    assert names(made, 1) == ["one"]


def test_routes_are_merged_in_every_host() -> None:
    made = routes()
    value = {"route": {"timeout": "3s"}}
    assert patch_configuration(made, [patch(ApplyTo.HTTP_ROUTE, Operation.MERGE, value, route="one")]) == {REF}
    for host in made.virtual_hosts:
        assert host.routes[0].route.timeout.seconds == 3
        assert host.routes[0].route.cluster == "c"


@pytest.mark.parametrize("operation", [Operation.INSERT_FIRST, Operation.INSERT_AFTER, Operation.REMOVE])
def test_a_route_that_is_not_there(operation: Operation) -> None:
    made = routes()
    value = None if operation is Operation.REMOVE else ADDED_ROUTE
    assert patch_configuration(made, [patch(ApplyTo.HTTP_ROUTE, operation, value, route="nobody")]) == frozenset()
    assert made == routes()


def test_routes_that_are_added_stay_as_they_are() -> None:
    made = routes()
    add = patch(ApplyTo.HTTP_ROUTE, Operation.INSERT_FIRST, ADDED_ROUTE, host="a:80")
    merge = patch(ApplyTo.HTTP_ROUTE, Operation.MERGE, {"request_headers_to_remove": ["x"]}, host="a:80")
    remove = patch(ApplyTo.HTTP_ROUTE, Operation.REMOVE, host="a:80", route="one")
    patch_configuration(made, [add, merge, remove])
    found = made.virtual_hosts[0].routes
    assert [(route.name, len(route.request_headers_to_remove)) for route in found] == [
        ("added", 0),
        ("two", 1),
        ("three", 1),
    ]
