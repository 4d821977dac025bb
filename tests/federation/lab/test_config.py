"""lab.yaml says all that is wrong at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation.lab.config import MAX_CONFIG_BYTES, LabConfig, default_config, load_config, parse_config
from federation.model.errors import InvalidInput


def test_nothing_said_is_the_default() -> None:
    assert parse_config("", "lab.yaml") == LabConfig()
    assert [c.name for c in default_config(5).clusters] == ["east", "west", "north", "south", "cluster-5"]
    assert default_config(3).services[1].clusters == ("north",)


def test_names_are_filled_in() -> None:
    config = parse_config("clusters: [{name: a}, {name: b, network: n, region: r}]\nservices: []", "lab.yaml")
    assert [(c.network, c.region) for c in config.clusters] == [("net-a", "region-a"), ("n", "r")]


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("colour: red", "colour", "Extra inputs"),
        ("clusters: [{name: a, gateways: -1}]", "clusters.0.gateways", "greater than"),
        ("clusters: [{name: A}]", "clusters.0.name", "match pattern"),
        ("clusters: [{name: a}, {name: a}]\nservices: []", "", "cluster 'a' is there twice"),
        ("clusters: [{name: etcd}]\nservices: []", "", "the name is taken"),
        ("services: [{name: s, workload: nobody}]", "", "names workload 'nobody'"),
        ("services: [{name: s, workload: client}]", "", "has no port"),
        ("services: [{name: s, workload: echo, clusters: [mars]}]", "", "names cluster 'mars'"),
        (
            "workloads: [{name: a, replicas: 100}, {name: b, replicas: 100}, {name: c}]\nservices: []",
            "",
            "has 201 pods",
        ),
        ("a: [", "", "is no YAML"),
        ("x" * (MAX_CONFIG_BYTES + 1), "", "bytes"),
    ],
)
def test_mistakes(text: str, path: str, message: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        parse_config(text, "lab.yaml")
    found = wrong.value.findings
    assert [f.path for f in found] == [path]
    assert message in found[0].message


def test_all_mistakes_at_once() -> None:
    with pytest.raises(InvalidInput) as wrong:
        parse_config("mesh: X\ndefaults: none\nclusters: [{name: a, zones: 1}]", "lab.yaml")
    assert {f.path for f in wrong.value.findings} == {"mesh", "defaults", "clusters.0.zones"}


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")
