"""Scripts of the delta variant. Rules: the xDS protocol's incremental part; Envoy's warming."""

from __future__ import annotations

from typing import Any

import pytest

from federation.model.errors import InvalidInput
from istiod.encode.resource import CLUSTER, LISTENER
from istiod.xds import session as sessions
from istiod.xds.session import TypeStatus


def state(talk: Any, url: str) -> TypeStatus:
    return next(item for item in talk.session.status() if item.type_url == url)


def settle(talk: Any, *names: str, **content: Any) -> None:
    """Bring a stream to rest with this content, subscribed to everything in it."""
    talk.serve(**content)
    for kind in ("cds", "eds", "lds", "rds"):
        if kind in content:
            talk.ask(kind, *(() if kind in ("cds", "lds") else content[kind]))
            talk.ack(kind)
    assert talk.session.idle
    assert talk.texts() == []


def test_nothing_is_said_before_there_is_a_configuration(delta: Any) -> None:
    assert delta.ask("cds") == []
    assert delta.ask("eds", "a") == []
    assert delta.serve(cds={"a": "1"}, eds={"a": "x"}) == ["cds: a=1", "eds: a=x"]


@pytest.mark.parametrize(
    ("names", "said"),
    [((), "cds: a=1 b=1"), (("*",), "cds: a=1 b=1"), (("*", "b"), "cds: a=1 b=1"), (("b",), "cds: b=1")],
)
def test_first_request_without_names_or_with_a_star_is_for_everything(delta: Any, names: Any, said: str) -> None:
    delta.serve(cds={"a": "1", "b": "1"})
    assert delta.ask("cds", *names) == [said]


def test_a_star_may_come_and_go_later(delta: Any) -> None:
    delta.serve(cds={"a": "1", "b": "1"})
    delta.ask("cds", "b")
    delta.ack("cds")
    assert delta.ask("cds", "*") == ["cds: a=1 b=1"]
    delta.ack("cds")
    delta.ask("cds", drop=["*"])
    assert delta.serve(cds={"a": "2", "b": "2"}) == ["cds: b=2"]


def test_dropping_the_star_forgets_what_waited_under_it(delta: Any) -> None:
    delta.serve(cds={"a": "1"})
    delta.ask("cds")
    assert delta.serve(cds={"a": "2"}) == []
    assert delta.ask("cds", drop=["*"]) == []
    assert delta.ack("cds") == []
    assert delta.session.idle


def test_a_name_dropped_under_a_star_is_told_again(delta: Any) -> None:
    delta.serve(cds={"a": "1"})
    delta.ask("cds", "*", "a", "gone")
    delta.ack("cds")
    assert delta.ask("cds", drop=["a", "gone"]) == ["cds: a=1 -gone"]


def test_requests_before_there_is_a_configuration_are_answered_together(delta: Any) -> None:
    assert delta.ask("eds", "a") == []
    assert delta.ask("eds", "b") == []
    assert delta.session.idle
    assert delta.serve(eds={"a": "x", "b": "y"}) == ["eds: a=x b=y"]


def test_what_is_no_longer_asked_for_is_not_answered(delta: Any) -> None:
    delta.serve(eds={"a": "x", "b": "y"})
    assert delta.ask("eds", "a") == ["eds: a=x"]
    assert delta.ask("eds", "b") == []
    assert delta.ask("eds", drop=["b"]) == []
    assert delta.ack("eds") == []
    assert delta.session.idle


def test_first_answer_is_owed_even_if_it_is_empty(delta: Any) -> None:
    delta.serve(cds={}, lds={})
    assert delta.ask("lds") == ["lds:"]
    assert delta.ack("lds") == []


def test_unknown_names_are_told_to_be_absent_and_told_when_they_come(delta: Any) -> None:
    delta.serve(eds={"a": "x"}, rds={})
    assert delta.ask("eds", "a", "b") == ["eds: a=x -b"]
    delta.ack("eds")
    assert delta.ask("eds", "c") == ["eds: -c"]
    delta.ack("eds")
    assert delta.serve(eds={"a": "x", "b": "y", "c": "z"}) == ["eds: b=y c=z"]


def test_a_name_asked_for_twice_is_sent_twice(delta: Any) -> None:
    delta.serve(eds={"a": "x"})
    delta.ask("eds", "a")
    delta.ack("eds")
    assert delta.ask("eds", "a") == ["eds: a=x"]


def test_names_nobody_asked_for_are_not_sent(delta: Any) -> None:
    settle(delta, eds={"a": "x"})
    assert delta.serve(eds={"a": "x", "b": "y"}) == []
    assert delta.serve(eds={"a": "x"}) == []
    delta.ask("eds", drop=["a"])
    assert delta.serve(eds={"a": "z"}) == []


def test_reconnect_gets_only_what_differs(delta: Any) -> None:
    delta.serve(cds={"same": "1", "changed": "2", "new": "1"}, eds={"same": "x", "changed": "y"})
    had = {"cds": {"same": "1", "changed": "1", "gone": "1"}, "eds": {"same": "x", "changed": "x", "gone": "x"}}
    assert delta.ask("cds", has=had) == ["cds: changed=2 new=1 -gone"]
    assert delta.ask("eds", "same", "changed", "gone", has=had) == ["eds: changed=y -gone"]


def test_reconnect_gets_the_endpoints_of_upstreams_that_differ(delta: Any) -> None:
    content = {"cds": {"same": "1", "changed": "2"}, "eds": {"same": "x", "changed": "x"}}
    delta.serve(**content)
    had = {**content, "cds": {"same": "1", "changed": "1"}}
    assert delta.ask("cds", has=had) == ["cds: changed=2"]
    assert delta.ask("eds", "same", "changed", has=had) == ["eds: changed=x"]


def test_reconnect_before_there_is_a_configuration_keeps_the_order_of_removals(delta: Any) -> None:
    had = {"cds": {"a": "1", "gone": "1"}, "rds": {"r": "to-gone"}}
    assert delta.ask("cds", has=had) == []
    assert delta.ask("rds", "r", has=had) == []
    assert delta.serve(cds={"a": "1"}, rds={"r": "to-a"}) == ["rds: r=to-a"]
    assert delta.ack("rds") == ["cds: -gone"]


def test_reconnect_with_nothing_new_is_silent_and_at_rest(delta: Any) -> None:
    content = {"cds": {"a": "1"}, "eds": {"a": "x"}, "lds": {"l": "1"}, "rds": {"r": "1"}}
    delta.serve(**content)
    for kind in content:
        assert delta.ask(kind, *(() if kind in ("cds", "lds") else content[kind]), has=content) == []
    assert delta.session.idle
    assert delta.serve(**{**content, "eds": {"a": "y"}}) == ["eds: a=y"]


def test_reconnect_before_the_first_configuration_is_compared_when_it_comes(delta: Any) -> None:
    had = {"cds": {"a": "1", "gone": "1"}}
    assert delta.ask("cds", has=had) == []
    assert delta.serve(cds={"a": "1", "b": "1"}) == ["cds: b=1 -gone"]


def test_initial_versions_count_as_subscribed(delta: Any) -> None:
    delta.serve(cds={"a": "1"}, eds={"a": "x"})
    delta.ask("cds", has={"cds": {"a": "1"}})
    assert delta.ask("eds", has={"eds": {"a": "x"}}) == []
    assert delta.serve(cds={"a": "1"}, eds={"a": "y"}) == ["eds: a=y"]


def test_reconnect_while_upstreams_warm_gets_all_their_endpoints(delta: Any) -> None:
    """Envoy holds back CDS while a cluster warms: a stream that opens with EDS is of a client that may wait for it."""
    delta.serve(cds={"a": "1"}, eds={"a": "x"})
    assert delta.ask("eds", "a", has={"eds": {"a": "x"}}) == ["eds: a=x"]


def test_endpoints_of_a_changed_upstream_follow_unchanged(delta: Any) -> None:
    settle(delta, cds={"a": "1", "b": "1"}, eds={"a": "x", "b": "y"})
    assert delta.serve(cds={"a": "2", "b": "1"}, eds={"a": "x", "b": "y"}) == ["cds: a=2", "eds: a=x"]
    assert delta.ack("cds") == []
    assert delta.ack("eds") == []


def test_endpoints_follow_when_their_last_answer_is_acknowledged(delta: Any) -> None:
    settle(delta, cds={"a": "1"}, eds={"a": "x"})
    assert delta.serve(cds={"a": "1"}, eds={"a": "y"}) == ["eds: a=y"]
    assert delta.serve(cds={"a": "2"}, eds={"a": "y"}) == ["cds: a=2"]
    assert delta.ack("eds") == ["eds: a=y"]


def test_endpoints_of_a_new_upstream_follow_once_asked_for_and_only_once(delta: Any) -> None:
    settle(delta, cds={"a": "1"}, eds={"a": "x"})
    assert delta.serve(cds={"a": "1", "b": "1"}, eds={"a": "x", "b": "y"}) == ["cds: b=1"]
    assert delta.ask("eds", "b") == ["eds: b=y"]
    assert delta.ack("eds") == []
    assert delta.ack("cds") == []


def test_order_of_additions(delta: Any) -> None:
    settle(delta, cds={"a": "1"}, eds={"a": "x"}, lds={"l": "1"}, rds={"r": "1"})
    said = delta.serve(cds={"a": "2"}, eds={"a": "y"}, lds={"l": "2"}, rds={"r": "2"})
    assert said == ["cds: a=2", "eds: a=y", "lds: l=2", "rds: r=2"]


def test_order_of_removals_when_nothing_else_changes(delta: Any) -> None:
    settle(delta, cds={"a": "1"}, eds={"a": "x"}, lds={"l": "1"}, rds={"r": "1"})
    assert delta.serve(cds={}, eds={}, lds={}, rds={}) == ["lds: -l"]
    assert delta.ack("lds") == ["rds: -r"]
    assert delta.ack("rds") == ["cds: -a"]
    assert delta.ack("cds") == ["eds: -a"]
    assert delta.ack("eds") == []
    assert delta.session.idle


def test_an_upstream_goes_after_the_route_that_named_it_is_acknowledged(delta: Any) -> None:
    settle(delta, cds={"a": "1", "b": "1"}, rds={"r": "to-a"})
    assert delta.serve(cds={"b": "1"}, rds={"r": "to-b"}) == ["rds: r=to-b"]
    assert not delta.session.idle
    assert delta.ack("rds") == ["cds: -a"]


def test_a_change_that_waits_does_not_bring_a_removal_forward(delta: Any) -> None:
    settle(delta, cds={"a": "1", "b": "1"}, lds={"l": "1"})
    assert delta.serve(cds={"a": "2", "b": "1"}, lds={"l": "1"}) == ["cds: a=2"]
    assert delta.serve(cds={"a": "3", "b": "1"}, lds={"l": "1"}) == []
    assert delta.serve(cds={"b": "1"}, lds={"l": "2"}) == ["lds: l=2"]
    assert delta.ack("cds") == []
    assert delta.ack("lds") == ["cds: -a"]


def test_endpoints_are_not_removed_before_their_upstream(delta: Any) -> None:
    settle(delta, cds={"a": "1", "b": "1"}, eds={"a": "x"})
    assert delta.serve(cds={"a": "1", "b": "2"}, eds={"a": "x"}) == ["cds: b=2"]
    assert delta.serve(cds={"b": "2"}, eds={}) == []
    assert delta.ack("cds") == ["cds: -a"]
    assert delta.ask("eds", drop=["a"]) == []
    assert delta.ack("cds") == []
    assert delta.session.idle


def test_an_upstream_stays_while_the_client_refuses_the_route_that_no_longer_names_it(delta: Any) -> None:
    settle(delta, cds={"a": "1"}, rds={"r": "to-a"})
    assert delta.serve(cds={}, rds={"r": "bad"}) == ["rds: r=bad"]
    assert delta.ack("rds", error="no") == []
    assert delta.serve(cds={}, rds={"r": "good"}) == ["rds: r=good"]
    assert delta.ack("rds") == ["cds: -a"]


def test_absence_of_endpoints_that_a_warming_upstream_waits_for_is_told_at_once(delta: Any) -> None:
    """Envoy acknowledges an upstream when it has its endpoints or knows that there are none, and not before."""
    settle(delta, cds={"a": "1"}, eds={"a": "x"})
    assert delta.serve(cds={"a": "1"}, eds={"a": "y"}) == ["eds: a=y"]
    assert delta.serve(cds={"a": "2"}, eds={"a": "y"}) == ["cds: a=2"]
    assert delta.serve(cds={}, eds={}) == []
    assert delta.ack("eds") == ["eds: -a"]
    assert delta.ack("eds") == []
    assert delta.ack("cds") == ["cds: -a"]


def test_what_is_asked_for_while_its_removal_waits_is_told_to_be_absent(delta: Any) -> None:
    settle(delta, cds={"a": "1"}, eds={"a": "x"}, lds={"l": "1"})
    assert delta.serve(cds={}, eds={}, lds={}) == ["lds: -l"]
    assert delta.ask("eds", "a") == ["eds: -a"]
    delta.ack("eds")
    assert delta.ack("lds") == ["cds: -a"]
    assert delta.ack("cds") == []


def test_what_comes_back_while_its_removal_waits_is_not_removed(delta: Any) -> None:
    settle(delta, cds={"a": "1"}, lds={"l": "1"})
    assert delta.serve(cds={}, lds={"l": "2"}) == ["lds: l=2"]
    assert delta.serve(cds={"a": "1"}, lds={"l": "2"}) == ["cds: a=1"]
    assert delta.ack("lds") == []
    assert delta.ack("cds") == []


def test_changes_are_merged_while_an_answer_is_on_its_way(delta: Any) -> None:
    delta.serve(cds={"a": "1"})
    assert delta.ask("cds") == ["cds: a=1"]
    assert delta.serve(cds={"a": "2"}) == []
    assert delta.serve(cds={"a": "3", "b": "1"}) == []
    assert delta.serve(cds={"a": "4"}) == []
    assert delta.ack("cds") == ["cds: a=4 -b"]


def test_types_do_not_wait_for_each_other(delta: Any) -> None:
    delta.serve(cds={"a": "1"}, lds={"l": "1"})
    delta.ask("cds")
    assert delta.ask("lds") == ["lds: l=1"]


def test_refusal_is_kept_counted_and_not_answered_until_content_changes(delta: Any) -> None:
    settle(delta, lds={"l": "1"})
    delta.serve(lds={"l": "bad"})
    assert delta.ack("lds", error="no such filter") == []
    now = state(delta, LISTENER)
    assert (now.refused, now.nacks, now.sent_revision, now.acked_revision) == ("no such filter", 1, 2, 1)
    assert delta.session.idle
    assert delta.serve(lds={"l": "bad"}, cds={"a": "1"}) == []
    assert delta.serve(lds={"l": "good"}) == ["lds: l=good"]
    assert state(delta, LISTENER).refused == "no such filter"
    assert delta.ack("lds") == []
    now = state(delta, LISTENER)
    assert (now.refused, now.nacks, now.acked_revision) == ("", 1, 4)


def test_stale_acknowledgements_are_ignored(delta: Any) -> None:
    delta.serve(cds={"a": "1"})
    delta.ask("cds")
    assert delta.ack("cds", nonce="never-sent") == []
    assert delta.ack("cds", nonce="never-sent", error="whatever") == []
    assert state(delta, CLUSTER).nacks == 0
    assert not delta.session.idle
    assert delta.ack("cds") == []
    assert delta.session.idle


def test_large_answers_are_split_and_a_refused_part_counts(delta: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_RESPONSE_BYTES", 600)
    content = {f"c{number}": "x" * 100 for number in range(10)}
    delta.serve(cds=content)
    delta.session.on_request(sessions.Request(CLUSTER))
    parts = delta.out()
    assert len(parts) > 2
    assert sorted(name for part in parts for name in part.resources) == sorted(content)
    assert len({part.nonce for part in parts}) == len(parts)
    assert delta.ack("cds", nonce=parts[0].nonce, error="bad one") == []
    for part in parts[1:]:
        assert not delta.session.idle
        assert delta.ack("cds", nonce=part.nonce) == []
    assert delta.session.idle
    assert (state(delta, CLUSTER).refused, state(delta, CLUSTER).acked) == ("bad one", 0)


def test_next_answer_waits_for_every_part(delta: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_RESPONSE_BYTES", 600)
    delta.serve(cds={f"c{number}": "x" * 100 for number in range(10)})
    delta.session.on_request(sessions.Request(CLUSTER))
    parts = delta.out()
    delta.serve(cds={"c0": "new"})
    assert delta.ack("cds", nonce=parts[-1].nonce) == []
    for part in parts[:-2]:
        assert delta.ack("cds", nonce=part.nonce) == []
    assert state(delta, CLUSTER).acked == 0
    assert len(delta.ack("cds", nonce=parts[-2].nonce)) == 1


def test_removals_are_told_with_the_last_part(delta: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(delta, cds={"gone": "1"})
    monkeypatch.setattr(sessions, "MAX_RESPONSE_BYTES", 600)
    delta.session.on_delivery(delta.next(cds={f"c{number}": "x" * 100 for number in range(10)}))
    parts = delta.out()
    assert [part.removed for part in parts] == [()] * (len(parts) - 1) + [("gone",)]


def test_other_class_gets_only_what_differs(delta: Any) -> None:
    settle(delta, cds={"a": "1", "b": "1"}, eds={"a": "x", "b": "y"})
    assert delta.other_class(cds={"a": "1", "c": "1"}, eds={"a": "z"}) == ["cds: c=1 -b", "eds: a=z"]
    assert delta.ack("cds") == []
    assert delta.ack("eds") == ["eds: -b"]


def test_secrets_wait_for_their_own_and_renewals_are_pushed(delta: Any) -> None:
    delta.serve(cds={"a": "1"})
    assert delta.ask("sds", "default", "ROOTCA") == []
    assert delta.session.idle
    assert delta.secrets(default="1", ROOTCA="r") == ["sds: ROOTCA=r default=1"]
    delta.ack("sds")
    assert delta.secrets(default="2", ROOTCA="r") == ["sds: default=2"]
    delta.ack("sds")
    assert delta.ask("sds", "another") == []


def test_reconnect_before_secrets_are_there_removes_none(delta: Any) -> None:
    had = {"sds": {"default": "1", "ROOTCA": "r"}}
    assert delta.ask("sds", "default", "ROOTCA", has=had) == []
    assert delta.secrets(default="2", ROOTCA="r") == ["sds: default=2"]


def test_types_we_do_not_serve_leave_the_stream_at_rest(delta: Any) -> None:
    settle(delta, cds={"a": "1"})
    for names in ((), ("a",)):
        delta.session.on_request(sessions.Request("type.googleapis.com/istio.networking.nds.v1.NameTable", names))
    assert delta.texts() == []
    assert delta.session.idle


def test_names_are_bounded(delta: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_NAMES", 3)
    delta.ask("eds", "a", "b")
    with pytest.raises(InvalidInput, match="at most 3"):
        delta.ask("eds", "c", "d")
    with pytest.raises(InvalidInput, match="at most 3"):
        delta.ask("rds", "a", "b", "c", "d")


def test_equal_names_of_many_clients_are_one_object(delta: Any, sotw: Any) -> None:
    for talk in (delta, sotw):
        talk.serve(eds={"a": "x", "b": "y"})
        talk.ask("eds", "a", "b")
    (mine,), (other,) = delta.session._types.values(), sotw.session._types.values()
    assert mine.names is other.names
