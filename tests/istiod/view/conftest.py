"""Snapshots of YAML for tests of views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from federation.model.findings import Severity
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig
from istiod.api.parse import parse_documents
from istiod.events import MESH_KEY, Upsert
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store


@pytest.fixture
def build() -> Callable[..., Snapshot]:
    """The snapshot of some YAML; every document must be accepted, if `valid`. Keywords are fields of MeshConfig."""

    def make(text: str, valid: bool = True, **mesh: Any) -> Snapshot:
        parsed = parse_documents(text, "test.yaml")
        if valid:
            assert not [finding for finding in parsed.findings if finding.severity is Severity.ERROR]
        store = Store()
        store.apply(Upsert(Kind(item.kind), item.meta.key, item) for item in parsed.objects)
        store.apply([Upsert(Kind.MESH_CONFIG, MESH_KEY, MeshConfig.model_validate(mesh))])
        return SnapshotBuilder(Place("east", "net-east")).build(store.tables())

    return make
