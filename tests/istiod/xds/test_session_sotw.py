"""Scripts of the state-of-the-world variant. Rules: the xDS protocol; what Istio's server does where it is silent."""

from __future__ import annotations

from typing import Any

from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse

from istiod.encode.resource import CLUSTER, ENDPOINTS
from istiod.xds.session import Request


def settle(talk: Any, **content: Any) -> None:
    talk.serve(**content)
    for kind in ("cds", "eds", "lds", "rds"):
        if kind in content:
            names = () if kind in ("cds", "lds") else tuple(content[kind])
            talk.ask(kind, *names)
            talk.ack(kind, *names)
    assert talk.session.idle


def test_everything_is_sent_in_full_for_wildcards(sotw: Any) -> None:
    settle(sotw, cds={"a": "1", "b": "1"})
    assert sotw.serve(cds={"a": "2", "b": "1"}) == ["cds: a=2 b=1"]
    sotw.ack("cds")
    assert sotw.serve(cds={"a": "2"}) == ["cds: a=2"]


def test_named_types_get_only_what_changed(sotw: Any) -> None:
    settle(sotw, eds={"a": "x", "b": "y"})
    assert sotw.serve(eds={"a": "z", "b": "y"}) == ["eds: a=z"]


def test_acknowledgement_with_the_same_names_is_answered_by_nothing(sotw: Any) -> None:
    settle(sotw, eds={"a": "x"})
    assert sotw.ack("eds", "a") == []
    assert sotw.ack("eds", "a") == []


def test_only_added_names_are_answered_and_only_removals_by_nothing(sotw: Any) -> None:
    settle(sotw, eds={"a": "x", "b": "y"})
    assert sotw.serve(eds={"a": "x", "b": "y", "c": "z"}) == []
    assert sotw.ask("eds", "a", "b", "c", nonce=sotw.last["eds"]) == ["eds: c=z"]
    assert sotw.ack("eds", "a") == []
    assert sotw.serve(eds={"a": "x", "b": "changed", "c": "changed"}) == []


def test_empty_list_unsubscribes(sotw: Any) -> None:
    settle(sotw, eds={"a": "x"})
    assert sotw.ask("eds", nonce=sotw.last["eds"]) == []
    assert sotw.serve(eds={"a": "z"}) == []


def test_request_without_nonce_is_answered_in_full(sotw: Any) -> None:
    settle(sotw, eds={"a": "x", "b": "y"})
    assert sotw.ask("eds", "a", "b") == ["eds: a=x b=y"]


def test_stale_nonce_is_ignored(sotw: Any) -> None:
    settle(sotw, eds={"a": "x", "b": "y"})
    old = sotw.last["eds"]
    assert sotw.serve(eds={"a": "z", "b": "y", "c": "n"}) == ["eds: a=z"]
    assert sotw.ask("eds", "a", "b", "c", nonce=old) == []
    assert not sotw.session.idle
    assert sotw.ack("eds", "a", "b", "c") == ["eds: c=n"]


def test_warming_endpoints_follow_and_a_duplicate_acknowledgement_is_answered(sotw: Any) -> None:
    settle(sotw, cds={"a": "1"}, eds={"a": "x"})
    old = sotw.last["eds"]
    assert sotw.serve(cds={"a": "2"}, eds={"a": "x"}) == ["cds: a=2", "eds: a=x"]
    assert sotw.ask("eds", "a", nonce=old) == []  # asked before the answer above was seen: that one is the answer
    assert sotw.ack("eds", "a") == []
    assert sotw.ack("cds") == []


def test_warming_is_answered_when_endpoints_were_on_their_way(sotw: Any) -> None:
    settle(sotw, cds={"a": "1"}, eds={"a": "x"})
    assert sotw.serve(cds={"a": "1"}, eds={"a": "y"}) == ["eds: a=y"]
    assert sotw.serve(cds={"a": "2"}, eds={"a": "y"}) == ["cds: a=2"]
    assert sotw.ack("eds", "a") == ["eds: a=y"]


def test_endpoints_nobody_knows_are_empty_so_that_nobody_waits(sotw: Any) -> None:
    sotw.serve(eds={})
    sotw.session.on_request(Request(ENDPOINTS, ("a",)))
    ((_, raw),) = sotw.session.take()
    said = DiscoveryResponse.FromString(raw)
    sotw.last["eds"] = said.nonce
    assert [ClusterLoadAssignment.FromString(item.value).cluster_name for item in said.resources] == ["a"]
    assert sotw.ack("eds", "a") == []
    assert sotw.serve(eds={"a": "x"}) == ["eds: a=x"]


def test_named_listeners_are_always_complete(sotw: Any) -> None:
    """A client of gRPC takes a listener or upstream that is not in an answer for deleted."""
    sotw.serve(lds={"one": "1", "two": "1", "other": "1"})
    assert sotw.ask("lds", "one") == ["lds: one=1"]
    sotw.ack("lds", "one")
    assert sotw.ask("lds", "one", "two", nonce=sotw.last["lds"]) == ["lds: one=1 two=1"]
    sotw.ack("lds", "one", "two")
    assert sotw.serve(lds={"one": "1", "two": "2", "other": "2"}) == ["lds: one=1 two=2"]
    sotw.ack("lds", "one", "two")
    assert sotw.serve(lds={"one": "1", "other": "2"}) == ["lds: one=1"]


def test_named_listener_that_is_not_there_is_said_to_be_absent_at_once(sotw: Any) -> None:
    sotw.serve(lds={"one": "1"})
    assert sotw.ask("lds", "one") == ["lds: one=1"]
    sotw.ack("lds", "one")
    assert sotw.ask("lds", "one", "nowhere", nonce=sotw.last["lds"]) == ["lds: one=1"]


def test_removed_endpoints_and_routes_are_not_announced(sotw: Any) -> None:
    settle(sotw, eds={"a": "x", "b": "y"}, rds={"r": "1"})
    assert sotw.serve(eds={"a": "x"}, rds={}) == []
    assert sotw.session.idle


def test_an_upstream_stays_in_answers_until_routes_are_acknowledged(sotw: Any) -> None:
    settle(sotw, cds={"a": "1", "b": "1"}, rds={"r": "to-a"})
    assert sotw.serve(cds={"b": "2"}, rds={"r": "to-b"}) == ["cds: a=1 b=2", "rds: r=to-b"]
    assert sotw.ack("cds") == []
    assert sotw.ack("rds", "r") == ["cds: b=2"]
    assert sotw.ack("cds") == []
    assert sotw.session.idle


def test_refusal_is_not_answered_until_content_changes(sotw: Any) -> None:
    settle(sotw, cds={"a": "1"})
    sotw.serve(cds={"a": "bad"})
    assert sotw.ack("cds", error="no") == []
    found = next(item for item in sotw.session.status() if item.type_url == CLUSTER)
    assert (found.refused, found.nacks) == ("no", 1)
    assert sotw.serve(cds={"a": "good"}) == ["cds: a=good"]


def test_refusal_that_adds_names_is_answered_for_those(sotw: Any) -> None:
    settle(sotw, eds={"a": "x", "b": "y"})
    sotw.serve(eds={"a": "bad", "b": "y", "c": "z"})
    assert sotw.ack("eds", "a", "b", "c", error="no") == ["eds: c=z"]


def test_star_and_names_by_the_specification(sotw: Any) -> None:
    """Without names means everything only until the client has named something."""
    sotw.serve(cds={"a": "1", "b": "1"})
    assert sotw.ask("cds") == ["cds: a=1 b=1"]
    assert sotw.ack("cds", "*", "a") == ["cds: a=1 b=1"]
    assert sotw.ack("cds", "a") == []
    assert sotw.serve(cds={"a": "2", "b": "2"}) == ["cds: a=2"]
    assert sotw.ack("cds", "*") == ["cds: a=2 b=2"]
    assert sotw.ack("cds") == []
    assert sotw.serve(cds={"a": "3", "b": "3"}) == []


def test_a_client_that_begins_anew_is_not_waited_for(sotw: Any) -> None:
    sotw.serve(cds={"a": "1"})
    assert sotw.ask("cds") == ["cds: a=1"]
    assert sotw.ask("cds") == ["cds: a=1"]
    assert sotw.ack("cds") == []
    assert sotw.session.idle


def test_endpoints_asked_for_before_upstreams_are_sent_again_after_them(sotw: Any) -> None:
    """Envoy that reconnects while upstreams warm asks for endpoints first and takes that answer for the old ones."""
    sotw.serve(cds={"a": "1"}, eds={"a": "x"})
    assert sotw.ask("eds", "a") == ["eds: a=x"]
    assert sotw.ask("cds") == ["cds: a=1"]
    assert sotw.ack("eds", "a") == ["eds: a=x"]


def test_an_upstream_that_leaves_is_kept_as_the_client_has_it(sotw: Any) -> None:
    settle(sotw, cds={"a": "1", "b": "1"}, lds={"l": "1"})
    assert sotw.serve(cds={"b": "1"}, lds={"l": "2"}) == ["lds: l=2"]
    assert sotw.serve(cds={"b": "2"}, lds={"l": "2"}) == ["cds: a=1 b=2"]
    assert sotw.ack("cds") == []
    assert sotw.serve(cds={"a": "9", "b": "2"}, lds={"l": "2"}) == ["cds: a=9 b=2"]
    assert sotw.ack("lds") == []
    assert sotw.ack("cds") == []
    assert sotw.session.idle


def test_an_upstream_that_leaves_is_kept_as_it_was_said_not_as_it_was_to_be(sotw: Any) -> None:
    """Envoy warms an upstream that is another one, and would wait for its endpoints for ever: nobody has them."""
    settle(sotw, cds={"a": "1", "b": "1"}, eds={"a": "x"}, lds={"l": "1"})
    assert sotw.serve(cds={"a": "1", "b": "2"}, eds={"a": "x"}, lds={"l": "1"}) == ["cds: a=1 b=2"]
    assert sotw.serve(cds={"a": "2", "b": "2"}, eds={"a": "x"}, lds={"l": "1"}) == []
    assert sotw.serve(cds={"b": "3"}, eds={}, lds={"l": "2"}) == ["lds: l=2"]
    assert sotw.ack("cds") == ["cds: a=1 b=3"]
    assert sotw.ack("lds") == []
    assert sotw.ack("cds") == ["cds: b=3"]


def test_an_upstream_that_leaves_before_it_was_said_is_never_said(sotw: Any) -> None:
    settle(sotw, cds={"b": "1"}, lds={"l": "1"})
    assert sotw.serve(cds={"b": "2"}, lds={"l": "1"}) == ["cds: b=2"]
    assert sotw.serve(cds={"a": "1", "b": "2"}, lds={"l": "1"}) == []
    assert sotw.serve(cds={"b": "3"}, lds={"l": "2"}) == ["lds: l=2"]
    assert sotw.ack("cds") == ["cds: b=3"]
    assert sotw.ack("cds") == []
    assert sotw.ack("lds") == []
    assert sotw.session.idle


def test_another_class_leaves_out_what_it_has_not(sotw: Any) -> None:
    settle(sotw, cds={"a": "1", "b": "1"}, eds={"a": "x", "b": "y"})
    assert sotw.other_class(cds={"a": "1"}, eds={"a": "z"}) == ["cds: a=1", "eds: a=z"]
    sotw.ack("cds")
    assert sotw.ack("eds", "a", "b") == []


def test_everything_that_leaves_is_kept(sotw: Any) -> None:
    settle(sotw, cds={"a": "1", "b": "1", "c": "1"}, lds={"l": "1"})
    assert sotw.serve(cds={"b": "1", "c": "1"}, lds={"l": "2"}) == ["lds: l=2"]
    assert sotw.serve(cds={"c": "2"}, lds={"l": "2"}) == ["cds: a=1 b=1 c=2"]
    assert sotw.ack("lds") == []
    assert sotw.ack("cds") == ["cds: c=2"]


def test_a_client_that_begins_anew_is_answered_though_there_is_nothing(sotw: Any) -> None:
    sotw.serve(cds={})
    assert sotw.ask("cds") == ["cds:"]
    assert sotw.ask("cds") == ["cds:"]


def test_routes_nobody_knows_are_not_answered(sotw: Any) -> None:
    settle(sotw, rds={"r": "1"})
    assert sotw.ask("rds", "r", "unknown", nonce=sotw.last["rds"]) == []


def test_removed_endpoints_do_not_wait_for_anything(sotw: Any) -> None:
    settle(sotw, cds={"a": "1", "b": "1"}, eds={"b": "y"})
    assert sotw.serve(cds={"a": "2", "b": "1"}, eds={}) == ["cds: a=2 b=1"]
    assert [item.pending for item in sotw.session.status()] == [True, False]
