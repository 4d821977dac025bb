"""The whole configuration of one class of proxies, as specs. The entry of the package for the pipeline.

`resolve_view` computes everything for a view; `resolve_endpoints` only the endpoints of one service, for the fast path
of endpoint changes. Both give the same result for the same snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation.model.findings import Finding
from istiod.resolve.specs.cluster import ClusterSpec
from istiod.resolve.specs.endpoints import EndpointsSpec
from istiod.resolve.specs.listener import ListenerSpec
from istiod.resolve.specs.route import RouteConfigSpec


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """All resources of one view, names unique within each tuple. Findings are about policies that could not be followed."""

    clusters: tuple[ClusterSpec, ...]
    endpoints: tuple[EndpointsSpec, ...]
    listeners: tuple[ListenerSpec, ...]
    routes: tuple[RouteConfigSpec, ...]
    findings: tuple[Finding, ...] = ()
