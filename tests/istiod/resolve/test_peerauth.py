"""PeerAuthentication: precedence, ports, ties, and policies that cannot be read."""

from __future__ import annotations

import pytest

from federation.model.labels import Labels
from federation.model.service import Resolution
from federation.model.workload import Endpoint
from istiod.resolve.clusters import cluster_of
from istiod.resolve.endpoints import takes_mutual_tls, upstreams_of
from istiod.resolve.peerauth import MtlsMode, mtls_mode
from tests.istiod.resolve.conftest import HTTP, service

POLICY = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}"}}
spec: {spec}
"""


def policy(namespace: str, spec: str, name: str = "default", created: str = "2024-01-01T00:00:00Z") -> str:
    return POLICY.format(namespace=namespace, spec=spec, name=name, created=created) + "---"


def test_without_a_policy_both_are_taken(snapshot):
    assert mtls_mode(snapshot(), "apps", {}, 8080) is MtlsMode.PERMISSIVE


@pytest.mark.parametrize(
    ("labels", "namespace", "port", "mode"),
    [
        ({}, "elsewhere", 80, MtlsMode.STRICT),
        ({}, "apps", 80, MtlsMode.DISABLE),
        ({"app": "b"}, "apps", 80, MtlsMode.STRICT),
        ({"app": "b"}, "apps", 8081, MtlsMode.PERMISSIVE),
        ({"app": "b"}, "apps", 8082, MtlsMode.STRICT),
        ({"app": "b"}, "other", 80, MtlsMode.STRICT),
    ],
)
def test_nearest_policy_wins(snapshot, labels, namespace, port, mode):
    world = snapshot(
        policy("istio-system", "{mtls: {mode: STRICT}}")
        + policy("apps", "{mtls: {mode: DISABLE}}")
        + policy(
            "apps",
            "{selector: {matchLabels: {app: b}}, mtls: {mode: STRICT}, "
            "portLevelMtls: {8081: {mode: PERMISSIVE}, 8082: {mode: UNSET}}}",
            "b",
        )
        + policy("other", "{mtls: {mode: UNSET}}")
    )
    assert mtls_mode(world, namespace, labels, port) is mode


def test_of_two_policies_at_one_level_the_older_holds(snapshot):
    world = snapshot(
        policy("apps", "{mtls: {mode: DISABLE}}", "a-new", "2025-01-01T00:00:00Z")
        + policy("apps", "{mtls: {mode: STRICT}}", "z-old", "2023-01-01T00:00:00Z")
    )
    assert mtls_mode(world, "apps", {}, 80) is MtlsMode.STRICT


def test_a_policy_that_cannot_be_read_closes_what_it_selects_and_nothing_else(snapshot):
    world = snapshot(
        policy("apps", "{selector: {matchLabels: {app: b}}, mtls: {mode: LAX}}", "broken", "2025-01-01T00:00:00Z")
        + policy("apps", "{selector: {matchLabels: {app: b}}, mtls: {mode: DISABLE}}", "older", "2020-01-01T00:00:00Z")
    )
    assert mtls_mode(world, "apps", {"app": "b"}, 80) is MtlsMode.STRICT
    assert mtls_mode(world, "apps", {"app": "c"}, 80) is MtlsMode.PERMISSIVE


@pytest.mark.parametrize(
    ("spec", "resolution", "spoken"),
    [
        ("{mtls: {mode: DISABLE}}", Resolution.ENDPOINTS, False),
        ("{mtls: {mode: DISABLE}}", Resolution.PASSTHROUGH, False),
        ("{mtls: {mode: STRICT}}", Resolution.ENDPOINTS, True),
        ("{mtls: {mode: STRICT}}", Resolution.PASSTHROUGH, True),
    ],
)
def test_callers_speak_mutual_tls_where_the_namespace_does_whatever_single_workloads_want(
    snapshot, view, spec, resolution, spoken
):
    members = service("c", "other", ports=(HTTP,), resolution=resolution)
    labels = Labels({"app": "c"})
    endpoint = Endpoint("10.0.0.3", (("http", 8080),), labels=labels, namespace="other", mtls=True)
    only_here = policy("other", "{selector: {matchLabels: {app: c}}, portLevelMtls: {8080: {mode: STRICT}}}", "c")
    world = snapshot(policy("other", spec) + only_here, services=[members], endpoints={members.key: (endpoint,)})
    (upstream,) = upstreams_of(world, view(), members)
    cluster = cluster_of(world, view(), upstream)
    by_endpoint = takes_mutual_tls(world, None, members, endpoint, 8080)
    assert (by_endpoint if cluster.auto_mtls else cluster.tls is not None) is spoken
