"""Which of its own services a cluster lets others use, and whom. Pure.

A service is exported by a ServiceExport of its namespace and name (Multi-Cluster Services API), or by the label
`isthmus.io/export` on the Service or ServiceEntry. The annotation `isthmus.io/consumers` on either limits it to the
clusters listed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from federation.model.names import NamespacedName
from istiod.api.meta import Meta, Object

EXPORT_LABEL = "isthmus.io/export"
CONSUMERS_ANNOTATION = "isthmus.io/consumers"


def consumers_of(meta: Meta, exports: Mapping[NamespacedName, Object[Any]]) -> tuple[str, ...] | None:
    """The clusters that may use a service (empty = all of them), or None if it is not exported."""
    export = exports.get(meta.key)
    if export is None and meta.labels.get(EXPORT_LABEL, "false").lower() in ("false", ""):
        return None
    said = (export.meta.annotations.get(CONSUMERS_ANNOTATION) if export is not None else None) or meta.annotations.get(
        CONSUMERS_ANNOTATION, ""
    )
    return tuple(sorted({part.strip() for part in said.split(",") if part.strip()}))
