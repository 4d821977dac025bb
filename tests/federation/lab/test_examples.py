"""The examples of the lab: complete, valid, and with an issuer of their own."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from federation.lab.config import parse_config
from federation.lab.examples import example_config, example_names, write_example
from federation.lab.manifests import render_manifests
from federation.lab.topology import plan_lab
from federation.model.errors import InvalidInput


def claims(token: str) -> dict[str, object]:
    body = token.split(".")[1]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def test_every_example_is_a_lab_and_yaml(tmp_path: Path) -> None:
    for name in example_names():
        plan_lab(example_config(name), "x")
        files = write_example(name, tmp_path / name)
        assert files
        for file in files:
            assert "${" not in file.read_text()
            assert all(
                {"apiVersion", "kind", "metadata", "spec"} == set(item) for item in yaml.safe_load_all(file.read_text())
            )


def test_each_lab_has_an_issuer_of_its_own(tmp_path: Path) -> None:
    write_example("articles", tmp_path / "a")
    write_example("articles", tmp_path / "b")
    assert (tmp_path / "a/jwt.yaml").read_text() != (tmp_path / "b/jwt.yaml").read_text()
    good, expired = (claims((tmp_path / "a" / file).read_text()) for file in ("token", "token-expired"))
    assert good["iss"] == expired["iss"] == "testing@isthmus.example"
    assert good["exp"] > expired["exp"]  # type: ignore[operator]


def test_an_unknown_example_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        example_config("nonsense")
    assert "articles" in caught.value.findings[0].fix


def test_versions_of_an_app_stand_behind_one_service() -> None:
    text = """
workloads: [{name: r1, app: r, version: v1}, {name: r2, app: r, version: v2, clusters: [east]}]
services: [{name: r, workload: r}]
"""
    plan = plan_lab(parse_config(text, "lab.yaml"), "x")
    assert [[pod.name for pod in service.pods] for service in plan.services] == [["east/r1", "east/r2"], ["west/r1"]]
    pods = list(yaml.safe_load_all(render_manifests(plan, "east")["pods.yaml"]))
    assert [(pod["metadata"]["labels"]["app"], pod["metadata"]["labels"]["version"]) for pod in pods] == [
        ("r", "v1"), ("r", "v2"),
    ]  # fmt: skip


def test_versions_with_other_ports_are_refused() -> None:
    text = "workloads: [{name: r1, app: r}, {name: r2, app: r, port: 9000}]\nservices: [{name: r, workload: r}]"
    with pytest.raises(InvalidInput, match="differ in namespace or port"):
        parse_config(text, "lab.yaml")
