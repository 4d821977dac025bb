"""Where a request goes in the end: upstreams with their shares, settings and endpoints. Pure.

Input: names of upstreams out of a route or a TCP proxy, and all specs of the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from federation.model.workload import Health
from istiod.resolve.config import ViewConfig
from istiod.resolve.specs.cluster import ClusterSpec, Discovery
from istiod.resolve.specs.endpoints import EndpointsSpec
from istiod.snapshot import Snapshot
from istiod.why.answer import Cause, Host, Upstream
from istiod.why.causes import of_destination, of_patches
from istiod.why.trail import Trail

BLACK_HOLE = "BlackHoleCluster"


class Upstreams:
    """The upstreams of one view by name."""

    def __init__(self, snapshot: Snapshot, config: ViewConfig) -> None:
        self._snapshot = snapshot
        self._clusters = {spec.name: spec for spec in config.clusters}
        self._endpoints = {spec.name: spec for spec in config.endpoints}

    def follow(self, trail: Trail, targets: Sequence[tuple[str, int]], missing_status: int | None) -> None:
        """Look at each upstream by name and weight; raises if there is none, or none with a usable endpoint.

        `missing_status` is what HTTP callers get for an upstream that does not exist; None for bytes.
        """
        whole = sum(weight for _, weight in targets) or 1
        found = [self._upstream(name, 100 * weight / whole) for name, weight in targets]
        trail.upstreams = (*trail.upstreams, *found)
        for upstream in found:
            trail.add("upstream", self._said(upstream), upstream.causes)
        problems = [self._problem(upstream.name, missing_status) for upstream in found if upstream.percent]
        if problems and all(problems):
            said, status = problems[0] or ("", None)
            raise trail.end("upstream", said, status=status)
        for problem in problems:
            if problem is not None:
                trail.add("upstream", f"the share of it is lost: {problem[0]}")

    def copy(self, trail: Trail, name: str, percent: float) -> None:
        """Look at an upstream that gets copies of requests."""
        found = self._upstream(name, percent, mirror=True)
        trail.upstreams = (*trail.upstreams, found)
        trail.add("mirror", f"a copy of {percent:g} % of the requests goes to {name}", found.causes)

    def _upstream(self, name: str, percent: float, mirror: bool = False) -> Upstream:
        spec = self._clusters.get(name)
        causes: tuple[Cause, ...] = ()
        if spec is not None:
            causes = (*of_destination(self._snapshot, spec.config, spec.subset), *of_patches(spec.patches))
        return Upstream(name, round(percent, 2), mirror, self._hosts(name, spec), causes)

    def _hosts(self, name: str, spec: ClusterSpec | None) -> tuple[Host, ...] | None:
        known = self._endpoints.get(name) if spec is None or spec.endpoints is None else spec.endpoints
        if known is None:
            return () if spec is not None and spec.discovery is Discovery.EDS else None
        return tuple(_hosts(known))

    def _problem(self, name: str, missing_status: int | None) -> tuple[str, int | None] | None:
        """Why no request of an upstream's share arrives, with the status that callers get."""
        spec = self._clusters.get(name)
        if spec is None:
            return f"there is no upstream {name}", missing_status
        if name == BLACK_HOLE:
            return f"{name} leads nowhere: the mesh lets nobody call hosts that it does not know", _unless_bytes(
                503, missing_status
            )
        hosts = self._hosts(name, spec)
        if hosts is not None and not any(host.health != Health.UNHEALTHY.value for host in hosts):
            word = "no endpoints" if not hosts else "no healthy endpoint"
            return f"{name} has {word}", _unless_bytes(503, missing_status)
        return None

    def _said(self, upstream: Upstream) -> str:
        spec = self._clusters.get(upstream.name)
        share = "" if upstream.percent == 100 else f"{upstream.percent:g} % to "
        words = [f"{share}{upstream.name}"]
        if spec is not None:
            words += _settings(spec)
        if upstream.endpoints is not None:
            healthy = sum(host.health != Health.UNHEALTHY.value for host in upstream.endpoints)
            words.append(f"{healthy} of {len(upstream.endpoints)} endpoints usable")
        elif spec is not None:
            words.append(_LOOKED_UP.get(spec.discovery, "no endpoints listed"))
        return ", ".join(words)


_LOOKED_UP = {
    Discovery.ORIGINAL_DST: "to the address that the caller dialled",
    Discovery.DYNAMIC: "to the address that DNS gives for the name asked for",
    Discovery.STATIC: "no endpoints",
}


def _unless_bytes(status: int, missing_status: int | None) -> int | None:
    return None if missing_status is None else status


def _settings(spec: ClusterSpec) -> Iterator[str]:
    if spec.discovery not in (Discovery.ORIGINAL_DST, Discovery.STATIC):
        yield spec.lb.policy.value
    if spec.tls is not None:
        mutual = "mutual TLS" if spec.tls.certificate is not None else "TLS"
        yield f"{mutual} where the endpoint has a sidecar" if spec.auto_mtls else mutual
    elif spec.discovery not in (Discovery.STATIC, Discovery.ORIGINAL_DST):
        yield "plaintext"
    if spec.outlier is not None:
        yield "outlier detection"
    if spec.breakers is not None and spec.breakers.max_connections is not None:
        yield f"at most {spec.breakers.max_connections} connections"


def _hosts(spec: EndpointsSpec) -> Iterable[Host]:
    for locality in spec.localities:
        for endpoint in locality.endpoints:
            where = f"{endpoint.address}:{endpoint.port}" if endpoint.port else endpoint.address
            yield Host(
                where, endpoint.health.value, str(locality.locality), locality.priority, endpoint.weight, endpoint.mtls
            )
