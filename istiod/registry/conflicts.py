"""What is wrong with the addresses of services when all of them are looked at together. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from federation.model.findings import Finding, Severity
from federation.model.service import Service

_ANY = ("0.0.0.0", "::")


def shared_vips(services: Iterable[Service]) -> list[Finding]:
    """A finding for each address and port that a service shares with an older one of another host."""
    owners: dict[tuple[str, int], Service] = {}
    findings = []
    for service in services:
        for vip in service.vips:
            for port in service.ports:
                known = owners.setdefault((vip, port.number), service)
                if known is not service and known.key.host != service.key.host and vip not in _ANY:
                    findings.append(_shared(service, known, vip, port.number))
    return findings


def no_vip(services: Iterable[Service]) -> list[Finding]:
    """A finding for each service that the automatic virtual addresses did not suffice for."""
    return [
        Finding(
            Severity.ERROR,
            "NoAddress",
            f"Service {service.namespace}/{service.name}",
            "addresses",
            f"{service.host} has no address, and all automatic ones are in use",
            "give it an address",
        )
        for service in services
    ]


def _shared(service: Service, known: Service, vip: str, port: int) -> Finding:
    return Finding(
        Severity.WARNING,
        "DuplicateAddress",
        f"Service {service.namespace}/{service.name}",
        "addresses",
        f"{vip}:{port} is also an address of {known.host}",
        "give every service its own address, or ports that differ",
    )
