"""Endpoints -> ClusterLoadAssignment."""

from __future__ import annotations

from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from federation.model.workload import Health
from istiod.encode.cache import encoded
from istiod.encode.resource import ENDPOINTS, Resource, frame_resource
from istiod.encode.wire import socket_address
from istiod.resolve.specs.endpoints import EndpointSpec, EndpointsSpec
from istiod.resolve.specs.telemetry import PEER_METADATA, Fact

_HEALTH = {
    Health.HEALTHY: HealthStatus.UNKNOWN,
    Health.UNHEALTHY: HealthStatus.UNHEALTHY,
    Health.DRAINING: HealthStatus.DRAINING,
}


@encoded(20_000)
def encode_endpoints(spec: EndpointsSpec) -> Resource:
    """The endpoints of one upstream as a resource."""
    return frame_resource(ENDPOINTS, spec.name, assignment(spec).SerializeToString(deterministic=True))


def assignment(spec: EndpointsSpec) -> ClusterLoadAssignment:
    """The message itself, also for upstreams with inline endpoints."""
    result = ClusterLoadAssignment(cluster_name=spec.name)
    for group in spec.localities:
        locality = result.endpoints.add(priority=group.priority)
        place = group.locality
        locality.locality.SetInParent()  # gRPC clients refuse groups without one, be it empty
        if place.region or place.zone or place.subzone:
            locality.locality.region = place.region
            locality.locality.zone = place.zone
            locality.locality.sub_zone = place.subzone
        if group.weight is not None:
            locality.load_balancing_weight.value = group.weight
        for endpoint in group.endpoints:
            locality.lb_endpoints.add().MergeFromString(_lb_endpoint(endpoint))
    if spec.overprovisioning_factor is not None:
        result.policy.overprovisioning_factor.value = spec.overprovisioning_factor
    if spec.drop_overload_percent is not None:
        drop = result.policy.drop_overloads.add(category="overload")
        drop.drop_percentage.numerator = spec.drop_overload_percent
    return result


@encoded(50_000)
def _lb_endpoint(spec: EndpointSpec) -> bytes:
    result = LbEndpoint(health_status=_HEALTH[spec.health])
    result.endpoint.address.CopyFrom(socket_address(spec.address, spec.port))
    if spec.health_check_port:
        result.endpoint.health_check_config.port_value = spec.health_check_port
    result.load_balancing_weight.value = spec.weight or 1
    if spec.mtls:
        result.metadata.filter_metadata["envoy.transport_socket_match"].fields["tlsMode"].string_value = "istio"
    if spec.workload:
        result.metadata.filter_metadata["istio"].fields["workload"].string_value = spec.workload
    for fact, value in zip(Fact, spec.facts, strict=False):
        result.metadata.filter_metadata[PEER_METADATA].fields[fact].string_value = value
    return result.SerializeToString(deterministic=True)
