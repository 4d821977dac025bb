"""Prometheus metrics of the supervisor; Envoy's own are on its stats port (15090)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

READY = Gauge("isthmus_gateway_ready", "Whether Envoy is ready to take traffic.")
ANNOUNCED = Gauge(
    "isthmus_gateway_announced", "Whether the shared store holds this gateway's record under a live lease."
)
STARTS = Counter("isthmus_gateway_envoy_starts", "How often Envoy was started.")
