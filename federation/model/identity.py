"""Workload identities in the SPIFFE form that Istio uses.

Owns parsing and formatting of `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. Knows no certificates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Without IGNORECASE, by which some letters outside ASCII would count as ASCII ones.
_SPIFFE = re.compile(
    r"[Ss][Pp][Ii][Ff][Ff][Ee]://([A-Za-z0-9._-]{1,253})/ns/([^/\s]{1,253})/sa/([^/\s]{1,253})",
)


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """The identity of a service account of one namespace in one trust domain."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Read a SPIFFE URI; raises ValueError that quotes the text if it has another shape."""
        match = _SPIFFE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:300]!r} is not spiffe://<trust domain>/ns/<namespace>/sa/<service account>")
        return cls(match[1], match[2], match[3])
