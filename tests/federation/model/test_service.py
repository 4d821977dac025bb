import pytest

from federation.model.labels import Labels
from federation.model.names import ServiceKey
from federation.model.service import Origin, Protocol, Resolution, Service, ServicePort
from federation.model.workload import Endpoint


@pytest.mark.parametrize("protocol", list(Protocol))
def test_every_protocol_is_of_one_nature(protocol: Protocol) -> None:
    natures = [protocol.is_http, protocol.is_tcp, protocol in (Protocol.AUTO, Protocol.UDP)]
    assert natures.count(True) == 1
    assert not protocol.is_http2 or protocol.is_http
    assert not protocol.is_tls or protocol.is_tcp


def test_natures() -> None:
    assert {p for p in Protocol if p.is_http2} == {Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB}
    assert {p for p in Protocol if p.is_tls} == {Protocol.HTTPS, Protocol.TLS}


def test_a_port_is_found_by_its_number() -> None:
    http = ServicePort(80, "http", Protocol.HTTP, 8080)
    key = ServiceKey("echo.shop.svc.cluster.local", "shop")
    service = Service(key, "echo", (http,), Resolution.ENDPOINTS, Origin.KUBERNETES)
    assert service.port(80) is http
    assert service.port(8080) is None
    assert (service.host, service.namespace) == (key.host, key.namespace)


def test_an_endpoint_says_its_port_by_the_service_ports_name() -> None:
    endpoint = Endpoint("10.0.0.1", (("http", 8080), ("tcp", 9000)), labels=Labels({"app": "echo"}))
    assert endpoint.port("tcp") == 9000
    assert endpoint.port("none") == 0
    assert endpoint == Endpoint("10.0.0.1", (("http", 8080), ("tcp", 9000)), labels=Labels({"app": "echo"}))
