"""Gateway: ports and hosts at an edge of the mesh."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from federation.model.findings import Severity
from istiod.api.fields import Model, Port
from istiod.api.problems import Problem, check_distinct
from istiod.api.rules.values import is_host, is_ip, is_label, is_socket


class GatewayTLSMode(StrEnum):
    """What a server does with TLS."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class TLSProtocol(StrEnum):
    """Versions of TLS."""

    TLS_AUTO = "TLS_AUTO"
    TLSV1_0 = "TLSV1_0"
    TLSV1_1 = "TLSV1_1"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class GatewayPort(Model):
    """The port of a server; number 0 with a unix socket as `bind`."""

    number: Annotated[int, Field(ge=0, le=65535)]
    protocol: str
    name: str = ""
    target_port: Port | None = None


class TLSCertificate(Model):
    """A certificate by files."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Model):
    """TLS of a server."""

    https_redirect: bool = False
    mode: GatewayTLSMode = GatewayTLSMode.PASSTHROUGH
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    ca_cert_credential_name: str = ""
    credential_name: str = ""
    credential_names: tuple[str, ...] = ()
    tls_certificates: tuple[TLSCertificate, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    max_protocol_version: TLSProtocol = TLSProtocol.TLS_AUTO
    cipher_suites: tuple[str, ...] = ()
    insecure_skip_verify: bool | None = None


class Server(Model):
    """One port and its hosts (`namespace/host` or `host`)."""

    port: GatewayPort
    bind: str = ""
    hosts: tuple[str, ...] = ()
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class Gateway(Model):
    """networking.istio.io Gateway."""

    servers: tuple[Server, ...] = ()
    selector: dict[str, str] = {}


# What Envoy accepts of the suites that Istio knows; those of TLS 1.3 cannot be chosen.
CIPHER_SUITES = frozenset(
    {
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-PSK-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "ECDHE-PSK-AES256-CBC-SHA",
        "AES256-SHA",
        "PSK-AES256-CBC-SHA",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-PSK-AES128-CBC-SHA",
        "AES128-SHA",
        "PSK-AES128-CBC-SHA",
        "DES-CBC3-SHA",
    }
)
PROTOCOLS = frozenset({"HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS", "MYSQL", "REDIS"})


# 64 hexadecimal digits, maybe in pairs with colons; 32 bytes in base64.
_HEX_HASH = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){31}")
_BASE64_HASH = re.compile(r"[A-Za-z0-9+/]{43}=")


_PLAIN_HTTP = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB")
MAX_CERTIFICATES = 2
NO_TLS_1_2 = (TLSProtocol.TLSV1_0, TLSProtocol.TLSV1_1)


def validate(gateway: Gateway) -> Iterator[Problem]:
    """Istio's rules for Gateway beyond types."""
    if not gateway.servers:
        yield Problem("spec.servers", "is empty", "list at least one server")
    names = ((f"spec.servers[{index}].port.name", server.port.name) for index, server in enumerate(gateway.servers))
    yield from check_distinct(names, "port name")
    for index, server in enumerate(gateway.servers):
        yield from _server(server, f"spec.servers[{index}]")


def _server(server: Server, path: str) -> Iterator[Problem]:
    protocol = server.port.protocol.upper()
    if protocol not in PROTOCOLS:
        yield Problem(
            f"{path}.port.protocol",
            f"{server.port.protocol!r} is unknown",
            f"use one of {', '.join(sorted(PROTOCOLS))}",
        )
    if not server.port.name:
        yield Problem(f"{path}.port.name", "is missing", "name the port, each in another way", "MissingField")
    yield from _place(server, path)
    if not server.hosts:
        yield Problem(f"{path}.hosts", "is empty", "list hosts, or '*'")
    for index, host in enumerate(server.hosts):
        yield from _host(host, f"{path}.hosts[{index}]")
    if protocol in ("HTTPS", "TLS") and server.tls is None:
        yield Problem(f"{path}.tls", f"is missing on a port of protocol {protocol}", "give tls.mode and a certificate")
    if server.tls is not None:
        if server.tls.https_redirect and protocol not in _PLAIN_HTTP:
            message, fix = f"is given on a port of protocol {protocol}, where nothing is redirected", "remove it"
            yield Problem(f"{path}.tls.httpsRedirect", message, fix, severity=Severity.WARNING)
        if protocol not in ("HTTPS", "TLS", *_PLAIN_HTTP) and protocol in PROTOCOLS:
            yield Problem(f"{path}.tls", f"is given on a port of protocol {protocol}", "use protocol TLS")
        yield from check_server_tls(server.tls, protocol, f"{path}.tls")


def _place(server: Server, path: str) -> Iterator[Problem]:
    """An address with a port, or a socket in place of both."""
    number = f"{path}.port.number"
    if is_socket(server.bind):
        if server.port.number:
            yield Problem(number, f"is {server.port.number} with a socket as bind", "write 0")
        return
    if not server.port.number:
        yield Problem(number, "is 0 without a socket as bind", "write 1 to 65535")
    if server.bind and not is_ip(server.bind):
        message = f"{server.bind[:80]!r} is no IP address"
        yield Problem(f"{path}.bind", message, "remove it to listen on all addresses, or write unix:///path")


def _host(host: str, path: str) -> Iterator[Problem]:
    """`host`, `*.suffix` or `namespace/host`; names are in full, as a gateway is in no namespace of its clients."""
    namespace, slash, name = host.rpartition("/")
    if not is_ip(name) and (not is_host(name) or (name.startswith("*") and name[1:2] not in ("", "."))):
        yield Problem(path, f"{host[:100]!r} is no host", "use host, *.suffix or namespace/host")
    elif name != "*" and "." not in name and not is_ip(name):
        yield Problem(path, f"{host[:100]!r} is a short name", "write the name in full, or '*'")
    if slash and namespace not in ("*", ".") and not is_label(namespace):
        yield Problem(path, f"{namespace[:80]!r} is no namespace", "use a namespace, '.' or '*'")


def check_server_tls(tls: ServerTLSSettings, protocol: str, path: str) -> Iterator[Problem]:
    ends = tls.mode in (GatewayTLSMode.SIMPLE, GatewayTLSMode.MUTUAL, GatewayTLSMode.OPTIONAL_MUTUAL)
    if protocol in _PLAIN_HTTP and (ends or tls.mode is GatewayTLSMode.ISTIO_MUTUAL):
        yield Problem(f"{path}.mode", f"is {tls.mode} on a port of protocol {protocol}", "use protocol HTTPS")
    named = tls.credential_name or tls.credential_names or tls.tls_certificates
    files = tls.server_certificate and tls.private_key
    if ends:
        yield from _certificates(tls, path)
    if ends and protocol not in _PLAIN_HTTP and not named and not files:
        yield Problem(
            path, f"is {tls.mode} without a certificate", "give credentialName, or serverCertificate and privateKey"
        )
    yield from _certificate_fields(tls, path)
    if tls.min_protocol_version in NO_TLS_1_2 and not tls.cipher_suites:
        message, fix = f"is {tls.min_protocol_version}, and the default suites do not fit it", "give cipherSuites"
        yield Problem(f"{path}.minProtocolVersion", message, fix, severity=Severity.WARNING)
    for index, suite in enumerate(tls.cipher_suites):
        if suite in tls.cipher_suites[:index]:
            at = f"{path}.cipherSuites[{index}]"
            yield Problem(at, f"{suite[:80]!r} is listed twice", "list it once", severity=Severity.WARNING)
        if suite not in CIPHER_SUITES:
            at = f"{path}.cipherSuites[{index}]"
            yield Problem(at, f"{suite[:80]!r} is unknown and left out", "remove it", severity=Severity.WARNING)
    for field, pattern, pins in (
        ("verifyCertificateHash", _HEX_HASH, tls.verify_certificate_hash),
        ("verifyCertificateSpki", _BASE64_HASH, tls.verify_certificate_spki),
    ):
        for index, pin in enumerate(pins):
            if not pattern.fullmatch(pin):
                yield Problem(f"{path}.{field}[{index}]", f"{pin[:80]!r} is no SHA-256", "write it as openssl shows it")
    mutual = tls.mode in (GatewayTLSMode.MUTUAL, GatewayTLSMode.OPTIONAL_MUTUAL)
    by_files = files or (tls.tls_certificates and not tls.ca_cert_credential_name)
    if mutual and by_files and not tls.ca_certificates:
        yield Problem(f"{path}.caCertificates", f"is missing in mode {tls.mode}", "give the CA of the clients")


def _certificates(tls: ServerTLSSettings, path: str) -> Iterator[Problem]:
    """The server's certificates come from one place, and each file has its key."""
    places = {
        "credentialName": tls.credential_name,
        "credentialNames": tls.credential_names,
        "serverCertificate": tls.server_certificate and tls.private_key,
        "tlsCertificates": tls.tls_certificates,
    }
    said = [name for name, given in places.items() if given]
    if len(said) > 1:
        yield Problem(path, f"has {' and '.join(said)}", "keep one of them")
    for name, number in (
        ("credentialNames", len(tls.credential_names)),
        ("tlsCertificates", len(tls.tls_certificates)),
    ):
        if number > MAX_CERTIFICATES:
            message, fix = f"has more than {MAX_CERTIFICATES} entries", "keep one RSA and one ECDSA certificate"
            yield Problem(f"{path}.{name}", message, fix)
    for index, pair in enumerate(tls.tls_certificates):
        for name, given in (("serverCertificate", pair.server_certificate), ("privateKey", pair.private_key)):
            if not given:
                where = f"{path}.tlsCertificates[{index}].{name}"
                yield Problem(where, "is missing", "give the certificate and its key", "MissingField")


def _certificate_fields(tls: ServerTLSSettings, path: str) -> Iterator[Problem]:
    """Certificates are given where the mode uses them."""
    given = [
        (name, value)
        for name, value in (
            ("serverCertificate", tls.server_certificate),
            ("privateKey", tls.private_key),
            ("caCertificates", tls.ca_certificates),
            ("credentialName", tls.credential_name),
        )
        if value
    ]
    for name, _ in given:
        if tls.mode is GatewayTLSMode.ISTIO_MUTUAL:
            message = "is given in mode ISTIO_MUTUAL, which uses the mesh's certificates"
            yield Problem(f"{path}.{name}", message, "remove it, or use MUTUAL")
        elif tls.mode in (GatewayTLSMode.PASSTHROUGH, GatewayTLSMode.AUTO_PASSTHROUGH) and not tls.https_redirect:
            message, fix = f"is given in mode {tls.mode}, which uses no certificates", "remove it, or use SIMPLE"
            yield Problem(f"{path}.{name}", message, fix, "FieldIgnored", Severity.WARNING)
    if tls.ca_crl and not tls.credential_name and tls.mode is GatewayTLSMode.SIMPLE:
        yield Problem(f"{path}.caCrl", "is given in mode SIMPLE, which asks for no certificates", "use MUTUAL")
