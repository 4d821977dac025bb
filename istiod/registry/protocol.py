"""Which protocol a port speaks, from what its owner wrote. Rule: Istio's "Protocol Selection" page."""

from __future__ import annotations

from federation.model.service import Protocol

_WORDS = {
    "tcp": Protocol.TCP,
    "udp": Protocol.UDP,
    "grpc": Protocol.GRPC,
    "grpc-web": Protocol.GRPC_WEB,
    "http": Protocol.HTTP,
    "http_proxy": Protocol.HTTP_PROXY,
    "http2": Protocol.HTTP2,
    "https": Protocol.HTTPS,
    "tls": Protocol.TLS,
    "mongo": Protocol.MONGO,
    "redis": Protocol.REDIS,
    "mysql": Protocol.MYSQL,
}
# Kubernetes' own words, only meant in `appProtocol`.
_KUBERNETES = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
# Servers on these ports speak first, so waiting for the client's bytes would hang.
_SERVER_FIRST = frozenset({25, 53, 3306, 27017})


def protocol_word(word: str) -> Protocol | None:
    """The protocol of a word such as `HTTP` or `grpc-web`, in any case; None if it is unknown."""
    return _WORDS.get(word.lower())


def select_protocol(transport: str, app_protocol: str | None, name: str, port: int) -> Protocol:
    """The protocol of a Kubernetes service port: UDP, else `appProtocol`, else the port's name, else detected."""
    if transport.upper() == "UDP":
        return Protocol.UDP
    if app_protocol in _KUBERNETES:
        return _KUBERNETES[app_protocol]
    word = (app_protocol or name).lower()
    found = Protocol.GRPC_WEB if word.startswith("grpc-web") else protocol_word(word.partition("-")[0])
    # A word that contradicts the transport says nothing.
    if found is not None and found is not Protocol.UDP:
        return found
    return Protocol.TCP if port in _SERVER_FIRST else Protocol.AUTO
