from federation.runtime.ready import Readiness


def test_ready_when_nothing_is_waited_for() -> None:
    assert Readiness().ready
    assert Readiness().waiting() == {}


def test_it_says_what_it_waits_for_and_why() -> None:
    readiness = Readiness("files", "store")
    assert not readiness.ready
    readiness.wait_for("store", "no answer from 10.0.0.1:2379")
    assert readiness.waiting() == {"files": "not yet", "store": "no answer from 10.0.0.1:2379"}


def test_all_conditions_must_hold() -> None:
    readiness = Readiness("files", "store")
    readiness.met("files")
    assert not readiness.ready
    assert readiness.waiting() == {"store": "not yet"}
    readiness.met("store")
    assert readiness.ready


def test_a_condition_may_be_lost_again() -> None:
    readiness = Readiness("store")
    readiness.met("store")
    readiness.met("store")
    readiness.wait_for("store", "gone")
    assert not readiness.ready
    readiness.met("store")
    assert readiness.ready


def test_what_nobody_named_may_be_met() -> None:
    readiness = Readiness("store")
    readiness.met("other")
    assert readiness.waiting() == {"store": "not yet"}


def test_the_answer_is_a_copy() -> None:
    readiness = Readiness("store")
    readiness.waiting().clear()
    assert not readiness.ready
