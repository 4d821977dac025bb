"""The names under which a client may ask for a host: domains of an Envoy virtual host.

Pure text. Rules: Kubernetes DNS search (a proxy in `apps.svc.cluster.local` may say `b`, `b.apps`, `b.apps.svc`), as
Istio's route configurations have them. Ports are left out, since Envoy ignores them in host matching.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import TypeVar

from federation.model.service import Service

T = TypeVar("T")


def short_names(host: str, dns_domain: str) -> tuple[str, ...]:
    """Shorter forms of a service host for a proxy with this DNS search domain, longest first; else none."""
    own_namespace, svc, cluster_domain = dns_domain.partition(".svc.")
    suffix = f".svc.{cluster_domain}"
    if not svc or not host.endswith(suffix) or host.startswith("*"):
        return ()
    local = host.removesuffix(suffix)
    name, dot, namespace = local.rpartition(".")
    if not dot:
        return ()
    names = (f"{local}.svc", local)
    return (*names, name) if namespace == own_namespace else names


def host_domains(host: str, dns_domain: str) -> tuple[str, ...]:
    """A host in full and its short forms. The trailing dot of an absolute name counts as well."""
    if host.startswith("*"):
        return (host,)
    return (host, f"{host}.", *short_names(host, dns_domain))


def service_domains(service: Service, dns_domain: str) -> tuple[str, ...]:
    """All names and virtual addresses of a service; members of a headless one are reached by `*.` names."""
    names = host_domains(service.host, dns_domain)
    wild = tuple(f"*.{name}" for name in names) if service.headless else ()
    return (*names, *wild, *(domain for vip in service.vips if (domain := address_domain(vip))))


def address_domain(address: str) -> str:
    """An address as it stands in a Host header; "" for ranges and the unspecified address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if parsed.is_unspecified:
        return ""
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)


def without_duplicates(hosts: Iterable[tuple[T, Sequence[str]]]) -> list[tuple[T, tuple[str, ...]]]:
    """Each domain for the first that claims it, as Envoy refuses duplicates; who is left with none is dropped."""
    taken: set[str] = set()
    result = []
    for owner, domains in hosts:
        own = tuple(domain for domain in dict.fromkeys(domains) if domain.lower() not in taken)
        taken.update(domain.lower() for domain in own)
        if own:
            result.append((owner, own))
    return result
