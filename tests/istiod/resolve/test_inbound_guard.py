"""Policies hold on every port that a sidecar opens, also where no traffic is captured."""

from __future__ import annotations

from typing import Any

import pytest

from istiod.resolve.inbound import inbound_listeners
from istiod.resolve.specs.listener import HttpConnection

SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: own, namespace: apps}}
spec:
  ingress:
  - {{port: {{number: 8080, protocol: {}, name: in}}, bind: 127.0.0.1, captureMode: NONE,
     defaultEndpoint: "127.0.0.1:9"}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: nobody, namespace: apps}}
spec: {{}}
"""


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_a_port_that_a_sidecar_opens_is_guarded(snapshot: Any, view: Any, protocol: str) -> None:
    listeners = inbound_listeners(snapshot(SIDECAR.format(protocol)), view())
    (opened,) = [listener for listener in listeners if listener.name == "127.0.0.1_8080"]
    assert opened.chains
    for chain in opened.chains:
        http = isinstance(chain.handler, HttpConnection)
        spec = chain.handler.authorization if isinstance(chain.handler, HttpConnection) else chain.authorization
        assert http is (protocol == "HTTP")
        assert spec.rules
