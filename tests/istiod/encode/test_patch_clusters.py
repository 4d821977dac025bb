"""EnvoyFilter patches of upstreams, and how messages are merged."""

from __future__ import annotations

import json
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf import json_format

from istiod.api.envoyfilter import ApplyTo, Operation
from istiod.encode.patch import message_type
from istiod.encode.patch_added import added_resources
from istiod.encode.patch_clusters import patch_cluster
from istiod.encode.resource import CLUSTER, EXTENSION, LISTENER
from istiod.resolve.specs.patch import ClusterTarget, ListenerTarget, PatchRef, PatchSpec

TYPE = "type.googleapis.com/"
TLS = f"{TYPE}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
for url in (TLS, OPTIONS):
    assert message_type(url)  # known from now on


def patch(value: Any, operation: Operation = Operation.MERGE) -> PatchSpec:
    return PatchSpec(PatchRef("EnvoyFilter x/y", 0), ApplyTo.CLUSTER, operation, json.dumps(value), ClusterTarget())


def merged(said: Any, *values: Any, operation: Operation = Operation.MERGE) -> Any:
    cluster = json_format.ParseDict(said, Cluster())
    assert patch_cluster(cluster, [patch(value, operation) for value in values])
    return json_format.MessageToDict(cluster)


def socket(name: str = "tls", **context: Any) -> Any:
    return {"name": name, "typedConfig": {"@type": TLS, **context}}


def test_scalars_durations_and_lists() -> None:
    said = {"name": "a", "connectTimeout": "1.5s", "filters": [{"name": "x"}]}
    value = {"connect_timeout": "2s", "lb_policy": "RANDOM", "filters": [{"name": "y"}]}
    assert merged(said, value) == {
        "name": "a",
        "connectTimeout": "2s",
        "lbPolicy": "RANDOM",
        "filters": [{"name": "x"}, {"name": "y"}],
    }


def test_lists_are_replaced_on_request() -> None:
    made = merged({"name": "a", "filters": [{"name": "x"}]}, {"filters": [{"name": "y"}]},
                  operation=Operation.MERGE_AND_REPLACE_LIST)  # fmt: skip
    assert made["filters"] == [{"name": "y"}]


def test_wrapped_zero_is_not_told_from_none() -> None:
    said = {"perConnectionBufferLimitBytes": 7, "name": "a"}
    assert merged(said, {"per_connection_buffer_limit_bytes": 0})["perConnectionBufferLimitBytes"] == 7
    assert merged(said, {"per_connection_buffer_limit_bytes": 5})["perConnectionBufferLimitBytes"] == 5


def test_messages_are_merged_inside() -> None:
    made = merged(
        {"name": "a", "upstreamConnectionOptions": {"tcpKeepalive": {"keepaliveTime": 3}}},
        {"upstream_connection_options": {"tcp_keepalive": {"keepalive_probes": 2}}},
    )
    assert made["upstreamConnectionOptions"] == {"tcpKeepalive": {"keepaliveTime": 3, "keepaliveProbes": 2}}


def test_an_empty_message_is_kept() -> None:
    assert merged({"name": "a"}, {"round_robin_lb_config": {}})["roundRobinLbConfig"] == {}


def test_one_of_several_replaces_another() -> None:
    assert merged({"name": "a", "type": "EDS"}, {"cluster_type": {"name": "x"}}) == {
        "name": "a", "clusterType": {"name": "x"},
    }  # fmt: skip


def test_entries_of_maps_are_replaced_whole() -> None:
    said = {"name": "a", "typedExtensionProtocolOptions": {
        OPTIONS: {"@type": TYPE + OPTIONS, "commonHttpProtocolOptions": {"idleTimeout": "1s"}},
        "other": {"@type": TLS}}}  # fmt: skip
    value = {"typed_extension_protocol_options": {
        OPTIONS: {"@type": TYPE + OPTIONS, "explicitHttpConfig": {"http2ProtocolOptions": {}}}}}  # fmt: skip
    assert merged(said, value)["typedExtensionProtocolOptions"] == {
        OPTIONS: {"@type": TYPE + OPTIONS, "explicitHttpConfig": {"http2ProtocolOptions": {}}},
        "other": {"@type": TLS},
    }


def test_a_transport_socket_of_the_same_name_is_merged_inside() -> None:
    made = merged(
        {"name": "a", "transportSocket": socket(sni="a.test")}, {"transport_socket": socket(maxSessionKeys=1)}
    )
    assert made["transportSocket"] == socket(sni="a.test", maxSessionKeys=1)


def test_it_is_found_among_those_chosen_by_endpoint() -> None:
    matches = [
        {"name": "one", "transportSocket": socket(sni="a.test")},
        {"name": "two", "transportSocket": socket("raw")},
    ]
    made = merged({"name": "a", "transportSocketMatches": matches}, {"transport_socket": socket(maxSessionKeys=1)})
    assert "transportSocket" not in made
    assert made["transportSocketMatches"][0]["transportSocket"] == socket(sni="a.test", maxSessionKeys=1)
    made = merged(
        {"name": "a", "transportSocketMatches": matches}, {"transport_socket": socket("none"), "lbPolicy": "RANDOM"}
    )
    assert made == {"name": "a", "transportSocketMatches": matches, "lbPolicy": "RANDOM"}


def test_another_transport_socket_is_taken_whole() -> None:
    made = merged({"name": "a", "transportSocket": socket(sni="a.test")}, {"transport_socket": socket("raw")})
    assert made["transportSocket"] == socket("raw")


def test_added_things_are_resources() -> None:
    lua = {"@type": f"{TYPE}envoy.extensions.filters.http.lua.v3.Lua", "inlineCode": "x"}
    values = {
        ApplyTo.CLUSTER: {"name": "c"},
        ApplyTo.LISTENER: {"name": "l"},
        ApplyTo.EXTENSION_CONFIG: {"name": "e", "typed_config": lua},
    }
    patches = [
        PatchSpec(PatchRef("EnvoyFilter x/y", index), kind, Operation.ADD, json.dumps(value), ListenerTarget())
        for index, (kind, value) in enumerate([*values.items(), (ApplyTo.CLUSTER, {"lb_policy": "NO"})])
    ]
    made = list(added_resources(patches))
    assert [(url, resource.name) for url, resource in made] == [(CLUSTER, "c"), (LISTENER, "l"), (EXTENSION, "e")]
    assert made[0][1].patches == {PatchRef("EnvoyFilter x/y", 0)}
