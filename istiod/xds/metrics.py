"""Prometheus metrics of the push path, with Istio's names where Istio's dashboards look for them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from istiod.encode.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET

SHORT = {CLUSTER: "cds", ENDPOINTS: "eds", LISTENER: "lds", ROUTES: "rds", SECRET: "sds"}

PROXIES = Gauge("pilot_xds", "Connected proxies.")
PUSHES = Counter("pilot_xds_pushes", "Responses sent, by type.", ["type"])
REJECTS = Counter("pilot_total_xds_rejects", "Responses that a proxy refused.", ["type"])
ENCODED = Counter("isthmus_resources_encoded", "Resources encoded anew, by type.", ["type"])
CONVERGENCE = Histogram(
    "pilot_proxy_convergence_time",
    "Seconds from a snapshot to the write of its last response.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10, 20, 30),
)
VIEWS = Gauge("isthmus_views", "Classes of proxies with equal configuration.")
