"""WorkloadEntry: a workload outside of Kubernetes; also the shape of a ServiceEntry's inline endpoints.

Rules: WorkloadEntry reference and Istio's validator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from istiod.api.fields import Count, Model, Port
from istiod.api.problems import Problem
from istiod.api.rules.values import SOCKET, is_socket

_WORD = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
MAX_HOST = 255


class WorkloadEntry(Model):
    """networking.istio.io WorkloadEntry. `address` is an IP address, a host name, `unix:///path`, or "" where gateways
    of `network` stand in; `ports` are by the names of the service's ports.
    """

    address: str = ""
    ports: dict[str, Port] = {}
    labels: dict[str, str] = {}
    network: str = ""
    locality: str = ""
    weight: Count | None = None
    service_account: str = ""


def validate_entry(entry: WorkloadEntry, path: str = "spec") -> Iterator[Problem]:
    """Rules beyond types, for an object and for an endpoint inside a ServiceEntry."""
    if not entry.address and not entry.network:
        yield Problem(f"{path}.address", "is empty", "give an address, or a network that a gateway leads to")
    elif entry.address.startswith(SOCKET):
        yield from _unix(entry, path)
    elif entry.address and not _is_ip(entry.address) and not is_host(entry.address):
        message = f"{entry.address[:100]!r} is neither an IP address nor a host name"
        yield Problem(f"{path}.address", message, "write 10.0.0.1, name.example.com or unix:///path")
    yield from check_ports(entry.ports, f"{path}.ports")
    yield from check_labels(entry.labels, f"{path}.labels")


def _unix(entry: WorkloadEntry, path: str) -> Iterator[Problem]:
    if not is_socket(entry.address):
        message = f"{entry.address[:100]!r} is no absolute path of a socket"
        yield Problem(f"{path}.address", message, "write unix:///path")
    if entry.ports:
        yield Problem(f"{path}.ports", "are given with a unix:// address", "remove them")


def check_ports(ports: Mapping[str, int], path: str) -> Iterator[Problem]:
    """Names of ports are those of Kubernetes."""
    for name in ports:
        if not _PORT_NAME.fullmatch(name):
            yield Problem(f"{path}.{name[:100]}", "is no name of a port", "use lower case letters, digits and '-'")


def check_labels(labels: Mapping[str, str], path: str) -> Iterator[Problem]:
    """Labels are those of Kubernetes."""
    for key, value in labels.items():
        prefix, _, name = key.rpartition("/")
        if not _LABEL.fullmatch(name) or (prefix and not is_host(prefix)):
            yield Problem(f"{path}.{key[:100]}", "is no key of a label", "use letters, digits, '-', '_' and '.'")
        if value and not _LABEL.fullmatch(value):
            message = f"{value[:100]!r} is no value of a label"
            yield Problem(f"{path}.{key[:100]}", message, "use at most 63 letters, digits, '-', '_' and '.'")


def is_host(text: str) -> bool:
    """Whether a text is a DNS name without wildcard."""
    return len(text) <= MAX_HOST and all(_WORD.fullmatch(part) for part in text.removesuffix(".").split("."))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
