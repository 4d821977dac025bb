"""What makes a federation degraded, each on its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from istiod.cli.judge import format_age, format_left, judge
from istiod.debug.report import (
    FederationReport,
    FindingReport,
    Gateway,
    IstiodReport,
    Peer,
    ProxyReport,
    Published,
    Store,
    TypeReport,
)

PEER = Peer("west", "net", state="member", heartbeat_age_seconds=0.4, heartbeat_sent_age_seconds=0.5)
TYPE = TypeReport("clusters", "synced", 3, 3, 0, "")
PROXY = ProxyReport(
    "p1", "p1", "sidecar", "ns", "east", "net", "", "delta", "synced", 60.0, 0.0, 3_000.0, 3_600.0, (TYPE,)
)
FEDERATION = FederationReport("mesh", "east", Store(True, "store", "id", 7, 0.0), Published(True, "", 2, 0.3), (PEER,))
REPORT = IstiodReport("east", "net", "0", 9.0, {}, 3, 1.0, 900.0, 1_000.0, FEDERATION, (), (), (PROXY,), ())


def change(value: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(value, **fields)


def with_peer(**fields: Any) -> IstiodReport:
    return change(REPORT, federation=change(FEDERATION, peers=(change(PEER, **fields),)))


def with_proxy(**fields: Any) -> IstiodReport:
    return change(REPORT, proxies=(change(PROXY, **fields),))


def finding(severity: str) -> FindingReport:
    return FindingReport(severity, "Code", "Service ns/a", "spec", "is wrong", "mend it")


def test_all_is_well() -> None:
    assert judge([REPORT]) == ()


@pytest.mark.parametrize(
    "peer",
    [
        {"network": "far", "services": 2, "gateways": (Gateway("g", "192.0.2.1:15443", "ready"),)},
        {"network": "far", "services": 0},
        {"network": "net", "services": 2},
        {"network": "far", "services": 2, "state": "left"},
    ],
)
def test_who_needs_no_gateway_or_has_one_is_well(peer: dict[str, Any]) -> None:
    assert judge([with_peer(**peer)]) == ()


def test_a_control_plane_alone_is_well() -> None:
    assert judge([change(REPORT, federation=None, ca_seconds_left=None, ca_life_seconds=None)]) == ()


@pytest.mark.parametrize(
    ("report", "item", "words"),
    [
        (change(REPORT, waiting_for={"source files": "not yet"}), "istiod", "waits for source files"),
        (change(REPORT, ca_seconds_left=249.0), "CA", "4.2m left"),
        (change(REPORT, findings=(finding("error"),)), "Service ns/a", "Code: is wrong"),
        (with_peer(network="far", services=2), "cluster west", "no gateway of it is ready, it exports 2 services"),
        (
            with_peer(network="far", services=2, gateways=(Gateway("g", "192.0.2.1:15443", "unready"),)),
            "cluster west",
            "the last known ones are tried",
        ),
        (
            change(REPORT, federation=change(FEDERATION, store=Store(False, "disk", age_seconds=90.0))),
            "store",
            "from disk, 90s old",
        ),
        (change(REPORT, federation=change(FEDERATION, published=Published(False, "denied"))), "store", "denied"),
        (
            change(REPORT, federation=change(FEDERATION, published=Published(True, "", 1, 5.1))),
            "store",
            "own heartbeat was written 5.1s ago",
        ),
        (with_peer(heartbeat_age_seconds=5.1), "cluster west", "no heartbeat for 5.1s"),
        (with_peer(heartbeat_age_seconds=None), "cluster west", "never sent a heartbeat"),
        (with_peer(heartbeat_sent_age_seconds=31.0), "cluster west", "31s ago by its own clock"),
        (with_peer(held="the store holds nothing of it"), "cluster west", "do not count"),
        (
            with_proxy(state="nack", types=(change(TYPE, refused="bad listener"),)),
            "proxy p1",
            "refuses clusters: bad listener",
        ),
        (change(REPORT, unconnected=("web-1.shop",), uptime_seconds=11.0), "workloads", "connected: web-1.shop"),
        (with_proxy(behind_seconds=2.1), "proxy p1", "not acknowledged for 2.1 s"),
        (with_proxy(types=()), "proxy p1", "asks for nothing"),
        (with_proxy(certificate_seconds_left=899.0), "proxy p1", "15.0m left"),
        (with_proxy(certificate_seconds_left=-1.0, certificate_life_seconds=None), "proxy p1", "expired left"),
    ],
)
def test_one_problem(report: IstiodReport, item: str, words: str) -> None:
    (problem,) = judge([report])
    assert (problem.observer, problem.object) == ("east", item)
    assert words in problem.message


@pytest.mark.parametrize(
    "report",
    [
        change(REPORT, findings=(finding("warning"),)),
        change(REPORT, ca_seconds_left=251.0),
        change(REPORT, unconnected=("web-1.shop",), uptime_seconds=9.0),  # they may still be on their way
        with_peer(heartbeat_age_seconds=4.9),
        with_peer(state="joining", heartbeat_age_seconds=None),
        with_proxy(state="stale", behind_seconds=0.5),  # on its way, as after every change
        with_proxy(types=(), connected_seconds=0.1),
        with_proxy(certificate_seconds_left=901.0),
        with_proxy(certificate_seconds_left=None, certificate_life_seconds=None),
    ],
)
def test_no_problem(report: IstiodReport) -> None:
    assert judge([report]) == ()


def test_silent_control_plane_is_a_problem_of_its_address() -> None:
    (problem,) = judge([REPORT], {"unix:/x": "cannot be reached"})
    assert (problem.observer, problem.message) == ("unix:/x", "cannot be reached")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (0.44, "0.4s"), (48.2, "48s"), (720, "12.0m"), (19_800, "5.5h"), (3e5, "3.5d")],
)
def test_ages(seconds: float | None, text: str) -> None:
    assert format_age(seconds) == text


def test_time_left() -> None:
    assert [format_left(value) for value in (None, -3.0, 90.0)] == ["-", "expired", "90s"]
