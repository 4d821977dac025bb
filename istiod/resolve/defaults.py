"""What applies where the user is silent: the `resilient` profile (measured, see docs/resilience.md) and Istio's own.

The only place where the numbers of both profiles stand. Durations in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from istiod.resolve.specs.cluster import BreakerSpec, HealthCheckSpec, OutlierSpec
from istiod.resolve.specs.route import RetrySpec

IDEMPOTENT_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")

ISTIO_RETRY = RetrySpec(
    retry_on=("connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"),
    attempts=2,
)
IDEMPOTENT_RETRY = RetrySpec(
    retry_on=(
        "connect-failure",
        "refused-stream",
        "unavailable",
        "cancelled",
        "reset",
        "reset-before-request",
        "gateway-error",
        "retriable-status-codes",
    ),
    attempts=4,
    retriable_status_codes=(503,),
    previous_priorities=1,
    backoff_base=0.01,
    backoff_max=0.05,
)
SAFE_RETRY = RetrySpec(
    retry_on=("connect-failure", "refused-stream", "reset-before-request"),
    attempts=4,
    previous_priorities=1,
    backoff_base=0.01,
    backoff_max=0.05,
)
RESILIENT_OUTLIER = OutlierSpec(
    consecutive_5xx=0,
    consecutive_gateway_failure=3,
    consecutive_local_origin_failure=2,
    split_external_local_origin_errors=True,
    interval=1.0,
    base_ejection_time=5.0,
    max_ejection_time=30.0,
    max_ejection_percent=100,
)
GATEWAY_OUTLIER = OutlierSpec(
    consecutive_gateway_failure=0,
    consecutive_5xx=3,
    consecutive_local_origin_failure=1,
    split_external_local_origin_errors=True,
    interval=1.0,
    base_ejection_time=5.0,
    max_ejection_time=30.0,
    max_ejection_percent=100,
)
SIDECAR_HEALTH_PORT = 15021
# Behind an east-west gateway nothing else notices a pod that is frozen or cut off: the gateway sees bytes, not answers.
SIDECAR_CHECK = HealthCheckSpec(
    "/healthz/ready", interval=1.0, no_traffic_interval=30.0, timeout=1.0, unhealthy_threshold=2, healthy_threshold=1
)


@dataclass(frozen=True, slots=True)
class Profile:
    """The defaults of one profile. `outlier` None = no passive health checking unless asked for.

    Retry specs are for methods that may be repeated and for all others; equal ones need only one route.
    """

    name: str
    connect_timeout: float
    gateway_connect_timeout: float
    outlier: OutlierSpec | None
    retry_idempotent: RetrySpec
    retry_other: RetrySpec
    breakers: BreakerSpec
    panic_threshold: float | None
    update_merge_window: float | None
    ignore_health_on_host_removal: bool
    tcp_connect_attempts: int | None
    gateway_health_check: HealthCheckSpec | None


RESILIENT = Profile(
    name="resilient",
    connect_timeout=0.3,
    gateway_connect_timeout=1.0,
    outlier=RESILIENT_OUTLIER,
    retry_idempotent=IDEMPOTENT_RETRY,
    retry_other=SAFE_RETRY,
    breakers=BreakerSpec(max_retries=100_000),
    panic_threshold=50.0,
    update_merge_window=0.0,
    ignore_health_on_host_removal=True,
    tcp_connect_attempts=3,
    gateway_health_check=SIDECAR_CHECK,
)
ISTIO = Profile(
    name="istio",
    connect_timeout=10.0,
    gateway_connect_timeout=10.0,
    outlier=None,
    retry_idempotent=ISTIO_RETRY,
    retry_other=ISTIO_RETRY,
    breakers=BreakerSpec(),
    panic_threshold=0.0,
    update_merge_window=None,
    ignore_health_on_host_removal=False,
    tcp_connect_attempts=None,
    gateway_health_check=None,
)


def profile(name: str) -> Profile:
    """The profile of `meshConfig.isthmus.defaults`; raises KeyError for another word than resilient or istio."""
    return {"resilient": RESILIENT, "istio": ISTIO}[name]
