"""Where logs go."""

from __future__ import annotations

import io
import json
import sys

import pytest
import structlog

from federation.runtime import log as logs


def test_a_logger_outlives_the_stream_that_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = structlog.get_logger("test")
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    logs.configure("info", json=True)
    logger.info("one", number=1)
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    logger.info("two")
    assert json.loads(second.getvalue())["event"] == "two"
    structlog.reset_defaults()
