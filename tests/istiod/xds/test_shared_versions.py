from __future__ import annotations

from istiod.xds.subscription import SharedVersions


def test_equal_versions_of_a_type_are_one_object_whatever_their_order() -> None:
    shared = SharedVersions()
    first = shared.share("cds", {"a": "1", "b": "2"})
    assert shared.share("cds", {"b": "2", "a": "1"}) is first
    assert shared.share("eds", {"a": "1", "b": "2"}) is not first


def test_other_versions_are_never_taken_for_these() -> None:
    shared = SharedVersions()
    shared.share("cds", {"a": "1"})
    assert shared.share("cds", {"a": "2"}) == {"a": "2"}
    assert shared.share("cds", {"b": "1"}) == {"b": "1"}
    assert shared.share("cds", {}) is None


def test_only_the_last_few_are_kept() -> None:
    shared = SharedVersions()
    first = shared.share("cds", {"0": "1"})
    for size in range(2, SharedVersions.KEPT + 2):
        shared.share("cds", {str(number): "1" for number in range(size)})
    assert shared.share("cds", {"0": "1"}) is not first
