from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from istiod.cli.main import app

GOOD = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
"""
OTHER = GOOD.replace("name: a,", "name: b,")  # of the same virtual address
BAD = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [a], http: [{retries: {attempts: many}}]}
"""


def analyze(directory: Path) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["analyze", str(directory), "-o", "json"])
    return result.exit_code, json.loads(result.stdout)


def test_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    assert analyze(tmp_path) == (0, [])


def test_error_of_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD + "---" + BAD)
    code, findings = analyze(tmp_path)
    assert code == 1
    assert {"VirtualService shop/v"} == {finding["object"] for finding in findings if finding["severity"] == "error"}


def test_conflict_between_objects(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(OTHER)
    assert analyze(tmp_path)[1]


def test_findings_that_only_a_proxy_s_configuration_shows(tmp_path: Path) -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop}
spec: {hosts: [a], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: a}}]}]}
"""
    (tmp_path / "a.yaml").write_text(GOOD + "---" + rule)
    assert any(finding["code"] == "FieldNotSupported" for finding in analyze(tmp_path)[1])


@pytest.mark.parametrize("words", [["analyze", "/no/such/directory"], ["analyze"]])
def test_wrong_usage(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2
