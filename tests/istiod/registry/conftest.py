"""Makes snapshots of YAML, as the files source does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from federation.model.findings import Severity
from federation.model.names import NamespacedName
from federation.table import Peer
from istiod.api.kinds import Kind
from istiod.api.meshconfig import MeshConfig, MeshNetworks
from istiod.api.parse import parse_documents
from istiod.events import MESH_KEY, Upsert
from istiod.registry.contribution import Place
from istiod.snapshot import Snapshot, SnapshotBuilder
from istiod.store import Store


@pytest.fixture
def build() -> Callable[..., Snapshot]:
    """The snapshot of some YAML in cluster `east`, network `net-east`; every document must be accepted."""

    def make(
        text: str,
        mesh: dict[str, Any] | None = None,
        networks: dict[str, Any] | None = None,
        peers: Iterable[Peer] = (),
        ledger: dict[str, str] | None = None,
    ) -> Snapshot:
        parsed = parse_documents(text, "test.yaml")
        assert not [finding for finding in parsed.findings if finding.severity is Severity.ERROR]
        store = Store()
        store.apply(Upsert(Kind(item.kind), item.meta.key, item) for item in parsed.objects)
        store.apply(Upsert(Kind.PEER, NamespacedName("", peer.cluster), peer) for peer in peers)
        if mesh is not None:
            store.apply([Upsert(Kind.MESH_CONFIG, MESH_KEY, MeshConfig.model_validate(mesh))])
        if networks is not None:
            value = MeshNetworks.model_validate({"networks": networks})
            store.apply([Upsert(Kind.MESH_NETWORKS, MESH_KEY, value)])
        return SnapshotBuilder(Place("east", "net-east"), ledger).build(store.tables())

    return make
