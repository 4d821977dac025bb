"""Reports of control planes -> what is wrong. Pure: the same reports give the same verdict.

A verdict names who observed it. What is late, stale or short of life is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from istiod.debug.report import FederationReport, IstiodReport, Peer, ProxyReport

LATE_SECONDS = 5.0
SENT_LATE_SECONDS = 30.0  # by another cluster's clock, which may differ by some seconds
BEHIND_SECONDS = 2.0  # what is on its way for less is on its way, not stale
LEAST_LIFE = 0.25
CONNECT_SECONDS = 10.0  # after its start all proxies may have come back to a control plane
READY = "ready"
MEMBER = "member"  # others are joining or leaving, and may be silent


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One reason why the mesh is not healthy. `observer` is the cluster (or the address) that said so."""

    observer: str
    object: str
    message: str


def judge(reports: Iterable[IstiodReport], unreachable: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """Everything that makes a federation degraded; empty if it is healthy. `unreachable` are addresses and reasons."""
    found = [Problem(address, "istiod", why) for address, why in (unreachable or {}).items()]
    for report in reports:
        found += [Problem(report.cluster, item, message) for item, message in _problems(report)]
    return tuple(found)


def _problems(report: IstiodReport) -> Iterator[tuple[str, str]]:
    for condition, why in report.waiting_for.items():
        yield "istiod", f"not ready: waits for {condition} ({why})"
    if report.federation is not None:
        yield from _federation_problems(report.federation)
        for peer in report.federation.peers:
            if peer.network and peer.network != report.network and not report.gateways:
                yield from _gateway_problems(peer)
    if _is_short(report.ca_seconds_left, report.ca_life_seconds):
        yield "CA", f"the intermediate CA has {format_left(report.ca_seconds_left)} left"
    if report.unconnected and report.uptime_seconds > CONNECT_SECONDS:
        named = ", ".join(report.unconnected[:5]) + (", …" if len(report.unconnected) > 5 else "")
        count = len(report.unconnected)
        yield "workloads", f"{count} of this cluster, said to be healthy, have no proxy connected: {named}"
    for proxy in report.proxies:
        for message in _proxy_problems(proxy):
            yield f"proxy {proxy.id}", message
    for finding in report.findings:
        if finding.severity == "error":
            yield finding.object, f"{finding.code}: {finding.message}"


def _federation_problems(federation: FederationReport) -> Iterator[tuple[str, str]]:
    store, published = federation.store, federation.published
    if not store.connected:
        age = f", {format_age(store.age_seconds)} old" if store.age_seconds is not None else ""
        yield "store", f"disconnected; what is served of peers is from {store.source}{age}"
    if not published.connected:
        yield "store", f"this cluster's records are not written: {published.error or 'not connected yet'}"
    elif published.heartbeat_age_seconds is None or published.heartbeat_age_seconds > LATE_SECONDS:
        yield "store", f"this cluster's own heartbeat was written {format_age(published.heartbeat_age_seconds)} ago"
    for peer in federation.peers:
        for message in _peer_problems(peer):
            yield f"cluster {peer.cluster}", message


def _peer_problems(peer: Peer) -> Iterator[str]:
    if peer.state != MEMBER:
        return
    if peer.heartbeat_age_seconds is None:
        yield "has never sent a heartbeat"
    elif peer.heartbeat_age_seconds > LATE_SECONDS:
        yield f"no heartbeat for {format_age(peer.heartbeat_age_seconds)}"
    elif (peer.heartbeat_sent_age_seconds or 0) > SENT_LATE_SECONDS:
        sent = format_age(peer.heartbeat_sent_age_seconds)
        yield f"its newest heartbeat was sent {sent} ago by its own clock: it is silent, or the clocks differ"
    if peer.held:
        yield f"its records in the store do not count: {peer.held}"


def _gateway_problems(peer: Peer) -> Iterator[tuple[str, str]]:
    """What stands between us and the services of a peer on another network."""
    if peer.state == MEMBER and peer.services and not any(gateway.state == READY for gateway in peer.gateways):
        last = "; the last known ones are tried" if peer.gateways else ""
        yield f"cluster {peer.cluster}", f"no gateway of it is ready, it exports {peer.services} services{last}"


def _proxy_problems(proxy: ProxyReport) -> Iterator[str]:
    for item in proxy.types:
        if item.refused:
            yield f"refuses {item.type}: {item.refused}"
    if is_stale(proxy):
        waits = "asks for nothing" if not proxy.types else f"has not acknowledged for {proxy.behind_seconds:.1f} s"
        yield f"stale: {waits}"
    if _is_short(proxy.certificate_seconds_left, proxy.certificate_life_seconds):
        yield f"its certificate has {format_left(proxy.certificate_seconds_left)} left"


def is_stale(proxy: ProxyReport) -> bool:
    """Whether a proxy lacks something for longer than a push takes."""
    if not proxy.types:
        return proxy.connected_seconds > BEHIND_SECONDS
    return proxy.behind_seconds > BEHIND_SECONDS


def _is_short(left: float | None, life: float | None) -> bool:
    """Whether less than a quarter of a certificate's life is left, or if the life is unknown, whether it has ended."""
    if left is None:
        return False
    return left < (life or 0.0) * LEAST_LIFE or left <= 0


def format_age(seconds: float | None) -> str:
    """Seconds for people: `0.4s`, `48s`, `12m`, `5.5h`, `3.2d`; `never` for None."""
    if seconds is None:
        return "never"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"


def format_left(seconds: float | None) -> str:
    """Time left for people; `expired` when it is over, `-` for None."""
    if seconds is None:
        return "-"
    return format_age(seconds) if seconds > 0 else "expired"
