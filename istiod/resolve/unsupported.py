"""Fields that are valid and have no effect yet, as findings: what is not built is said, never silent.

One table of field paths; nothing else in the package needs to know what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from federation.model.findings import Finding, Severity
from istiod.api.meta import Object
from istiod.memo import memo
from istiod.resolve.objects import Table, table_of
from istiod.snapshot import Snapshot

# Python field names, `[]` walks into lists; a field counts as used when it differs from its default.
NOT_BUILT: dict[str, tuple[str, ...]] = {
    "VirtualService": (
        "http[].match[].stat_prefix",
        "http[].fault.delay.exponential_delay",
        "http[].fault.abort.http2_error",
        "tcp[].match[].source_subnet",
    ),
    "DestinationRule": ("traffic_policy.tls.ca_crl",),
    "Gateway": (
        "servers[].default_endpoint",
        "servers[].tls.ca_crl",
    ),
    "Sidecar": (
        "ingress[].tls",
        "ingress[].bind",
    ),
}


def unsupported_fields(snapshot: Snapshot) -> tuple[Finding, ...]:
    """A finding for each field in use that nothing follows yet."""
    return tuple(finding for kind in NOT_BUILT for finding in _of_table(kind, table_of(snapshot, kind)))


@memo(size=32)
def _of_table(kind: str, table: Table) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            Severity.WARNING,
            "FieldNotSupported",
            str(item),
            where,
            "has no effect yet",
            "do not rely on it",
        )
        for item in table.values()
        if isinstance(item, Object)
        for path in NOT_BUILT[kind]
        for where in _used(item.spec, path.split("."), "spec")
    )


def _used(value: Any, steps: Sequence[str], where: str) -> Iterator[str]:
    """The places, as Istio spells them, where the field at the end of `steps` is set."""
    step, rest = steps[0], steps[1:]
    name = step.removesuffix("[]")
    info = type(value).model_fields[name]
    found = getattr(value, name)
    here = f"{where}.{info.alias or name}"
    if not rest:
        if found and found != info.default:
            yield here
        return
    inner: Iterable[tuple[str, Any]] = (
        ((f"{here}[{index}]", item) for index, item in enumerate(found)) if step.endswith("[]") else ((here, found),)
    )
    for place, item in inner:
        if item is not None:
            yield from _used(item, rest, place)
