"""ProxyConfig: what is taken, and what exactly is said of everything else."""

from __future__ import annotations

from typing import Any

import pytest

from istiod.api.meta import Object
from istiod.api.parse import parse_object
from istiod.api.proxyconfig import ProxyConfig


def parse(spec: Any) -> tuple[ProxyConfig | None, list[tuple[str, str, str, str]]]:
    document = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "ProxyConfig",
        "metadata": {"name": "p"},
        "spec": spec,
    }
    item, findings = parse_object(document, "test.yaml")
    found = item.spec if isinstance(item, Object) else None
    return found, [(one.severity.name, one.code, one.path, one.message) for one in findings]


def test_every_field_is_read() -> None:
    spec = {
        "selector": {"matchLabels": {"app": "ratings"}},
        "concurrency": 0,
        "environmentVariables": {"ISTIO_META_X": "1"},
        "image": {"imageType": "debug"},
    }
    config, findings = parse(spec)
    assert findings == []
    assert config is not None
    assert config.concurrency == 0
    assert config.environment_variables == {"ISTIO_META_X": "1"}
    assert config.image is not None
    assert config.image.image_type == "debug"
    assert parse({}) == (ProxyConfig(), [])


@pytest.mark.parametrize(
    ("spec", "code", "path", "message"),
    [
        ({"concurrency": -1}, "InvalidValue", "spec.concurrency", "-1: input should be greater than or equal to 0"),
        ({"concurrency": 2000}, "InvalidValue", "spec.concurrency", "2000: input should be less than or equal to 1024"),
        ({"concurrency": "many"}, "InvalidValue", "spec.concurrency",
         "'many': input should be a valid integer, unable to parse string as an integer"),
        ({"concurrency": 1.5}, "InvalidValue", "spec.concurrency",
         "1.5: input should be a valid integer, got a number with a fractional part"),
        ({"environmentVariables": {"A": 1}}, "InvalidValue", "spec.environmentVariables.A", "1 is no text"),
        ({"environmentVariables": {"A": True}}, "InvalidValue", "spec.environmentVariables.A", "True is no text"),
        ({"environmentVariables": {"1A": "x"}}, "InvalidValue", "spec.environmentVariables.1A",
         "is no name of a variable"),
        ({"environmentVariables": {"": "x"}}, "InvalidValue", "spec.environmentVariables.", "is no name of a variable"),
        ({"environmentVariables": {"A=B": "x"}}, "InvalidValue", "spec.environmentVariables.A=B",
         "is no name of a variable"),
        ({"environmentVariables": ["A=B"]}, "InvalidValue", "spec.environmentVariables", "a list is no mapping"),
        ({"image": "debug"}, "InvalidValue", "spec.image", "'debug' is no mapping"),
        ({"image": {"type": "debug"}}, "UnknownField", "spec.image.type", "is no field"),
        ({"image": {"imageType": "a b"}}, "InvalidValue", "spec.image.imageType", "'a b' is no part of an image's tag"),
        ({"image": {"imageType": 3}}, "InvalidValue", "spec.image.imageType", "3 is no text"),
        ({"selector": {"labels": {"app": "a"}}}, "UnknownField", "spec.selector.labels", "is no field"),
        ({"selector": {"matchLabels": {"app": "*"}}}, "InvalidValue", "spec.selector.matchLabels.app",
         "has a wildcard, which labels do not know"),
        ({"selector": {"matchLabels": {"": "a"}}}, "InvalidValue", "spec.selector.matchLabels", "has an empty key"),
        ({"targetRefs": []}, "UnknownField", "spec.targetRefs", "is no field"),
        ({"holdApplicationUntilProxyStarts": True}, "UnknownField", "spec.holdApplicationUntilProxyStarts",
         "is no field"),
    ],
)  # fmt: skip
def test_errors(spec: Any, code: str, path: str, message: str) -> None:
    config, findings = parse(spec)
    assert config is None
    assert findings == [("ERROR", code, path, message)]
