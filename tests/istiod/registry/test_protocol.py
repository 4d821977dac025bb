import pytest

from federation.model.service import Protocol
from istiod.registry.protocol import select_protocol


@pytest.mark.parametrize(
    ("transport", "app_protocol", "name", "port", "expected"),
    [
        ("TCP", None, "http", 80, Protocol.HTTP),
        ("TCP", None, "HTTP2-web", 80, Protocol.HTTP2),
        ("TCP", None, "grpc-web-x", 80, Protocol.GRPC_WEB),
        ("TCP", None, "grpc-api", 80, Protocol.GRPC),
        ("TCP", None, "https", 443, Protocol.HTTPS),
        ("TCP", None, "web", 80, Protocol.AUTO),
        ("TCP", None, "", 3306, Protocol.TCP),
        ("TCP", None, "db", 27017, Protocol.TCP),
        ("TCP", None, "http", 3306, Protocol.HTTP),
        ("UDP", "http", "http", 80, Protocol.UDP),
        ("TCP", None, "udp-x", 80, Protocol.AUTO),
        ("TCP", "grpc", "http", 80, Protocol.GRPC),
        ("TCP", "kubernetes.io/h2c", "tcp", 80, Protocol.HTTP2),
        ("TCP", "kubernetes.io/wss", "tcp", 80, Protocol.HTTPS),
        ("TCP", "acme.example/own", "http", 80, Protocol.AUTO),
        ("TCP", "acme.example/own", "http", 25, Protocol.TCP),
        ("TCP", None, "redis", 6379, Protocol.REDIS),
    ],
)
def test_selection(transport: str, app_protocol: str | None, name: str, port: int, expected: Protocol) -> None:
    assert select_protocol(transport, app_protocol, name, port) is expected
