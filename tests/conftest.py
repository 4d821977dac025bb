"""What any test may need of the machine. A part that is absent skips a test with a word on how to get it; in CI it
fails.
"""

from __future__ import annotations

import os

import pytest

from federation.lab import netns
from federation.model.errors import InvalidInput


@pytest.fixture(scope="session")
def machine() -> None:
    """A machine on which namespaces can be made; skips elsewhere, fails in CI."""
    try:
        netns.check_machine()
    except InvalidInput as wrong:
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent(str(wrong))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever makes namespaces runs in one worker, one after the other: there requests are counted and delays
    measured.
    """
    for item in items:
        if "machine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("labs"))
