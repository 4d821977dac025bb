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
