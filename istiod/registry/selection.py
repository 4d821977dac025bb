"""Who selects whom: label selectors against labelled workloads, both ways, without trying every pair.

Private state of the registry's builder. Owns matching inside a namespace; knows neither endpoints nor services.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from federation.model.labels import Labels
from federation.model.names import NamespacedName
from istiod.api.kinds import Kind

Ref = tuple[Kind, NamespacedName]
Pair = tuple[str, str, str]  # namespace, label key, label value


class WorkloadIndex:
    """Workloads by each of their labels."""

    def __init__(self) -> None:
        self._labels: dict[Ref, Labels] = {}
        self._pairs: dict[Pair, set[Ref]] = defaultdict(set)

    def put(self, ref: Ref, labels: Labels | None) -> None:
        """The labels of a workload as they are now; None when it is gone."""
        namespace = ref[1].namespace
        for pair in self._labels.pop(ref, Labels()).items():
            self._pairs[namespace, *pair].discard(ref)
        if labels is not None:
            self._labels[ref] = labels
            for pair in labels.items():
                self._pairs[namespace, *pair].add(ref)

    def labels(self, ref: Ref) -> Labels:
        """The labels of a workload; none if it is unknown."""
        return self._labels.get(ref, Labels())

    def select(self, namespace: str, selector: Mapping[str, str]) -> list[Ref]:
        """The workloads of a namespace that carry all pairs, in a fixed order; an empty selector selects none."""
        nobody: set[Ref] = set()
        lists = [self._pairs.get((namespace, key, value), nobody) for key, value in selector.items()]
        if not lists:
            return []
        return sorted(ref for ref in min(lists, key=len) if self._labels[ref].selected_by(selector))


class SelectorIndex:
    """Selectors, each filed under one of its pairs: a workload meets only those that may fit."""

    def __init__(self) -> None:
        self._selectors: dict[Ref, tuple[Pair, Mapping[str, str]]] = {}
        self._filed: dict[Pair, set[Ref]] = defaultdict(set)

    def put(self, owner: Ref, selector: Mapping[str, str] | None) -> None:
        """The selector of an owner as it is now; None or an empty one selects nothing."""
        known = self._selectors.pop(owner, None)
        if known is not None:
            self._filed[known[0]].discard(owner)
        if selector:
            pairs = [(owner[1].namespace, key, value) for key, value in selector.items()]
            pair = min(pairs, key=lambda item: (len(self._filed.get(item, ())), item))
            self._selectors[owner] = (pair, selector)
            self._filed[pair].add(owner)

    def selecting(self, namespace: str, labels: Labels) -> set[Ref]:
        """The owners in a namespace whose selector fits these labels."""
        found = (self._filed.get((namespace, key, value), ()) for key, value in labels.items())
        return {owner for owners in found for owner in owners if labels.selected_by(self._selectors[owner][1])}
