"""The figures of a load run."""

from __future__ import annotations

import pytest

from federation.lab.client import Exchange
from federation.lab.report import Failure, percentile, summarize


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 5.0), (90, 9.0), (91, 10.0), (100, 10.0)])
def test_percentile_is_nearest_rank(percent: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 11)], percent) == value


def test_percentile_of_nothing() -> None:
    assert percentile([], 99) == 0.0


def test_summary() -> None:
    good = [Exchange(100.0 + n, 0.010, 200, "", "east", "a") for n in range(8)]
    bad = [
        Exchange(103.0, 0.5, 503, "status 503"),
        Exchange(105.0, 0.5, 503, "status 503"),
        Exchange(104.0, 1.0, 0, "reset"),
    ]
    report = summarize("http://x/", [*good, *bad], [0.001] * 11, 11.0, 0.5)
    assert (report.requests, report.ok, report.failed, report.rps) == (11, 8, 3, 1.0)
    assert report.failures == (Failure("status 503", 2, 3.0, 5.0), Failure("reset", 1, 4.0, 4.0))
    assert report.pods == {"east/a": 8}
    assert report.statuses == {"200": 8, "503": 2, "none": 1}
    assert report.latency_ms["p50"] == 10.0
    assert report.latency_ms["max"] == 1000.0
    assert report.lateness_ms == 1.0


def test_redirects_are_answers_and_errors_are_not() -> None:
    assert Exchange(0, 0, 302).ok
    assert not Exchange(0, 0, 404, "status 404").ok
    assert not Exchange(0, 0, 0, "connect: refused").ok
