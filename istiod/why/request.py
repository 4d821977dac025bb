"""A request in words (method, URL, headers) -> a value that every step can ask. Pure; raises InvalidInput.

Owns defaults: the port of a scheme, the authority of a URL. Knows nothing of proxies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from federation.model.errors import InvalidInput
from federation.model.findings import Finding, Severity

PORTS = {"http": 80, "https": 443, "tcp": 0, "tls": 443}
MAX_URL, MAX_HEADERS, MAX_HEADER = 8_192, 100, 16_384
SPIFFE = "spiffe://"
_METHOD = re.compile(r"[A-Za-z]{1,32}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, or for the schemes `tcp` and `tls` one connection. Header names are in lower case.

    `path` has the query. `principal` is the caller's identity (`spiffe://…`), which stands for mutual TLS; `source` is
    the caller's address. Both "" if nobody said.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    inbound: bool = False
    principal: str = ""
    source: str = ""

    @property
    def is_http(self) -> bool:
        """Whether there is a request inside the connection."""
        return self.scheme in ("http", "https")

    @property
    def speaks_tls(self) -> bool:
        """Whether the client itself begins with a TLS handshake, not mutual TLS of the mesh."""
        return self.scheme in ("https", "tls")

    @property
    def server_name(self) -> str:
        """The name in the client's TLS handshake; addresses are none."""
        return "" if is_address(self.host) else self.host.lower()

    @property
    def authority(self) -> str:
        """What stands in the Host header: as given, else the URL's host, with the port unless the scheme implies it."""
        said = next((value for name, value in self.headers if name == "host"), None)
        if said is not None:
            return said
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    @property
    def bare_path(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]

    @property
    def query(self) -> str:
        """The query without its question mark."""
        return self.path.partition("?")[2]

    def header(self, name: str) -> str | None:
        """A header by its lower case name, several of one name joined by commas; pseudo headers too."""
        match name:
            case ":method":
                return self.method
            case ":path":
                return self.path
            case ":scheme":
                return self.scheme
            case ":authority" | "host":
                return self.authority
        found = [value for key, value in self.headers if key == name]
        return ",".join(found) if found else None

    @property
    def is_preflight(self) -> bool:
        """Whether a browser asks in advance if it may call from another origin."""
        asked = self.header("origin") is not None and self.header("access-control-request-method") is not None
        return self.method == "OPTIONS" and asked

    def __str__(self) -> str:
        if not self.is_http:
            return f"{self.scheme}://{self.host}:{self.port}"
        return f"{self.method} {self.scheme}://{self.authority}{self.path}"


def parse_request(
    method: str, url: str, headers: Iterable[str] = (), inbound: bool = False, principal: str = "", source: str = ""
) -> Request:
    """Read a request as `curl` is told one; headers are `name: value`. Raises InvalidInput naming all that is wrong."""
    wrong: list[Finding] = []
    if not _METHOD.fullmatch(method):
        wrong.append(_wrong("method", f"{method[:40]!r} is no method", "e.g. GET"))
    scheme, host, port, path = _url(url, wrong)
    lines = list(headers)
    if len(lines) > MAX_HEADERS:
        wrong.append(_wrong("-H", f"more than {MAX_HEADERS} headers", "give fewer"))
    pairs = [_header(line, wrong) for line in lines[:MAX_HEADERS]]
    if source and not is_address(source):
        wrong.append(_wrong("--source-address", f"{source[:60]!r} is no address", "e.g. 10.0.0.7"))
    if wrong:
        raise InvalidInput(wrong)
    name = principal if not principal or principal.startswith(SPIFFE) else SPIFFE + principal
    return Request(method.upper(), scheme, host, port, path, tuple(pairs), inbound, name, source)


def _url(url: str, wrong: list[Finding]) -> tuple[str, str, int, str]:
    nothing = ("http", "", 80, "/")
    if len(url) > MAX_URL:
        wrong.append(_wrong("url", f"is longer than {MAX_URL} characters", "give a shorter one"))
        return nothing
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        wrong.append(_wrong("url", f"{url[:200]!r} is no URL: {error}", "e.g. http://reviews:9080/api"))
        return nothing
    if parts.scheme not in PORTS or not host:
        wrong.append(
            _wrong("url", f"{url[:200]!r} is no URL of http, https, tcp or tls with a host", "e.g. tcp://db:5432")
        )
        return nothing
    if port is None and not PORTS[parts.scheme]:
        wrong.append(_wrong("url", f"{url[:200]!r} has no port", "e.g. tcp://db:5432"))
        return nothing
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host, PORTS[parts.scheme] if port is None else port, path


def _header(line: str, wrong: list[Finding]) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _NAME.fullmatch(name.strip()) or len(line) > MAX_HEADER:
        wrong.append(_wrong("-H", f"{line[:80]!r} is no header", "e.g. -H 'end-user: jason'"))
    return name.strip().lower(), value.strip()


def is_address(text: str) -> bool:
    """Whether a host is an address rather than a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _wrong(path: str, message: str, fix: str) -> Finding:
    return Finding(Severity.ERROR, "InvalidQuery", "request", path, message, fix)
