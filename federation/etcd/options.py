"""How to reach the store: endpoints, TLS, credentials, deadlines. Values only; nothing is opened here.

Certificates are given as files, which are read again when a connection fails (they renew themselves), or as PEM bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity

Pem = Path | bytes


@dataclass(frozen=True, slots=True)
class Options:
    """Where the store is and who we are. Times are seconds.

    `endpoints` are "host:port" or URLs, members of one store; a URL's scheme must fit the presence of TLS settings.
    With `cert` and `key` etcd may take the certificate's common name as the user; `user` and `password` log in for a
    token.

    A server that stops answering is noticed after about `keepalive_time + keepalive_timeout`. etcd drops clients that
    ping more often than its `--grpc-keepalive-min-time` (5 s), or at all without a call in flight: hence the defaults.
    """

    endpoints: tuple[str, ...]
    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    dial_timeout: float = 3.0
    request_timeout: float = 5.0
    retry_for: float = 10.0
    keepalive_time: float = 6.0
    keepalive_timeout: float = 3.0
    keepalive_without_calls: bool = False

    def __post_init__(self) -> None:
        findings = [_bad_endpoint(endpoint) for endpoint in self.endpoints if ":" not in target(endpoint)]
        if not self.endpoints:
            findings.append(_finding("endpoints", "there is none", "name at least one host:port"))
        if (self.cert is None) != (self.key is None):
            findings.append(_finding("cert", "certificate and key belong together", "give both or none"))
        if self.tls and any(endpoint.startswith("http://") for endpoint in self.endpoints):
            findings.append(_finding("endpoints", "http:// together with TLS", "use https://"))
        if findings:
            raise InvalidInput(findings)

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return bool(self.ca or self.cert) or any(endpoint.startswith("https://") for endpoint in self.endpoints)


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the TLS settings hold at one moment. An absent CA means the roots that gRPC ships."""

    ca: bytes | None
    cert: bytes | None
    key: bytes | None = field(repr=False)


def read_tls(options: Options) -> TlsMaterial | None:
    """The TLS settings' content now, None without TLS. Raises InvalidInput when a file cannot be read."""
    if not options.tls:
        return None
    return TlsMaterial(_read(options.ca), _read(options.cert), _read(options.key))


def target(endpoint: str) -> str:
    """The "host:port" of an endpoint."""
    return endpoint.split("://", 1)[-1].rstrip("/")


def channel_arguments(options: Options) -> list[tuple[str, int]]:
    """gRPC's settings for one connection."""
    return [
        ("grpc.max_receive_message_length", -1),  # a replay of history comes as one message, of any size
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", _ms(options.keepalive_time)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout)),
        # Without this one a frozen server is noticed after more than a minute, whatever keepalive says.
        ("grpc.http2.ping_timeout_ms", _ms(options.keepalive_timeout)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", int(options.keepalive_without_calls)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.min_reconnect_backoff_ms", _ms(options.dial_timeout)),  # in truth the time a connect may take
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]


def _read(pem: Pem | None) -> bytes | None:
    if not isinstance(pem, Path):
        return pem
    try:
        return pem.read_bytes()
    except OSError as error:
        raise InvalidInput([_finding(str(pem), f"cannot be read: {error.strerror}", "check path and mode")]) from error


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _bad_endpoint(endpoint: str) -> Finding:
    return _finding("endpoints", f"{endpoint!r} has no port", "write host:port")


def _finding(path: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "EtcdOptions", "etcd options", path, message, fix)
