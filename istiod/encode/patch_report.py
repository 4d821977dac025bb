"""What is to be said of EnvoyFilters: values that Envoy's messages do not have, and patches that changed nothing. Pure.

Input: the objects of a snapshot, and of each class of proxies the patches that are for it with those that did something
to its resources. A patch is idle only if a class is known that it is for, and its
value can be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from federation.model.findings import Finding, Severity
from istiod.api.envoyfilter import ApplyTo, EnvoyFilter, Operation
from istiod.api.kinds import Kind
from istiod.encode.patch import read_value, value_of
from istiod.encode.resource import Resource
from istiod.memo import memo
from istiod.resolve.objects import Table, table_of, valid_objects
from istiod.resolve.specs.patch import PatchRef, PatchSpec
from istiod.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class PatchReport:
    """Of one class of proxies: the patches that are for it, and those of them that did something."""

    known: frozenset[PatchRef] = frozenset()
    done: frozenset[PatchRef] = frozenset()


NO_PATCHES = PatchReport()


def report_of(patches: Iterable[PatchSpec], removed: frozenset[PatchRef], resources: Iterable[Resource]) -> PatchReport:
    """The report of a class: `removed` took whole resources away, the rest shows in the resources that there are."""
    known = frozenset(patch.ref for patch in patches if not patch.value or value_of(patch).message is not None)
    if not known:
        return NO_PATCHES
    return PatchReport(known, removed.union(*(resource.patches for resource in resources)))


def idle_patches(reports: Iterable[PatchReport]) -> tuple[Finding, ...]:
    """A finding for each patch that did nothing in any class that it is for."""
    known: set[PatchRef] = set()
    done: set[PatchRef] = set()
    for report in reports:
        known |= report.known
        done |= report.done
    return tuple(
        Finding(
            Severity.WARNING,
            "PatchMatchesNothing",
            ref.object,
            f"spec.configPatches[{ref.index}].match",
            "matches nothing that any connected proxy has",
            "compare names and ports with `isthmus proxy config`",
        )
        for ref in sorted(known - done)
    )


def value_findings(snapshot: Snapshot) -> tuple[Finding, ...]:
    """What is wrong with the values of all patches of a mesh, whether or not a proxy is there that they are for."""
    return _of_table(table_of(snapshot, Kind.ENVOY_FILTER))


@memo(size=2)
def _of_table(table: Table) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            problem.severity,
            problem.code,
            str(item),
            f"spec.configPatches[{index}].patch.value{problem.path}",
            problem.message,
            problem.fix,
        )
        for item in valid_objects(table, EnvoyFilter)
        for index, said in enumerate(item.spec.config_patches)
        if said.patch.value is not None
        and said.apply_to is not ApplyTo.BOOTSTRAP
        and said.patch.operation is not Operation.REMOVE
        for problem in read_value(said.apply_to, said.patch.operation, json.dumps(said.patch.value)).problems
    )
