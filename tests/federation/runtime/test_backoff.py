"""Pauses grow, stay bounded and start anew."""

from __future__ import annotations

from federation.runtime.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_start_anew() -> None:
    backoff = Backoff(first=1.0, longest=8.0)
    for most in (1, 2, 4, 8, 8, 8):
        assert most / 2 <= backoff.pause() <= most
    backoff.reset()
    assert backoff.pause() <= 1
