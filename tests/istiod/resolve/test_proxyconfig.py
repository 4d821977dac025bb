"""Which ProxyConfig is meant for a workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from federation.model.labels import Labels
from istiod.resolve.proxyconfig import ProxySettings, proxy_settings


def config(name: str, namespace: str, spec: str, created: str = "2024-01-01T00:00:00Z") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: {created}}}
spec: {spec}
"""


ROOT = config(
    "root", "istio-system", "{concurrency: 1, environmentVariables: {A: root, B: root}, image: {imageType: r}}"
)
SPACE = config("space", "apps", "{concurrency: 2, environmentVariables: {A: space, C: space}}")
OWN = config("own", "apps", "{selector: {matchLabels: {app: a}}, concurrency: 0, environmentVariables: {C: own}}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ProxySettings(4, (("M", "mesh"),))),
        (ROOT, ProxySettings(1, (("A", "root"), ("B", "root"), ("M", "mesh")), "r")),
        (SPACE, ProxySettings(2, (("A", "space"), ("C", "space"), ("M", "mesh")))),
        (ROOT + SPACE, ProxySettings(2, (("A", "space"), ("B", "root"), ("C", "space"), ("M", "mesh")), "r")),
        (OWN + SPACE + ROOT, ProxySettings(0, (("A", "space"), ("B", "root"), ("C", "own"), ("M", "mesh")), "r")),
        (OWN.replace("app: a", "app: b"), ProxySettings(4, (("M", "mesh"),))),
        (OWN.replace("apps", "istio-system"), ProxySettings(4, (("M", "mesh"),))),  # selects there only
        (SPACE.replace("apps", "other"), ProxySettings(4, (("M", "mesh"),))),
        (
            SPACE + config("older", "apps", "{concurrency: 9}", "2023-01-01T00:00:00Z"),
            ProxySettings(9, (("M", "mesh"),)),
        ),
    ],
)
def test_the_nearest_counts(snapshot: Callable[..., Any], text: str, expected: ProxySettings) -> None:
    mesh = {"defaultConfig": {"concurrency": 4, "proxyMetadata": {"M": "mesh"}}}
    assert proxy_settings(snapshot(text, **mesh), "apps", Labels({"app": "a"})) == expected


def test_the_root_namespaces_own_proxies(snapshot: Callable[..., Any]) -> None:
    assert proxy_settings(snapshot(ROOT + SPACE), "istio-system", Labels({})).concurrency == 1
