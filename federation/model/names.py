"""Names: namespaced objects and service hosts.

Owns their text forms. Input is text from configuration or records; no lookup happens here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class NamespacedName:
    """`namespace/name` of an object in one cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """A service as Istio tells services apart: its host, in the namespace that owns it."""

    host: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.host}"


def service_host(name: str, namespace: str, domain: str = "cluster.local") -> str:
    """The host of a Kubernetes service: `name.namespace.svc.domain`."""
    return f"{name}.{namespace}.svc.{domain}"


def resolve_short_host(host: str, namespace: str, domain: str = "cluster.local") -> str:
    """A host of an Istio object in full: a name without a dot means a service of the object's own namespace.

    Rule: Istio's VirtualService reference, `hosts` ("short names are resolved relative to the rule's namespace").
    """
    if "." in host or host == "*" or not host:
        return host
    return service_host(host, namespace, domain)


def host_matches(pattern: str, host: str) -> bool:
    """Whether `pattern` (exact, `*`, or `*.suffix`) covers `host`, which may be a wildcard itself."""
    if pattern == "*" or pattern == host:
        return True
    return pattern.startswith("*") and host.endswith(pattern[1:])


def hosts_overlap(one: str, other: str) -> bool:
    """Whether some concrete host is covered by both patterns."""
    return host_matches(one, other) or host_matches(other, one)
