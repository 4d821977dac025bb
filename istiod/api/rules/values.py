"""Rules for values that many kinds have: host names, gateways' names, durations. Pure.

Rules: Istio's validator (names are DNS labels of either case; a wildcard is the first label or the beginning of it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from federation.model.findings import Severity
from istiod.api.problems import Problem

SHORTEST = 0.001  # seconds
SOCKET = "unix://"
MAX_HOST = 255
_LABEL = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_FIRST = re.compile(r"\*|(\*|\*-)?[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")


def is_label(text: str) -> bool:
    """Whether a text is one label of a DNS name."""
    return bool(_LABEL.fullmatch(text))


def is_ip(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_socket(text: str) -> bool:
    """Whether a text is the address of a unix socket: `unix://` and an absolute path of a file, or an abstract name."""
    place = text.removeprefix(SOCKET)
    return place != text and place.startswith(("/", "@")) and not place.endswith("/")


def is_host(text: str, wildcard: bool = True) -> bool:
    """Whether a text is a DNS name; with `wildcard` its first label may be, or begin with, a `*`."""
    first, dot, rest = text.partition(".")
    if not text or len(text) > MAX_HOST or not (_FIRST if wildcard else _LABEL).fullmatch(first):
        return False
    labels = rest.removesuffix(".").split(".") if rest.rstrip(".") else []
    if dot and not rest.strip("."):
        return rest == ""
    last = labels[-1] if labels else "" if wildcard else first
    return all(_LABEL.fullmatch(label) for label in labels) and not last.isdigit()


def check_duration(seconds: float | None, path: str) -> Iterator[Problem]:
    """Durations that are given are whole milliseconds, at least one."""
    if seconds is None:
        return
    if seconds < SHORTEST:
        yield Problem(path, "is shorter than 1ms", "give a longer duration, or leave it out")
    yield from check_milliseconds(seconds, path)


def check_milliseconds(seconds: float | None, path: str) -> Iterator[Problem]:
    """Durations that are given are whole milliseconds, where none at all (0s) means something too."""
    if seconds is not None and seconds > SHORTEST and abs(seconds * 1000 - round(seconds * 1000)) > 1e-6:
        yield Problem(path, "has parts of a millisecond", "give whole milliseconds")


def check_gateways(names: Iterable[str], path: str) -> Iterator[Problem]:
    """References to Gateways: `namespace/name`, a name of the same namespace, or `mesh`. Hosts are an old form."""
    for index, name in enumerate(names):
        at = f"{path}[{index}]"
        namespace, slash, short = name.partition("/")
        if slash:
            if not is_label(namespace) or not is_label(short):
                yield Problem(at, f"{name[:100]!r} is no namespace/name", "write namespace/name")
        elif not is_host(name, wildcard=False):
            yield Problem(at, f"{name[:100]!r} is no name of a Gateway", "write namespace/name")
        elif "." in name:
            parts = name.split(".")
            message, fix = f"{name[:100]!r} is an old form", f"write {parts[1]}/{parts[0]}"
            yield Problem(at, message, fix, "DeprecatedField", Severity.WARNING)


# The words of Istio for what a port speaks.
PROTOCOLS = frozenset(
    {
        "HTTP",
        "HTTPS",
        "HTTP2",
        "HTTP_PROXY",
        "GRPC",
        "GRPC-WEB",
        "TCP",
        "TLS",
        "UDP",
        "MONGO",
        "REDIS",
        "MYSQL",
        "HBONE",
    }
)


def check_protocol(protocol: str, path: str) -> Iterator[Problem]:
    """A protocol is one that Istio knows; none means that it is detected."""
    if protocol and protocol.upper() not in PROTOCOLS:
        yield Problem(path, f"{protocol[:80]!r} is unknown", f"use one of {', '.join(sorted(PROTOCOLS))}")


def check_port_name(name: str, path: str) -> Iterator[Problem]:
    """The name of a port is a DNS label."""
    if not is_label(name):
        yield Problem(path, f"{name[:80]!r} is no name of a port", "use letters, digits and '-'")
