"""How a workload's proxy is to be started: the ProxyConfig that is for it, over those that are for more. Pure.

Rules: ProxyConfig reference. A field is taken from the first of these that has it: the ProxyConfig that selects the
workload, its namespace's, the root namespace's, MeshConfig's `defaultConfig`. At each level the oldest counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from federation.model.labels import Labels
from istiod.api.kinds import Kind
from istiod.api.proxyconfig import ProxyConfig
from istiod.resolve.objects import table_of, valid_objects
from istiod.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What starts a proxy. `concurrency` 0 = a thread for each core, None = nothing is said."""

    concurrency: int | None = None
    environment: tuple[tuple[str, str], ...] = ()
    image_type: str = ""


def proxy_settings(snapshot: Snapshot, namespace: str, labels: Labels) -> ProxySettings:
    """The settings of a workload's proxy; variables of all levels add up, the nearer wins for each."""
    concurrency = snapshot.mesh.default_config.concurrency
    environment: dict[str, str] = dict(snapshot.mesh.default_config.proxy_metadata)
    image = ""
    for config in _levels(snapshot, namespace, labels):
        concurrency = config.concurrency if config.concurrency is not None else concurrency
        environment.update(config.environment_variables)
        image = (config.image.image_type if config.image is not None else "") or image
    return ProxySettings(concurrency, tuple(sorted(environment.items())), image)


def _levels(snapshot: Snapshot, namespace: str, labels: Labels) -> Sequence[ProxyConfig]:
    """Those that count, the widest first."""
    root = snapshot.mesh.root_namespace
    levels: dict[int, ProxyConfig] = {}
    for item in valid_objects(table_of(snapshot, Kind.PROXY_CONFIG), ProxyConfig):
        selector = item.spec.selector.all_labels if item.spec.selector is not None else {}
        if selector and item.meta.namespace == namespace and labels.selected_by(selector):
            levels.setdefault(2, item.spec)
        elif not selector and item.meta.namespace == namespace:
            levels.setdefault(1 if namespace != root else 0, item.spec)
        elif not selector and item.meta.namespace == root:
            levels.setdefault(0, item.spec)
    return [levels[level] for level in sorted(levels)]
