"""What is deployed speaks of flags and metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY
from typer.main import get_command

import eastwest_gateway.main
import eastwest_gateway.metrics
import istiod.main
import istiod.xds.metrics
from istiod.api.telemetry import WorkloadMode
from istiod.resolve.metrics import Traffic, http_metrics, tcp_metrics
from tests.deploy.relabel import relabelled

CALL = Traffic(WorkloadMode.CLIENT)
DEPLOY = Path(__file__).parents[2] / "deploy"
APPS = {"istiod": istiod.main.app, "eastwest-gateway": eastwest_gateway.main.app}


def parameters(name: str) -> dict[str, bool]:
    """The environment variables of a server's `run`, and whether each is needed."""
    command = get_command(APPS[name]).commands["run"]  # type: ignore[attr-defined]
    return {str(item.envvar): item.required for item in command.params if getattr(item, "envvar", None)}


@pytest.mark.parametrize("name", APPS)
def test_units_set_what_is_needed_and_nothing_unknown(name: str) -> None:
    known = parameters(name)
    text = (DEPLOY / f"systemd/{name}.service").read_text() + (DEPLOY / f"systemd/{name}.env.example").read_text()
    given = set(re.findall(r"^(?:Environment=)?(ISTHMUS_\w+)=", text, re.MULTILINE))
    assert given <= known.keys(), given - known.keys()
    assert {variable for variable, needed in known.items() if needed} <= given


def test_alerts_look_at_metrics_that_there_are() -> None:
    assert istiod.xds.metrics.VIEWS is not None
    assert eastwest_gateway.metrics.READY is not None
    exported = {metric.name for metric in REGISTRY.collect()}
    rules = [
        rule
        for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        names = re.findall(r"\b(?:pilot|isthmus)_\w+", rule["expr"])
        assert names, rule["alert"]
        for name in names:
            assert re.sub(r"_(total|bucket|count|sum)$", "", name) in exported, name


def test_metrics_of_proxies_get_istios_names() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus/scrape.yaml").read_text())["scrape_configs"]
    rules = job["metric_relabel_configs"]
    found = relabelled({"__name__": "envoy_istio_requests_total", "destination_app": "", "source_app": "a"}, rules)
    assert (found["__name__"], found["destination_app"], found["source_app"]) == (
        "istio_requests_total",
        "unknown",
        "a",
    )
    others = {"__name__": "envoy_cluster_upstream_rq_total", "cluster_name": "x"}
    assert relabelled(others, rules) == others
    known = {name for log in (*http_metrics(CALL, {}), *tcp_metrics(CALL, {})) for name, _ in log.sink.stats[0].tags}  # type: ignore[union-attr]
    assert {rule["target_label"] for rule in rules} <= {"__name__", *known}
