"""Values of patches against Envoy's messages: what is read, and what exactly is wrong with the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.findings import Severity
from istiod.api.envoyfilter import ApplyTo, Operation
from istiod.encode.patch import MESSAGES, message_type, read_value

TYPE = "type.googleapis.com/"
LUA = f"{TYPE}envoy.extensions.filters.http.lua.v3.Lua"
LIMIT = f"{TYPE}envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
STRUCT = f"{TYPE}udpa.type.v1.TypedStruct"


def read(apply_to: ApplyTo, value: Any, operation: Operation = Operation.ADD) -> tuple[bool, list[tuple[str, ...]]]:
    found = read_value(apply_to, operation, json.dumps(value))
    return found.message is not None, [
        (problem.severity.name, problem.code, problem.path, problem.message) for problem in found.problems
    ]


def lua(**fields: Any) -> dict[str, Any]:
    return {"name": "lua", "typed_config": {"@type": LUA, **fields}}


@pytest.mark.parametrize(
    ("apply_to", "value"),
    [
        (ApplyTo.CLUSTER, {"name": "a", "connect_timeout": "1.5s", "lbPolicy": "RANDOM", "type": 1}),
        (ApplyTo.CLUSTER, {"name": "a", "metadata": {"filter_metadata": {"x": {"y": [1, None, {"z": True}]}}}}),
        (ApplyTo.HTTP_FILTER, lua(inline_code="x")),
        (ApplyTo.HTTP_FILTER, lua(inlineCode="x", defaultSourceCode={"inline_string": "y"})),
        (
            ApplyTo.HTTP_FILTER,
            {"name": "x", "typed_config": {"@type": STRUCT, "type_url": LUA, "value": {"@type": "z"}}},
        ),
        (ApplyTo.HTTP_FILTER, {"name": "x", "config_discovery": {"type_urls": [LUA], "config_source": {"ads": {}}}}),
        (ApplyTo.VIRTUAL_HOST, {"name": "v", "domains": ["*"], "typed_per_filter_config": {"lua": {"@type": LUA}}}),
    ],
)
def test_values_that_envoy_knows(apply_to: ApplyTo, value: Any) -> None:
    assert read(apply_to, value) == (True, [])


@pytest.mark.parametrize(
    ("apply_to", "value", "problems"),
    [
        (
            ApplyTo.CLUSTER,
            {"name": "a", "lb": 1, "connect_timeot": "1s"},
            [(".lb", "is no field"), (".connect_timeot", "is no field")],
        ),
        (
            ApplyTo.CLUSTER,
            {"name": "a", "circuit_breakers": {"thresholds": [{}, {"max_connection": 1}]}},
            [(".circuit_breakers.thresholds[1].max_connection", "is no field")],
        ),
        (ApplyTo.HTTP_FILTER, lua(code="x"), [(".typed_config.code", "is no field")]),
    ],
)  # fmt: skip
def test_unknown_fields_cost_themselves_alone(apply_to: ApplyTo, value: Any, problems: list[tuple[str, str]]) -> None:
    assert read(apply_to, value) == (True, [("WARNING", "UnknownField", *problem) for problem in problems])


@pytest.mark.parametrize(
    ("apply_to", "value", "code", "path", "message"),
    [
        (ApplyTo.CLUSTER, {"lb_policy": "BEST"}, "InvalidValue", ".lb_policy",
         "Invalid enum value BEST for enum type envoy.config.cluster.v3.Cluster.LbPolicy"),
        (ApplyTo.CLUSTER, {"connect_timeout": "5"}, "InvalidValue", ".connect_timeout",
         'Duration must end with letter "s": 5'),
        (ApplyTo.CLUSTER, {"circuit_breakers": {"thresholds": 3}}, "InvalidValue", ".circuit_breakers",
         "repeated field thresholds must be in [] which is 3"),
        (ApplyTo.CLUSTER, {"name": 3}, "InvalidValue", ".name", "is no text"),
        (ApplyTo.CLUSTER, {"type": "EDS", "cluster_type": {"name": "x"}}, "InvalidValue", "", 'Message type '
         '"envoy.config.cluster.v3.Cluster" should not have multiple "cluster_discovery_type" oneof fields'),
        (ApplyTo.CLUSTER, {"lb_policy": "RANDOM"}, "MissingField", ".name", "is missing"),
        (ApplyTo.LISTENER, {}, "MissingField", ".name", "is missing"),
        (ApplyTo.HTTP_FILTER, {"typed_config": {"@type": LUA}}, "MissingField", ".name", "is missing"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": 3}, "InvalidValue", ".typed_config", "is no mapping"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": {"code": 3}}, "InvalidValue", ".typed_config",
         "@type is missing when parsing any message"),
        (ApplyTo.NETWORK_FILTER, {"name": "x", "typed_config": {"@type": LUA}}, "InvalidValue", ".typed_config.@type",
         "'envoy.extensions.filters.http.lua.v3.Lua' is not of envoy.extensions.filters.network.*"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": {"@type": f"{LUA}2"}}, "UnknownType",
         ".typed_config.@type", f"'{LUA}2' is no message that is known"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": {"@type": f"{TYPE}os.path"}}, "UnknownType",
         ".typed_config.@type", f"'{TYPE}os.path' is no message that is known"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": {"@type": f"{TYPE}envoy.config.filter.http.lua.v2.Lua"}},
         "UnknownType", ".typed_config.@type",
         f"'{TYPE}envoy.config.filter.http.lua.v2.Lua' is no message that is known"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": {"@type": LIMIT, "token_bucket": {"max_tokens": "a"}}},
         "InvalidValue", ".typed_config.token_bucket.max_tokens", "'a' is no whole number"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": {"@type": STRUCT, "type_url": f"{TYPE}stats.PluginConfig"}},
         "UnknownType", ".typed_config.type_url", f"'{TYPE}stats.PluginConfig' is no message that is known"),
        (ApplyTo.HTTP_FILTER, {"name": "x", "typed_config": {
            "@type": STRUCT, "type_url": LIMIT, "value": {"token_bucket": {"max_tokens": "a"}}}},
         "InvalidValue", ".typed_config.value.token_bucket.max_tokens", "'a' is no whole number"),
        (ApplyTo.HTTP_FILTER, {"name": "x"}, "MissingField", ".typed_config", "is missing"),
        (ApplyTo.LISTENER_FILTER, {"name": "x"}, "MissingField", ".typed_config", "is missing"),
        (ApplyTo.FILTER_CHAIN, {"filters": [{"name": "x"}]}, "MissingField", ".filters[0].typed_config", "is missing"),
        (ApplyTo.ROUTE_CONFIGURATION, {"virtual_hosts": [{"typed_per_filter_config": {"x": {"@type": "y"}}}]},
         "UnknownType", ".virtual_hosts[0].typed_per_filter_config.x.@type", "'y' is no message that is known"),
    ],
)  # fmt: skip
def test_wrong_values_are_left_out(apply_to: ApplyTo, value: Any, code: str, path: str, message: str) -> None:
    assert read(apply_to, value) == (False, [("ERROR", code, path, message)])


def test_what_is_merged_needs_no_name() -> None:
    assert read(ApplyTo.CLUSTER, {"lb_policy": "RANDOM"}, Operation.MERGE) == (True, [])


def test_a_filter_that_is_merged_into_another_needs_no_settings_and_one_that_comes_along_does() -> None:
    assert read(ApplyTo.HTTP_FILTER, {"name": "x"}, Operation.MERGE) == (True, [])
    added = {"listener_filters": [{"name": "envoy.filters.listener.proxy_protocol"}]}
    problem = ("ERROR", "MissingField", ".listener_filters[0].typed_config", "is missing")
    assert read(ApplyTo.LISTENER, added, Operation.MERGE) == (False, [problem])


def test_only_envoys_messages_are_looked_for() -> None:
    assert message_type(f"{TYPE}subprocess.Popen") is None
    assert message_type("") is None
    assert message_type(LUA) is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "@type", "typed_config", "filters", "match", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
_FIELDS = sorted({field.json_name for made in MESSAGES.values() for field in made.DESCRIPTOR.fields})


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(MESSAGES)), st.dictionaries(st.sampled_from([*_FIELDS, "x"]), _JSON, max_size=4))
def test_no_value_breaks_the_reader(apply_to: ApplyTo, value: dict[str, Any]) -> None:
    found = read_value(apply_to, Operation.MERGE, json.dumps(value))
    errors = [problem for problem in found.problems if problem.severity is Severity.ERROR]
    assert (found.message is None) is bool(errors)
