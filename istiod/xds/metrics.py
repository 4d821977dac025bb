"""Prometheus metrics of the push path, with Istio's names where Istio's dashboards look for them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from istiod.encode.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET

SHORT = {CLUSTER: "cds", ENDPOINTS: "eds", LISTENER: "lds", ROUTES: "rds", EXTENSION: "ecds", SECRET: "sds"}

PROXIES = Gauge("pilot_xds", "Connected proxies.")
_PUSHES = Counter("pilot_xds_pushes", "Responses sent, by type.", ["type"])
PUSHES = {url: _PUSHES.labels(short) for url, short in SHORT.items()}
REJECTS = Counter("pilot_total_xds_rejects", "Responses that a proxy refused.", ["type"])
ENCODED = Counter("isthmus_resources_encoded", "Resources encoded anew, by type.", ["type"])
CONVERGENCE = Histogram(
    "pilot_proxy_convergence_time",
    "Seconds from a changed snapshot to the write of the last response that a proxy needed for it.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10, 20, 30),
)
VIEWS = Gauge("isthmus_views", "Classes of proxies with equal configuration.")
RESOLVED = Counter("isthmus_views_resolved", "Classes of proxies whose whole configuration was computed anew.")
