from federation.model.findings import Finding, Severity
from federation.model.names import NamespacedName
from istiod.api.kinds import Kind
from istiod.events import Delete, Findings, Synced, Upsert
from istiod.store import Store

ONE, TWO = NamespacedName("ns", "one"), NamespacedName("ns", "two")


def test_only_dirty_tables_are_copied() -> None:
    store = Store()
    assert store.apply([Upsert(Kind.POD, ONE, "pod"), Upsert(Kind.SERVICE, ONE, "service")])
    before = store.tables()
    assert store.apply([Upsert(Kind.POD, TWO, "other")])
    after = store.tables()
    assert before.of(Kind.POD) == {ONE: "pod"}
    assert after.of(Kind.POD) == {ONE: "pod", TWO: "other"}
    assert after.of(Kind.SERVICE) is before.of(Kind.SERVICE)
    assert store.tables() is after


def test_repeats_and_unknown_deletes_change_nothing() -> None:
    store = Store()
    store.apply([Upsert(Kind.POD, ONE, "pod"), Synced("files")])
    before = store.tables()
    again = [Upsert(Kind.POD, ONE, "pod"), Delete(Kind.POD, TWO), Delete(Kind.NODE, ONE), Synced("files")]
    assert not store.apply(again)
    assert store.tables() is before


def test_findings_of_a_source_replace_what_it_said_before() -> None:
    store = Store()
    bad = Finding(Severity.ERROR, "Bad", "File a", "", "is bad")
    worse = Finding(Severity.ERROR, "Worse", "File b", "", "is worse")
    store.apply([Findings("files", (worse,)), Findings("federation", (bad,))])
    assert store.tables().findings == (bad, worse)
    store.apply([Findings("files", ())])
    assert store.tables().findings == (bad,)
    assert store.apply([Delete(Kind.POD, ONE)]) is False


def test_delete_and_synced() -> None:
    store = Store()
    store.apply([Upsert(Kind.POD, ONE, "pod"), Delete(Kind.POD, ONE)])
    assert store.tables().of(Kind.POD) == {}
    assert store.apply([Synced("files")])
    assert store.tables().synced == {"files"}
