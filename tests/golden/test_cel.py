"""What `istiod.api.cel` says of an expression, Envoy says too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.istiod.api.test_cel import REFUSED, TAKEN

ENVOY = Path(sys.executable).parent / "envoy"
PREFIX = "type.googleapis.com/envoy.extensions."
STRICTER = ("it is nested more than", "it is longer than")  # than Envoy, which has bounds of its own


def judged(expressions: tuple[str, ...], directory: Path) -> str:
    """What Envoy has against a listener whose logs have these filters and formats; "" if nothing."""
    if not ENVOY.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "no envoy beside this Python: pip install 'isthmus[lab]'"
        )
    logs = []
    for text in expressions:
        cel = {"@type": f"{PREFIX}access_loggers.filters.cel.v3.ExpressionFilter", "expression": text}
        file = {"@type": f"{PREFIX}access_loggers.file.v3.FileAccessLog", "path": "/dev/null"}
        extension = {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": cel}
        logs.append({"name": "file", "filter": {"extension_filter": extension}, "typed_config": file})
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    proxy = {"@type": f"{PREFIX}filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "x", "cluster": "x"}
    chain = {"filters": [{"name": "proxy", "typed_config": proxy}]}
    listener = {"name": "x", "address": address, "access_log": logs, "filter_chains": [chain]}
    cluster = {"name": "x", "type": "STATIC", "load_assignment": {"cluster_name": "x"}}
    path = directory / "bootstrap.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    command = [ENVOY, "--mode", "validate", "-c", path, "--log-level", "error"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr if done.returncode else ""


def test_what_is_right_is_taken(tmp_path: Path) -> None:
    assert judged(TAKEN, tmp_path) == ""


@pytest.mark.parametrize("text", [text for text, problem in REFUSED if not problem.startswith(STRICTER)])
def test_what_is_wrong_is_refused(text: str, tmp_path: Path) -> None:
    assert "expression" in judged((text,), tmp_path)
